"""What a user does wrong, as the bare CLI is told it and as our own commands are."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pulumi
import pytest

from headroom.engine import program
from headroom.engine.render import render
from headroom.engine.stackconfig import StackConfig
from headroom.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


def test_the_cli_is_told_in_words_and_not_by_a_traceback() -> None:
    wrong = StackConfig({"headroom:environment": "production"}, frozenset(), ())
    with ThreadPoolExecutor(1) as pool, pytest.raises(pulumi.RunError, match="did you mean 'prod'"):
        pool.submit(program.run, ROOT, "headroom", "dev", wrong).result()


def test_our_own_commands_keep_the_kind_of_error(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.dev.yaml"
    file.write_text("config: {headroom:environment: production}")
    with pytest.raises(InputError) as found:
        render(ROOT, "dev", config_file=file)
    assert (found.value.exit_code, found.value.fix) == (2, "did you mean 'prod'?")
