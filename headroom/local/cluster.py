"""Up, down, find: a cluster is a record, a room, and a list of processes. `up` decides what it should be, and has
whatever is missing of that made.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from headroom.errors import EnvironmentFailure, HeadroomError
from headroom.local import binaries, machine, packages, paths, processes, record, removal, room, starting
from headroom.local.model import Cluster
from headroom.local.record import Record
from headroom.progress import Progress, Silent, step

DEFAULT_FAKE_NODES = 3

Nodes = Literal["auto", "real", "fake"]


def up(
    name: str = "headroom",
    *,
    nodes: Nodes = "auto",
    fake_nodes: int | None = None,
    progress: Progress | None = None,
) -> Cluster:
    """Start the cluster, or find it running, or repair what of it has died.

    `nodes="auto"` takes what the cluster has already, else real nodes where the machine allows them. `fake_nodes` is
    how many fake ones there are: three by default without a real node, none beside one, where they are tainted.

    Raises InputError for a name that cannot be, EnvironmentFailure for all that the machine refuses; what had been
    started by then is stopped, also on Ctrl-C.
    """
    progress = progress or Silent()
    state = paths.state(name)
    with plain_words(state), record.lock(state, why=" (another up or down?)"):
        try:
            return locked_up(name, state, nodes, fake_nodes, progress)
        except BaseException:
            # Nothing of a cluster was recorded: nothing but the folder of the lock was made.
            if not (state / paths.RECORD).exists():
                removal.remove_folder(state)
            raise


def locked_up(name: str, state: Path, nodes: Nodes, fake_nodes: int | None, progress: Progress) -> Cluster:
    before = known(state, progress)
    if before and nodes not in ("auto", before.nodes):
        raise EnvironmentFailure(
            f"cluster {name} runs with {before.nodes} nodes",
            fix=f"take it down first, or ask for --nodes {before.nodes}",
        )
    kind = before.nodes if before else choose(nodes, progress)
    if before is None and fake_nodes is None:
        fake_nodes = DEFAULT_FAKE_NODES if kind == "fake" else 0
    if before and fake_nodes in (None, before.fake_nodes) and starting.healthy(state, before):
        return describe(name, state, before)
    if kind == "real" and (lacking := machine.missing()):
        machine.install(lacking, progress)
    wanted = before.fake_nodes if before and fake_nodes is None else fake_nodes or 0
    programs = binaries.ensure(needed(kind, wanted), progress)

    with record.lock(paths.clusters(), seconds=30):
        now = before.model_copy(update={"fake_nodes": wanted}) if before else choices(state, kind, wanted)
        record.save(state, now)
    try:
        try:
            starting.run(name, state, now, programs, progress)
        except EnvironmentFailure as problem:
            if before is None:
                raise
            progress.note(f"the cluster that was here cannot be repaired ({problem.message}): making it again")
            removal.clear(state, now)
            with record.lock(paths.clusters(), seconds=30):
                now = choices(state, kind, wanted)
                record.save(state, now)
            starting.run(name, state, now, programs, progress)
    except BaseException:
        if before is None:
            with step(progress, "stopping what had been started"):
                removal.take_down(state, now)
        raise
    return describe(name, state, now)


def known(state: Path, progress: Progress) -> Record | None:
    """The record of the cluster that is there. One that this version cannot carry on is taken down."""
    try:
        found = record.load(state)
    except EnvironmentFailure:
        found = None
        if (state / paths.RECORD).exists():
            progress.note("a cluster of another version was here: making it again")
            removal.clear(state, None)
    if found and found.layout != record.LAYOUT:
        progress.note("a cluster of another version was here: making it again")
        removal.clear(state, found)
        return None
    if found is None and (any(state.iterdir()) or processes.strays(state)):
        progress.note("something of a cluster was left here without its record: removing it first")
        removal.clear(state, None)
    return found


def choose(nodes: Nodes, progress: Progress) -> Literal["real", "fake"]:
    """Real nodes or fake ones. Raises EnvironmentFailure when real ones are asked for and cannot be."""
    if nodes == "fake":
        return "fake"
    reason, fix = machine.no_real_node(), "run as root on Linux, or use --nodes fake"
    if not reason and (lacking := machine.missing()) and not packages.can_install():
        reason = f"programs of these Debian packages are missing: {', '.join(lacking)}"
        fix = "install what they provide with your system's packages, or use --nodes fake"
    if nodes == "real" and reason:
        raise EnvironmentFailure(f"no real node here: {reason}", fix=fix)
    if reason:
        progress.note(f"nodes are fake, so no software runs in pods: {reason}")
    return "fake" if reason else "real"


def needed(kind: str, fake_nodes: int) -> tuple[binaries.Program, ...]:
    """The programs to have; kwok only where there are fake nodes."""
    with_kwok = kind == "fake" or fake_nodes > 0
    return tuple(program for program in binaries.ALL if with_kwok or program is not binaries.KWOK)


def choices(state: Path, kind: Literal["real", "fake"], fake_nodes: int) -> Record:
    """A new cluster's record: a network and ports that are free now."""
    in_room = room.possible()
    return Record(
        id=record.identity(state),
        nodes=kind,
        fake_nodes=fake_nodes,
        room="namespace" if in_room else "loopback",
        network=record.free_network(room.routes() if in_room else []),
        ports=room.PORTS if in_room else room.free_ports(),
    )


def down(name: str = "headroom", *, progress: Progress | None = None) -> bool:
    """Stop the cluster and remove everything that it made; False, and nothing is done, where there is none.

    Raises EnvironmentFailure naming what cannot be removed.
    """
    progress = progress or Silent()
    state = paths.state(name)
    if not state.exists() and not processes.strays(state):
        return False
    with plain_words(state), record.lock(state, why=" (another up or down?)"):
        found: Record | None = None
        with contextlib.suppress(EnvironmentFailure):
            found = record.load(state)
        with step(progress, f"taking cluster {name} down", f"cluster {name} is gone"):
            removal.take_down(state, found)
    return True


def find(name: str = "headroom") -> Cluster | None:
    """The cluster of that name if its API server runs, else None."""
    state = paths.state(name)
    found = record.load(state)
    if found is None or processes.living(state, "kube-apiserver") is None or not (state / "kubeconfig").exists():
        return None
    return describe(name, state, found)


def describe(name: str, state: Path, now: Record) -> Cluster:
    return Cluster(
        name=name,
        state=state,
        kubeconfig=state / "kubeconfig",
        kubectl=state / "bin" / "kubectl",
        nodes=now.nodes,
        context=f"headroom-{name}",
        server=now.server,
        services=str(now.services) if now.nodes == "real" else "",
    )


@contextlib.contextmanager
def plain_words(state: Path) -> Iterator[None]:
    """Turn what the system refuses into words with a way out."""
    try:
        yield
    except HeadroomError:
        raise
    except PermissionError as problem:
        raise EnvironmentFailure(
            f"no permission for {problem.filename or state}",
            fix="a cluster belongs to who started it: use the same user (root for real nodes)",
        ) from problem
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            raise EnvironmentFailure(
                f"the disk of {state} is full",
                fix="free some space, or set XDG_STATE_HOME and HEADROOM_CACHE to another disk",
            ) from problem
        raise EnvironmentFailure(str(problem), fix="headroom local down, then headroom local up") from problem
