"""Start what is missing of a cluster, and wait until it is ready: the control plane, its own objects, its nodes."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from headroom.errors import EnvironmentFailure
from headroom.local import containers, controlplane, fakenodes, pki, processes, realnode, room
from headroom.local.controlplane import Part
from headroom.local.kube import Api, apply, kubectl
from headroom.local.processes import Process
from headroom.local.record import Record
from headroom.progress import Progress, step

FIRST = ("etcd", "kube-apiserver", "containerd")


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
            # A kubelet that finds no containerd ends at once, too; the API server it waits for.
            ensure_running(state, next(part for part in wanted if part.name == "kubelet"), init)
        wait(state, first, "the API server", lambda: api.ok("/readyz"), progress, init)
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
        wait(state, wanted, what, lambda: expected <= ready_nodes(api) and all(map(api.ok, asked)), progress, init)
        remove_surplus(state, now, programs, api)


def ensure_running(state: Path, part: Part, init: Process | None) -> Process:
    """The part's process, started if it does not live."""
    return processes.living(state, part.name) or processes.start(state, part.name, part.argv, env=part.env, join=init)


def link(state: Path, kubectl_program: Path) -> None:
    """A `kubectl` of the cluster's own version in its folder, which neither reads nor writes anything in `~/.kube`."""
    settings = {"KUBECONFIG": state / "kubeconfig", "KUBECACHEDIR": state / "run" / "kubectl", "KUBERC": "off"}
    exports = "".join(f"export {name}={shlex.quote(str(value))}\n" for name, value in settings.items())
    (state / "bin").mkdir(exist_ok=True)
    new = state / "bin" / "kubectl.new"
    new.write_text(f'#!/bin/sh\n{exports}exec {shlex.quote(str(kubectl_program))} "$@"\n')
    new.chmod(0o700)
    new.replace(state / "bin" / "kubectl")


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


def wait(
    state: Path,
    wanted: list[Part],
    what: str,
    ready: Callable[[], bool],
    progress: Progress,
    init: Process | None,
) -> None:
    """Wait until `ready`; a process that dies is started once more, as a supervisor would, but for those of FIRST.

    Raises EnvironmentFailure when a process that it takes has died, or after two minutes.
    """
    began, once_more = time.monotonic(), {part.name for part in wanted} - set(FIRST)
    while not ready():
        seconds = time.monotonic() - began
        for part in wanted:
            if processes.living(state, part.name) is None:
                if part.name in once_more:
                    once_more.remove(part.name)
                    progress.note(f"{part.name} ended and is started again; its log has why")
                    ensure_running(state, part, init)
                    continue
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
