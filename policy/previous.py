"""What was deployed last: the state of the stack that the engine is about to change.

The engine gives a policy the new inputs of a resource only, so whether an edit replaces it has to be seen against the
state. `pulumi stack export` reads it without a lock and leaves secrets encrypted.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policy.rules.replacement import Known

STATE_FILE = "HEADROOM_POLICY_STATE"
"""An environment variable: a file written by `pulumi stack export`, used instead of asking the engine."""
_PROJECT = Path(__file__).resolve().parent.parent
_TIMEOUT_SECONDS = 60


class UnknownStateError(Exception):
    """The state could not be read; its text says why."""


def stateful_sets(stack: str) -> list[Known]:
    """The StatefulSets in the state of a stack (its whole name); empty for a stack that was never deployed.

    Raises UnknownStateError.
    """
    given = os.environ.get(STATE_FILE)
    try:
        text = Path(given).read_text(encoding="utf-8") if given else _export(stack)
        return parse(json.loads(text))
    except (OSError, ValueError) as error:
        raise UnknownStateError(str(error)) from error


def parse(export: Mapping[str, Any]) -> list[Known]:
    """The StatefulSets in what `pulumi stack export` wrote, by the inputs they were deployed with."""
    resources = (export.get("deployment") or {}).get("resources") or ()
    return [
        Known(r["inputs"], tuple(r.get("replaceOnChanges") or ()))
        for r in resources
        if str(r.get("type", "")).endswith(":StatefulSet") and not r.get("delete") and r.get("inputs")
    ]


def _export(stack: str) -> str:
    try:
        done = subprocess.run(
            ["pulumi", "stack", "export", "--stack", stack, "--non-interactive"],
            cwd=_PROJECT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_SECONDS,
        )
    except FileNotFoundError as error:
        raise UnknownStateError("the pulumi CLI is not on PATH") from error
    except subprocess.TimeoutExpired as error:
        raise UnknownStateError(f"`pulumi stack export` took more than {_TIMEOUT_SECONDS} s") from error
    if done.returncode != 0:
        raise UnknownStateError((done.stderr.strip().splitlines() or ["`pulumi stack export` failed"])[-1])
    return done.stdout
