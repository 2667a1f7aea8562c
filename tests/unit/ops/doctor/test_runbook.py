"""Every symptom leads to a section of the runbook, and every command that the runbook names exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from headroom.cli.main import COMMANDS
from headroom.ops.doctor.model import Anchor

RUNBOOK = (Path(__file__).resolve().parents[4] / "docs" / "runbook.md").read_text()


def slugs() -> set[str]:
    """The anchors that headings make, as GitHub does."""
    headings = re.findall(r"^#+ (.+)$", RUNBOOK, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("anchor", get_args(Anchor))
def test_a_symptom_has_its_section(anchor: str) -> None:
    assert anchor in slugs()


def test_links_inside_the_page_lead_somewhere() -> None:
    assert set(re.findall(r"\]\(#([^)]+)\)", RUNBOOK)) <= slugs()


def test_the_commands_exist() -> None:
    named = set(re.findall(r"`headroom ([a-z]+)", RUNBOOK)) | set(re.findall(r"^\$? ?headroom ([a-z]+)", RUNBOOK, re.M))
    assert named <= set(COMMANDS)
