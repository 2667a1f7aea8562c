"""The rules of every Containerfile: one base, a numeric user, pinned versions, a health check, no host names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from headroom import project
from headroom.local.images import NAMES

INSTRUCTION = re.compile(r"^([A-Z]+)\s+(.*)$")


def folder(name: str) -> Path:
    return project.root() / "images" / name


def instructions(name: str) -> list[tuple[str, str]]:
    """Instructions in order, continuation lines joined."""
    joined = re.sub(r"\\\n\s*", " ", (folder(name) / "Containerfile").read_text(encoding="utf-8"))
    return [match.groups() for line in joined.splitlines() if (match := INSTRUCTION.match(line))]  # type: ignore[misc]


@pytest.mark.parametrize("name", NAMES)
def test_every_stage_starts_from_the_one_base(name: str) -> None:
    found = instructions(name)
    assert found[0] == ("ARG", "BASE=debian:12-slim")
    stages = {text.split(" AS ")[1] for word, text in found if word == "FROM" and " AS " in text}
    assert {text.split()[0] for word, text in found if word == "FROM"} <= {"${BASE}", *stages}


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_as_a_numeric_user_with_a_health_check_of_its_own(name: str) -> None:
    final = dict(instructions(name)[max(i for i, (word, _) in enumerate(instructions(name)) if word == "FROM") :])
    assert final["USER"] == "999:999"
    assert final["HEALTHCHECK"].endswith('CMD ["/usr/local/bin/healthcheck"]')
    assert (folder(name) / "bin" / "healthcheck").stat().st_mode & 0o111
    assert "CMD" in final


@pytest.mark.parametrize("name", NAMES)
def test_packages_come_without_recommends_and_leave_no_lists(name: str) -> None:
    for word, text in instructions(name):
        if word == "RUN" and "apt-get install" in text:
            assert text.count("apt-get install") == text.count("--no-install-recommends")
            assert "rm -rf" in text and "/var/lib/apt/lists/*" in text


@pytest.mark.parametrize(
    ("name", "pin"),
    [
        ("postgres", "postgresql-15=15.*"),
        ("postgres", "pgbackrest=2.45-*"),
        ("pgbouncer", "pgbouncer=1.18.*"),
        ("redis", "redis-server=5:7.0.*"),
        ("h2o", "openjdk-17-jre-headless=17.*"),
        ("inference", "python3=3.11.*"),
    ],
)
def test_what_the_image_is_for_is_pinned(name: str, pin: str) -> None:
    assert any(pin in text.split() for word, text in instructions(name) if word == "RUN")


@pytest.mark.parametrize("file", sorted(project.root().glob("images/*/requirements*.txt")), ids=str)
def test_python_requirements_are_locked_with_hashes_and_name_no_index(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    pins = re.findall(r"^[a-z0-9._\[\],-]+==\S+ .*?(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    assert pins and all("--hash=sha256:" in pin for pin in pins)
    assert not re.search(r"https?://|--index|--find-links|--trusted", text)


def test_pip_checks_hashes_wherever_it_installs() -> None:
    for name in NAMES:
        for word, text in instructions(name):
            if word == "RUN" and re.search(r"pip (install|download)", text):
                assert "--require-hashes" in text
