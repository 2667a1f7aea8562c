"""Takes the snapshot: every question once, a few at a time, each within its own time.

What does not answer becomes part of the snapshot; only a cluster that does not answer at all is an EnvironmentFailure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from headroom.capacity.plan.model import Plan
from headroom.errors import EnvironmentFailure
from headroom.kubectl import Kubectl, Manifest
from headroom.ops import inside
from headroom.ops.diff.quantity import number
from headroom.ops.doctor import objects, programs, traffic
from headroom.ops.doctor.ask import Asked, Questions
from headroom.ops.doctor.rules import crashes
from headroom.ops.doctor.snapshot import ContainerId, Snapshot, Unseen, Usage, VolumeUse
from headroom.redaction.logs import readable

AT_ONCE = 4
"""Questions under way: enough that one which hangs does not hold up the rest, few enough for a small machine."""
LOGS, LOG_LINES = 6, 12
_NODES = 20
_NAMESPACED = {
    "Pod": ("pods", "pods"),
    "Event": ("events", "events"),
    "Deployment": ("deployments.apps", "deployments"),
    "StatefulSet": ("statefulsets.apps", "stateful_sets"),
    "HorizontalPodAutoscaler": ("horizontalpodautoscalers.autoscaling", "autoscalers"),
    "Service": ("services", "services"),
    "EndpointSlice": ("endpointslices.discovery.k8s.io", "endpoint_slices"),
    "PersistentVolumeClaim": ("persistentvolumeclaims", "claims"),
    "ResourceQuota": ("resourcequotas", "quotas"),
    "ConfigMap": ("configmaps", "config_maps"),
    "Job": ("jobs.batch", "jobs"),
}
_OF_THE_CLUSTER = {
    "Node": ("nodes", "nodes"),
    "StorageClass": ("storageclasses.storage.k8s.io", "storage_classes"),
    "APIService": ("apiservices.apiregistration.k8s.io", "apis"),
}


def collect(
    kubectl: Kubectl, plan: Plan, promises: Mapping[str, traffic.Promise], *, real_pods: bool, only: str | None = None
) -> Snapshot:
    """Look at a stack. `only` a service or part: programs of others are not asked.

    Raises EnvironmentFailure when the API server does not answer.
    """
    kubectl.run("version", "-o", "json", timeout=20)  # one clear answer instead of twenty, where there is none
    with ThreadPoolExecutor(AT_ONCE) as pool:
        questions = Questions(pool)
        seen = _objects(kubectl, plan, questions, real_pods=real_pods)
        wanted = [s for s in plan.services if only in (None, s.key)]
        if not real_pods:
            seen = replace(seen, unseen=(Unseen("what runs in the pods", "the nodes are fake, nothing runs"),))
            return replace(seen, unseen=(*seen.unseen, *questions.unseen), failures=tuple(questions.failures))
        flows = traffic.begin(kubectl, questions, wanted, promises)
        logs = _logs(kubectl, questions, seen)
        usage = _usage(kubectl, questions, seen)
        volumes = _volumes(kubectl, questions, seen)
        inner = programs.ask(kubectl, questions, seen, plan, only)
        seen = replace(
            seen,
            last_words={k: v for found in logs if (v := found.value(())) for k in [_id(found)]},
            usage={k: v for found in usage for k, v in found.value({}).items()},
            volumes=tuple(v for found in volumes for v in found.value(())),
            **inner.read(),
        )
        measured = flows.end()
        return replace(
            seen, traffic=measured, failures=tuple(questions.failures), unseen=(*seen.unseen, *questions.unseen)
        )


def _objects(kubectl: Kubectl, plan: Plan, questions: Questions, *, real_pods: bool) -> Snapshot:
    names = tuple(n.name for n in plan.namespaces)
    asked = [
        questions.ask("cluster", f"objects of namespace {name}", _get, kubectl, _NAMESPACED, "-n", name)
        for name in names
    ]
    asked.append(questions.ask("cluster", "nodes and storage classes", _get, kubectl, _OF_THE_CLUSTER))
    if any(s.autoscaling.source == "keda" for s in plan.services):
        scaled = {"ScaledObject": ("scaledobjects.keda.sh", "scaled_objects")}
        asked += [
            questions.ask("cluster", f"ScaledObjects of {name}", _get, kubectl, scaled, "-n", name) for name in names
        ]
    found: dict[str, list[Manifest]] = {}
    for answer in asked:
        kinds, refused = answer.value(({}, ()))
        for field, some in kinds.items():
            found.setdefault(field, []).extend(some)
        for words in refused:
            questions.refuse("cluster", answer.subject, words)
    apis = found.pop("apis", [])
    fields: dict[str, Any] = {field: tuple(some) for field, some in found.items()}
    return Snapshot(at=datetime.now(UTC), namespaces=names, real_pods=real_pods, apis=_apis(apis), **fields)


def _get(
    kubectl: Kubectl, kinds: Mapping[str, tuple[str, str]], *where: str
) -> tuple[dict[str, list[Manifest]], tuple[str, ...]]:
    """Objects by the snapshot's field, and kubectl's words about the kinds that it could not get."""
    resources = ",".join(resource for resource, _ in kinds.values())
    done = kubectl.run("get", resources, *where, "-o", "json", timeout=30, check=False)
    try:
        every = json.loads(done.stdout)["items"]
    except (ValueError, KeyError, TypeError) as error:
        raise EnvironmentFailure(done.stderr.strip()[:300] or "kubectl gave no JSON") from error
    found: dict[str, list[Manifest]] = {field: [] for _, field in kinds.values()}
    for each in every:
        found[kinds[each["kind"]][1]].append(each)
    return found, tuple(line.strip() for line in done.stderr.splitlines() if "Error" in line or "forbidden" in line)


def _apis(services: Iterable[Manifest]) -> dict[str, str]:
    """Aggregated APIs: those with a Service behind them, which may be away; built-in ones always answer."""
    found = {}
    for api in services:
        if "service" in api["spec"] and api["spec"]["service"]:
            said = objects.condition(api, "Available") or {}
            well = said.get("status") == "True"
            found[objects.name(api)] = "" if well else f"is not available: {said.get('message', 'no reason given')}"
    return found


def _logs(kubectl: Kubectl, questions: Questions, seen: Snapshot) -> list[Asked[tuple[str, ...]]]:
    ended = [
        (pod, status)
        for pod in objects.living(seen)
        for status in objects.containers(pod)
        if crashes.ended(status) and "ContainerCreating" not in objects.waiting(status)
    ]
    return [
        questions.ask(
            objects.component(pod),
            f"{objects.place(pod)}/{status['name']}",
            _last_words,
            kubectl,
            pod,
            status,
        )
        for pod, status in ended[:LOGS]
    ]


def _last_words(kubectl: Kubectl, pod: Manifest, status: Manifest) -> tuple[str, ...]:
    """Of the container that ended last. The kubelet keeps one; which of both names finds it depends on the moment."""
    down = "terminated" in (status.get("state") or {})
    for previous in [[], ["--previous"]] if down else [["--previous"], []]:
        place = ["-n", objects.namespace(pod), objects.name(pod), "-c", status["name"]]
        done = kubectl.run("logs", *place, f"--tail={LOG_LINES}", *previous, timeout=15, check=False)
        words = readable(done.stdout).strip()
        if done.returncode == 0 and words and "unable to retrieve container logs" not in words:
            return tuple(line[:240] for line in words.splitlines())
    return ()


def _id(found: Asked[Any]) -> ContainerId:
    return ContainerId(*found.subject.split("/"))


def _usage(kubectl: Kubectl, questions: Questions, seen: Snapshot) -> list[Asked[dict[ContainerId, Usage]]]:
    if seen.apis.get("v1beta1.metrics.k8s.io") != "":
        return []
    path = "/apis/metrics.k8s.io/v1beta1/namespaces/{}/pods"
    return [
        questions.ask("cluster", f"use of pods in {name}", _used, kubectl, path.format(name))
        for name in seen.namespaces
    ]


def _used(kubectl: Kubectl, path: str) -> dict[ContainerId, Usage]:
    return {
        ContainerId(objects.namespace(pod), objects.name(pod), container["name"]): Usage(
            float(number(container["usage"].get("cpu")) or 0), float(number(container["usage"].get("memory")) or 0)
        )
        for pod in json.loads(inside.get(kubectl, path))["items"]
        for container in pod["containers"]
    }


def _volumes(kubectl: Kubectl, questions: Questions, seen: Snapshot) -> list[Asked[tuple[VolumeUse, ...]]]:
    """From the kubelets of the nodes whose pods have claims."""
    nodes = {
        str(pod["spec"]["nodeName"])
        for pod in objects.living(seen)
        if "nodeName" in pod["spec"]
        and any("persistentVolumeClaim" in volume for volume in pod["spec"].get("volumes") or [])
    }
    path = "/api/v1/nodes/{}/proxy/stats/summary"
    return [
        questions.ask("cluster", f"volumes on node {node}", _fill, kubectl, path.format(node), seen)
        for node in sorted(nodes)[:_NODES]
    ]


def _fill(kubectl: Kubectl, path: str, seen: Snapshot) -> tuple[VolumeUse, ...]:
    return tuple(
        VolumeUse(
            claim["namespace"], claim["name"], pod["podRef"]["name"], volume["usedBytes"], volume["availableBytes"]
        )
        for pod in json.loads(inside.get(kubectl, path)).get("pods") or []
        for volume in pod.get("volume") or []
        if (claim := volume.get("pvcRef")) and claim["namespace"] in seen.namespaces
        if "usedBytes" in volume and "availableBytes" in volume
    )
