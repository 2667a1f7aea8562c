"""Move a stack from one backend to another, and prove that nothing differs.

The state is exported and imported as it is, encrypted; then the new backend's copy changes to the new secrets
provider. So no state is ever written in clear text. All of it happens in a copy of the project's two files: the
stack file is replaced at the end, after the check, so a move that fails leaves the user's files and the old backend
untouched, and takes its own copy away again.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headroom import project, stackfile
from headroom.backend import pulumi_cli
from headroom.backend.pulumi_cli import PulumiCli
from headroom.errors import EnvironmentFailure, HeadroomError
from headroom.progress import Progress, step

# What may differ between two exports of the same state: when it was written and by which version, and how it was
# encrypted (an export with --show-secrets is in clear text).
_NOT_STATE = ("manifest", "secrets_providers", "metadata")


@dataclass(frozen=True)
class Moved:
    """How much was moved, and the stack file that names the new secrets provider."""

    resources: int
    config_values: int
    stack_file: Path


@dataclass(frozen=True)
class _Content:
    """A stack in clear text, in memory only."""

    state: dict[str, Any]
    config: dict[str, Any]

    @property
    def resources(self) -> int:
        return len(self.state.get("resources") or [])


def migrate(
    stack: str, *, source: str | None, target: str, secrets_provider: str, dry_run: bool = False, progress: Progress
) -> Moved:
    """Copy the state of `stack` from the backend `source` (None: where the user is logged in) to `target`, re-encrypt
    its state and config by `secrets_provider`, check both, and replace the stack file. The old state stays.

    Run again after a failure, it starts afresh. A target that holds this stack already is used when it is empty or
    the same, and refused when it is not.

    Raises EnvironmentFailure (no CLI, Pulumi's refusals, a difference found) with nothing changed.
    """
    file = project.stack_file(stack)
    old = pulumi_cli.find(project.root(), source)
    with step(progress, f"reading {stack} from {source or 'the current backend'}"):
        before = _read(old, stack)
    moved = Moved(before.resources, len(before.config), file)
    if dry_run:
        return moved
    with tempfile.TemporaryDirectory(prefix="headroom-migrate-") as folder:
        copy = Path(folder)
        for name in (project.root() / "Pulumi.yaml", file):
            shutil.copy(name, copy / name.name)
        new = replace(old, cwd=copy, backend=target)
        made = _make(new, stack, before, file, progress)
        try:
            _fill(old, new, stack, progress)
            if _provider(copy / file.name) != secrets_provider:
                _encrypt(new, stack, secrets_provider, progress)
            with step(progress, "checking that nothing differs"):
                _compare(before, _read(new, stack))
        except BaseException:
            if made:
                with step(progress, f"taking the copy in {target} away again"):
                    new.run("stack", "rm", stack, "--yes", "--force", "--preserve-config")
            raise
        _replace(copy / file.name, file)
    return moved


def _read(cli: PulumiCli, stack: str) -> _Content:
    exported = cli.json("stack", "export", "--stack", stack, "--show-secrets")
    state = {key: value for key, value in (exported.get("deployment") or {}).items() if key not in _NOT_STATE}
    return _Content(state, cli.json("config", "--stack", stack, "--show-secrets", "--json"))


def _make(new: PulumiCli, stack: str, before: _Content, file: Path, progress: Progress) -> bool:
    """Make the stack in the new backend; False when an empty or equal one is there from an earlier run."""
    with step(progress, f"making {stack} in {new.backend}"):
        if stack not in {entry["name"].rpartition("/")[2] for entry in new.json("stack", "ls", "--json")}:
            # The provider that the stack file has today, so that the state can be imported as it is.
            new.run("stack", "init", stack, "--no-select", "--secrets-provider", _provider(file))
            return True
        exported = new.json("stack", "export", "--stack", stack)
        there = (exported.get("deployment") or {}).get("resources") or []
    if there and {r["urn"] for r in there} != {r["urn"] for r in before.state.get("resources") or []}:
        raise EnvironmentFailure(
            f"{new.backend} holds another state of {stack} already ({len(there)} resources). Nothing was changed",
            fix="if that one is stale: pulumi login there, `pulumi stack rm --force --preserve-config`; then again",
        )
    return False


def _fill(old: PulumiCli, new: PulumiCli, stack: str, progress: Progress) -> None:
    with step(progress, f"copying the state of {stack}"):
        new.run("stack", "import", "--stack", stack, stdin=old.run("stack", "export", "--stack", stack))


def _encrypt(new: PulumiCli, stack: str, secrets_provider: str, progress: Progress) -> None:
    with step(progress, f"encrypting it by {secrets_provider}"):
        new.run("stack", "change-secrets-provider", secrets_provider, "--stack", stack)


def _provider(stack_file: Path) -> str:
    """The secrets provider of a stack file; Pulumi writes none for a passphrase."""
    return str(stackfile.document(stack_file).get("secretsprovider") or "passphrase")


def _compare(before: _Content, after: _Content) -> None:
    """Raises EnvironmentFailure naming the first difference by its key or URN, never by its value."""
    differing = sorted(
        key for key in before.config.keys() | after.config.keys() if before.config.get(key) != after.config.get(key)
    )
    differing += sorted(
        key
        for key in (before.state.keys() | after.state.keys()) - {"resources"}
        if before.state.get(key) != after.state.get(key)
    )
    old, new = (_by_urn(content) for content in (before, after))
    differing += sorted(urn for urn in old.keys() | new.keys() if old.get(urn) != new.get(urn))
    if differing or before.state.get("resources") != after.state.get("resources"):
        raise EnvironmentFailure(
            f"read back, the stack differs in {', '.join(differing[:5]) or 'the order of its resources'}",
            fix="the old state and the stack file are as they were; is somebody updating the stack? Then run it again",
        )


def _by_urn(content: _Content) -> dict[str, list[str]]:
    """Resources by URN: one, or several while a replaced one waits to be deleted."""
    found: dict[str, list[str]] = {}
    for resource in content.state.get("resources") or []:
        found.setdefault(resource["urn"], []).append(json.dumps(resource, sort_keys=True))
    return found


def _replace(new: Path, file: Path) -> None:
    """Put the new stack file in place, in one step."""
    beside = file.with_name(f".{file.name}.new")
    try:
        shutil.copy(new, beside)
        shutil.copymode(file, beside)
        beside.replace(file)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise _unwritable(file, error) from error


def _unwritable(file: Path, error: OSError) -> HeadroomError:
    return EnvironmentFailure(
        f"the state is moved, but {file} could not be replaced: {error}", fix="make it writable, then run it again"
    )
