"""Git revisions on disk, and the stacks in them as their own code sees them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headroom.errors import EnvironmentFailure, InputError
from headroom.ops.diff import cluster
from headroom.ops.diff.model import Absent, Broken, Line, Rendered, Snapshot, State
from headroom.ops.diff.probe import FORMAT
from headroom.redaction import plaintext

WORKING_TREE = "the working tree"
_DEFAULT_BRANCHES = ("origin/main", "main")


@dataclass(frozen=True)
class Revision:
    """A folder with the files of one revision. `title` is for people (`a1b2c3d` or the working tree)."""

    title: str
    folder: Path


def default_base(root: Path) -> str:
    """Where the work in this checkout left the main branch: the merge base with origin/main, else with main.

    Raises InputError when there is neither.
    """
    for branch in _DEFAULT_BRANCHES:
        found = _git(root, "merge-base", "HEAD", branch)
        if found.returncode == 0:
            return found.stdout.strip()
    raise InputError(
        f"there is nothing to compare with: neither {' nor '.join(_DEFAULT_BRANCHES)} shares history with this one",
        fix="name a revision with --base, or get the history with `git fetch --unshallow`",
    )


def commit(root: Path, ref: str) -> str:
    """The full hash of a revision. Raises InputError when there is no such revision."""
    found = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if found.returncode != 0:
        raise InputError(
            f"there is no revision {ref!r} here",
            fix="check the name; a shallow clone lacks it until `git fetch origin` (in CI: fetch-depth 0)",
        )
    return found.stdout.strip()


@contextmanager
def checked_out(root: Path, ref: str) -> Iterator[Revision]:
    """The files of a revision in a folder of their own, which goes away afterwards. The checkout is not touched.

    Raises InputError when there is no such revision or the project is not in it.
    """
    full = commit(root, ref)
    top = Path(_git(root, "rev-parse", "--show-toplevel").stdout.strip())
    inside = root.resolve().relative_to(top.resolve())
    with tempfile.TemporaryDirectory(prefix="headroom-diff-") as place:
        with subprocess.Popen(
            ["git", "-C", str(top), "archive", "--format=tar", full], stdout=subprocess.PIPE
        ) as archive:
            if archive.stdout is None:
                raise EnvironmentFailure("git archive gave no output")
            with tarfile.open(fileobj=archive.stdout, mode="r|") as tar:
                tar.extractall(place, filter=_inside)  # noqa: S202  the filter keeps everything inside
        if archive.returncode != 0:
            raise EnvironmentFailure(f"git could not read revision {full[:7]}")
        folder = Path(place) / inside
        if not (folder / "Pulumi.yaml").is_file():
            raise InputError(f"revision {full[:7]} ({ref}) has no Pulumi.yaml", fix="name a later revision with --base")
        yield Revision(full[:7], folder)


def _inside(member: tarfile.TarInfo, place: str) -> tarfile.TarInfo | None:
    """Links that lead out of the revision are left out; no program of ours needs them."""
    try:
        return tarfile.data_filter(member, place)
    except tarfile.FilterError:
        return None


def stacks(revision: Revision) -> list[str]:
    """The names of the stack files of a revision, sorted."""
    return sorted(f.name.removeprefix("Pulumi.").removesuffix(".yaml") for f in revision.folder.glob("Pulumi.*.yaml"))


def read(revision: Revision, names: Sequence[str]) -> dict[str, State]:
    """The stacks of a revision, planned and rendered by the code of that revision in a process of its own.

    The virtual environment is ours, so a change of dependencies does not show. Nothing is raised: what a stack, or the
    whole revision, cannot do is told as Broken.
    """
    if not (revision.folder / "headroom" / "ops" / "diff" / "probe.py").is_file():
        reason = f"the code at {revision.title} is older than this command and cannot render itself for a diff"
        return {name: Broken(name, reason, "compare with a later revision: --base") for name in names}
    done = subprocess.run(
        [sys.executable, "-m", "headroom.ops.diff.probe", *names],
        cwd=revision.folder,
        env=_environment(revision.folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        answer = json.loads(done.stdout)
        written = answer["format"]
    except (ValueError, KeyError, TypeError):
        last = plaintext.scrub((done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1])
        return {name: Broken(name, f"the code at {revision.title} does not run: {last}") for name in names}
    if written != FORMAT:
        reason = f"the code at {revision.title} answers in format {written}, this command reads {FORMAT}"
        return {name: Broken(name, reason, "compare with a nearer revision: --base") for name in names}
    # By this code, not by theirs: one that is older does not tell where its stack goes.
    return {
        name: cluster.marked(state(name, answer["stacks"][name]), revision.folder / f"Pulumi.{name}.yaml")
        for name in names
    }


def _environment(folder: Path) -> dict[str, str]:
    """Ours, with the revision's folder first on the import path and nothing of Pulumi that could reach a backend."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PULUMI_")}
    return {**kept, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}


def state(name: str, found: Mapping[str, Any]) -> State:
    """What the probe says of a stack, as types."""
    if found.get("absent"):
        return Absent(name)
    if "error" in found:
        return Broken(name, str(found["error"]), str(found.get("fix") or ""))
    return Snapshot(
        stack=name,
        lines=tuple(
            Line(x["component"], x["setting"], x["value"], x["unit"], x["because"], x["boundBy"])
            for x in found["lines"]
        ),
        warnings=tuple((w["component"], w["message"]) for w in found["warnings"]),
        objects=tuple(
            Rendered(o["manifest"], o["urn"], tuple(o["aliases"]), tuple(o["replaceOnChanges"]), o["retain"])
            for o in found["objects"]
            if o["manifest"].get("kind") != "Secret"
        ),
        costs={component: (float(least), float(most)) for component, (least, most) in found["costs"].items()},
    )


def _git(root: Path, *args: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["git", "-C", str(root), *args], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise EnvironmentFailure("git is not installed", fix="install git") from error
