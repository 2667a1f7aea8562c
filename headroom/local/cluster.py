"""Up and down: a cluster is a record, a room, and a list of processes; `up` makes whatever of it is missing."""

from __future__ import annotations

import contextlib
import errno
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from headroom.errors import EnvironmentFailure, HeadroomError
from headroom.local import (
    binaries,
    cgroups,
    containers,
    controlplane,
    fakenodes,
    machine,
    packages,
    paths,
    pki,
    processes,
    realnode,
    record,
    room,
)
from headroom.local.controlplane import Part
from headroom.local.kube import Api, apply, kubectl
from headroom.local.model import Cluster
from headroom.local.processes import Process
from headroom.local.record import Record
from headroom.progress import Progress, Silent, step

DEFAULT_FAKE_NODES = 3
FIRST = ("etcd", "kube-apiserver", "containerd", "kubelet")

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
                remove_folder(state)
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
    if before and fake_nodes in (None, before.fake_nodes) and healthy(state, before):
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
            run(name, state, now, programs, progress)
        except EnvironmentFailure as problem:
            if before is None:
                raise
            progress.note(f"the cluster that was here cannot be repaired ({problem.message}): making it again")
            clear(state, now)
            with record.lock(paths.clusters(), seconds=30):
                now = choices(state, kind, wanted)
                record.save(state, now)
            run(name, state, now, programs, progress)
    except BaseException:
        if before is None:
            with step(progress, "stopping what had been started"):
                take_down(state, now)
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
            clear(state, None)
    if found and found.layout != record.LAYOUT:
        progress.note("a cluster of another version was here: making it again")
        clear(state, found)
        return None
    if found is None and (any(state.iterdir()) or processes.strays(state)):
        progress.note("something of a cluster was left here without its record: removing it first")
        clear(state, None)
    return found


def choose(nodes: Nodes, progress: Progress) -> Literal["real", "fake"]:
    """Real nodes or fake ones. Raises EnvironmentFailure when real ones are asked for and cannot be."""
    if nodes == "fake":
        return "fake"
    reason = machine.no_real_node()
    if not reason and machine.missing() and not packages.can_install():
        reason = f"these are missing: {', '.join(machine.missing())}"
    if nodes == "real" and reason:
        raise EnvironmentFailure(f"no real node here: {reason}", fix="run as root on Linux, or use --nodes fake")
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


def run(name: str, state: Path, now: Record, programs: Mapping[str, Path], progress: Progress) -> None:
    """Make what is missing of the cluster and wait until it is ready."""
    context = f"headroom-{name}"
    api = Api(now.server, state)
    with step(progress, "starting the control plane", "control plane ready"):
        (state / "run").mkdir(exist_ok=True)
        (state / "volumes").mkdir(exist_ok=True)
        pki.ensure(state, now, programs["pki"], realnode.NODE)
        pki.kubeconfig(state, now, "admin", context)
        init = room.enter(state, now, programs["pause"])
        wanted = controlplane.parts(state, now, programs, context)
        if now.nodes == "real":
            realnode.prepare(state, now)
            wanted += realnode.parts(state, now, programs, context)
        link(state, programs["kubectl"])
        # The others end when the API server does not answer, or does not know their rights yet.
        first = [part for part in wanted if part.name in FIRST]
        for part in first:
            ensure_running(state, part, init)
        if now.nodes == "real":
            containers.ensure_pause_image(state, programs["pause"])
        wait(state, first, "the API server", lambda: api.ok("/readyz"), progress)
        for part in wanted:
            ensure_running(state, part, init)
        furnish(state, now, programs, api)
    if now.nodes == "fake" or now.fake_nodes:
        ensure_running(state, fakenodes.part(state, now, programs, context), init)
    what = f"{now.fake_nodes} fake nodes" if now.nodes == "fake" else "the real node"
    with step(progress, f"waiting for {what}", f"{what} ready"):
        expected = {realnode.NODE} if now.nodes == "real" else set()
        expected |= {fakenodes.name(number) for number in range(now.fake_nodes)}
        # A node's own word may be old, the kubelet's is of now; and no pod is admitted before its service account.
        asked = ["/api/v1/namespaces/default/serviceaccounts/default"]
        if now.nodes == "real":
            asked.append(f"/api/v1/nodes/{realnode.NODE}/proxy/healthz")
        wait(state, wanted, what, lambda: expected <= ready_nodes(api) and all(map(api.ok, asked)), progress)
        remove_surplus(state, now, programs, api)


def ensure_running(state: Path, part: Part, init: Process | None) -> Process:
    """The part's process, started if it does not live."""
    return processes.living(state, part.name) or processes.start(state, part.name, part.argv, env=part.env, join=init)


def furnish(state: Path, now: Record, programs: Mapping[str, Path], api: Api) -> None:
    """Apply the cluster's own objects."""
    objects = controlplane.objects(now)
    if now.nodes == "real":
        objects += realnode.objects(now)
    fake = now.nodes == "fake" or now.fake_nodes > 0
    apply(state, programs["kubectl"], objects, *(fakenodes.definitions(programs) if fake else []))
    if fake:
        deadline = time.monotonic() + 30
        while not all(api.ok(f"/apis/kwok.x-k8s.io/v1alpha1/{kind}") for kind in fakenodes.KINDS):
            if time.monotonic() > deadline:
                raise EnvironmentFailure(
                    "the API server does not serve kwok's definitions", fix="headroom local down, then up"
                )
            time.sleep(0.05)
        there = {item["metadata"]["name"] for item in api.items("/api/v1/nodes")}
        missing = [number for number in range(now.fake_nodes) if fakenodes.name(number) not in there]
        nodes = [fakenodes.node(number, beside_real=now.nodes == "real") for number in missing]
        apply(state, programs["kubectl"], nodes, *fakenodes.behaviours(programs))


def remove_surplus(state: Path, now: Record, programs: Mapping[str, Path], api: Api) -> None:
    """Delete the fake nodes that are more than asked for."""
    keep = {fakenodes.name(number) for number in range(now.fake_nodes)} | {realnode.NODE}
    surplus = sorted({item["metadata"]["name"] for item in api.items("/api/v1/nodes")} - keep)
    if surplus:
        kubectl(state, programs["kubectl"], "delete", "node", *surplus)


def wait(state: Path, wanted: list[Part], what: str, ready: Callable[[], bool], progress: Progress) -> None:
    """Wait until `ready`. Raises EnvironmentFailure when a process that it takes has died, or after two minutes."""
    began = time.monotonic()
    while not ready():
        seconds = time.monotonic() - began
        for part in wanted:
            if processes.living(state, part.name) is None:
                raise EnvironmentFailure(
                    f"{part.name} ended: {processes.log_tail(state, part.name)}", fix=hint(state, part.name)
                )
        if seconds > 120:
            raise EnvironmentFailure(
                f"{what} was not ready after two minutes",
                fix=f"see the logs in {state / 'logs'}, then headroom local down",
            )
        progress.detail(f"waiting for {what}, {seconds:.0f} s")
        time.sleep(0.05)


def hint(state: Path, part: str) -> str:
    """What to do about a process that ended, from what it said."""
    said = processes.log_tail(state, part, 30)
    if "no space left" in said:
        return f"free some space on the disk of {state}, and start again"
    if "address already in use" in said:
        return "another program took one of the cluster's ports: start again, and others are chosen"
    return "headroom local down, then headroom local up"


def ready_nodes(api: Api) -> set[str]:
    """The names of the nodes that are Ready; empty while the API server does not answer."""
    try:
        nodes = api.items("/api/v1/nodes")
    except OSError:
        return set()
    return {node["metadata"]["name"] for node in nodes if is_ready(node)}


def is_ready(node: Mapping[str, dict[str, list[dict[str, str]]]]) -> bool:
    conditions = node["status"].get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def healthy(state: Path, now: Record) -> bool:
    """Whether every process lives and every node is Ready."""
    living = processes.parts(state)
    expected = {
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "metrics-server",
        "local-volumes",
    }
    if now.room == "namespace":
        expected.add(room.INIT)
    if now.nodes == "real":
        expected |= {"containerd", "kubelet", "kube-proxy", "coredns"}
    if now.nodes == "fake" or now.fake_nodes:
        expected.add("kwok")
    if not all(part in living and living[part].alive for part in expected):
        return False
    count = now.fake_nodes + (now.nodes == "real")
    return len(ready_nodes(Api(now.server, state))) == count


def down(name: str = "headroom", *, progress: Progress | None = None) -> None:
    """Stop the cluster and remove everything that it made. Does nothing when there is nothing.

    Raises EnvironmentFailure naming what cannot be removed.
    """
    progress = progress or Silent()
    state = paths.state(name)
    if not state.exists() and not processes.strays(state):
        return
    with plain_words(state), record.lock(state, why=" (another up or down?)"):
        found: Record | None = None
        with contextlib.suppress(EnvironmentFailure):
            found = record.load(state)
        with step(progress, f"taking cluster {name} down", f"cluster {name} is gone"):
            take_down(state, found)


def take_down(state: Path, found: Record | None) -> None:
    """Remove a cluster, with or without its record, and its folders."""
    clear(state, found)
    remove_folder(state)


def clear(state: Path, found: Record | None) -> None:
    """Remove all of a cluster but its folder, which holds the lock. The record goes last: it can be done again."""
    identity = record.identity(state)
    room.leave(state, found, identity)
    if room.possible():
        cgroups.remove(f"headroom-{identity}")
    for entry in sorted(state.iterdir() if state.exists() else [], key=lambda path: path.name == paths.RECORD):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)


def remove_folder(state: Path) -> None:
    """Remove an empty state folder, and the folder of all clusters when it was the only one."""
    with contextlib.suppress(OSError):
        state.rmdir()
        state.parent.rmdir()


def find(name: str = "headroom") -> Cluster | None:
    """The cluster of that name if its API server runs, else None."""
    state = paths.state(name)
    found = record.load(state)
    if found is None or processes.living(state, "kube-apiserver") is None or not (state / "kubeconfig").exists():
        return None
    return describe(name, state, found)


def link(state: Path, kubectl_program: Path) -> None:
    """A `kubectl` of the cluster's own version in its folder, which neither reads nor writes anything in `~/.kube`."""
    settings = {"KUBECONFIG": state / "kubeconfig", "KUBECACHEDIR": state / "run" / "kubectl", "KUBERC": "off"}
    exports = "".join(f"export {name}={shlex.quote(str(value))}\n" for name, value in settings.items())
    (state / "bin").mkdir(exist_ok=True)
    new = state / "bin" / "kubectl.new"
    new.write_text(f'#!/bin/sh\n{exports}exec {shlex.quote(str(kubectl_program))} "$@"\n')
    new.chmod(0o700)
    new.replace(state / "bin" / "kubectl")


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
