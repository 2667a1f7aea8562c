"""A stack file that a command is about to change: the text before and after, whether edits of a person's are in the
way, and the write itself, which is whole or not at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headroom.capacity import demand as demands
from headroom.capacity import plan as plans
from headroom.capacity.demand import StackDemand, source
from headroom.capacity.plan import Plan
from headroom.errors import EnvironmentFailure, InputError

Edit = Callable[[str], str]
SERVICES = ("config", "headroom:services")
OURS = ("emergencyReplicas", "canary", "maintenance")
"""Keys of a service that commands write; with the overrides below they are no edits of a person's."""
OUR_OVERRIDES = ("minReplicas", "cpuRequest", "memoryRequest")


@dataclass(frozen=True)
class Draft:
    """The text of a stack file, and what it becomes."""

    stack: str
    file: Path
    before: str
    after: str
    edit: Edit

    @classmethod
    def of(cls, stack: str, file: Path, edit: Edit) -> Draft:
        """Raises InputError for a file that cannot be read or edited."""
        before = read(file)
        return cls(stack, file, before, edit(before), edit)

    def demand(self, text: str | None = None) -> StackDemand:
        """The demand of the text after the edit, or of another. Raises InputError."""
        with _folder() as folder:
            file = folder / self.file.name
            file.write_text(self.after if text is None else text, encoding="utf-8")
            return demands.load(self.stack, file)

    def plan(self, text: str | None = None) -> Plan:
        """The plan of the same. Raises InputError for what cannot work."""
        return plans.make(self.demand(text))

    @contextmanager
    def files(self) -> Iterator[tuple[Path, Path]]:
        """Both texts as files of the stack file's name, in a folder that goes away."""
        with _folder() as folder:
            before, after = folder / "before" / self.file.name, folder / "after" / self.file.name
            for file, text in ((before, self.before), (after, self.after)):
                file.parent.mkdir()
                file.write_text(text, encoding="utf-8")
            yield before, after

    @contextmanager
    def writing(self) -> Iterator[Callable[[], None]]:
        """The new text lies beside the file, ready to take its place with one rename; that is the function given.

        So a full disk or a missing right is met before the cluster is touched, and nothing can fail after it. What
        somebody wrote into the file meanwhile is kept: the same edit is then made to the newer text.

        Raises EnvironmentFailure when the file cannot be written.
        """
        target = self.file.resolve()
        try:
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        except OSError as error:
            raise EnvironmentFailure(
                f"{self.file} cannot be written: {error.strerror}; nothing was changed", fix="mind its folder's rights"
            ) from error
        staged = Path(name)

        def commit() -> None:
            now = read(self.file)
            if now != self.before:
                staged.write_text(self.edit(now), encoding="utf-8")
            staged.replace(target)

        try:
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                out.write(self.after)
                out.flush()
                os.fsync(out.fileno())
            shutil.copymode(target, staged)
            yield commit
        finally:
            staged.unlink(missing_ok=True)


def read(file: Path) -> str:
    """The text of a stack file, after the checks of its size and form. Raises InputError."""
    source.read(file)
    return file.read_bytes().decode("utf-8")


def in_the_way(file: Path, deployed: str | None = None) -> bool:
    """Whether the file holds edits of a person's that are not committed to git: a command that writes into it would mix
    them with its own. What these commands write themselves is no such edit, nor what is `deployed` already; a file
    outside git has none."""
    shown = _git(file, "show", f"HEAD:./{file.name}")
    if shown is None:
        return False
    now = _others(source.parse(read(file), file.name))
    known = [source.parse(text, file.name) for text in (shown, deployed) if text is not None]
    return all(_others(content) != now for content in known)


def refuse_if_in_the_way(file: Path, deployed: str | None = None) -> None:
    """Raises InputError when the file holds uncommitted edits."""
    if in_the_way(file, deployed):
        raise InputError(
            f"{file.name} has local edits that are not committed: they would be mixed with this change",
            fix=f"git diff {file.name}; commit them or take them back, or add --allow-dirty",
        )


def _others(content: Any) -> Any:
    """A stack file's content without what commands write."""
    if not isinstance(content, dict) or not isinstance(content.get("config"), dict):
        return content
    config = dict(content["config"])
    services = config.get("headroom:services")
    if isinstance(services, dict):
        config["headroom:services"] = {k: _service(v) for k, v in services.items()}
    pooler = config.get("headroom:pgbouncer")
    if isinstance(pooler, dict):
        config["headroom:pgbouncer"] = _without_overrides(pooler, ("replicas",))
    return {**content, "config": config}


def _service(given: Any) -> Any:
    if not isinstance(given, dict):
        return given
    return _without_overrides({k: v for k, v in given.items() if k not in OURS}, OUR_OVERRIDES)


def _without_overrides(given: dict[str, Any], settings: tuple[str, ...]) -> dict[str, Any]:
    overrides = given.get("override")
    if not isinstance(overrides, dict):
        return given
    left = {k: v for k, v in overrides.items() if k not in settings}
    rest = {k: v for k, v in given.items() if k != "override"}
    return rest | ({"override": left} if left else {})


def _git(file: Path, *args: str) -> str | None:
    """What git says; None where there is no git, no repository or no such revision of the file."""
    try:
        done = subprocess.run(
            ["git", "-C", str(file.resolve().parent), *args], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="headroom-") as name:
        yield Path(name)
