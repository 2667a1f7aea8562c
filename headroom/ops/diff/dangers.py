"""What a reviewer must not miss, in words: lost data, downtime, deletions, shrinking, doors opened.

Every function here is pure; a danger that none of them finds cannot be read off the plan or the objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from headroom.ops.diff import cluster, doors, quantity
from headroom.ops.diff.model import (
    Danger,
    DangerKind,
    ObjectChange,
    Rendered,
    SettingChange,
    Snapshot,
    State,
)

_ORDER: tuple[DangerKind, ...] = ("data", "downtime", "deletion", "exposure", "shrink")
_SCALED = ("Deployment", "StatefulSet")
_PAUSED = "autoscaling.keda.sh/paused-replicas"
_ENFORCE = "pod-security.kubernetes.io/enforce"

_GONE = {
    "Namespace": "everything in it goes with it",
    "StatefulSet": "its pods stop; its volume claims stay",
    "Deployment": "its pods stop, and whoever calls them fails",
    "DaemonSet": "its pods stop",
    "Service": "its name no longer resolves, and whoever calls it fails",
    "HorizontalPodAutoscaler": "replicas no longer follow load",
    "ScaledObject": "replicas no longer follow load",
    "PodDisruptionBudget": "a node drain may take all its pods at once",
    "NetworkPolicy": "the paths that it opened close, or those that it closed open",
    "ResourceQuota": "nothing bounds the namespace any more",
    "PersistentVolumeClaim": "the data on its volume is lost",
    "CustomResourceDefinition": "every object of that kind goes with it",
}
# What shrinks when its number falls, and what that does.
_SHRINK = {
    "minReplicas": "fewer pods stand ready when load comes",
    "maxReplicas": "load that filled the old maximum no longer fits",
    "replicas": "fewer pods",
    "nodes": "fewer nodes",
    "shards": "the buckets of the shards that go must move first",
    "masters": "the slots of the masters that go must move first, into less memory",
    "replicationFactor": "fewer copies of the data",
    "replicasPerMaster": "fewer copies of the data",
    "sentinels": "fewer voters for a failover",
    "volumeSize": "volumes cannot shrink, the API server refuses it",
    "exportVolumeSize": "volumes cannot shrink, the API server refuses it",
    "max_connections": "clients beyond it are refused, and PostgreSQL restarts for it",
    "max_client_conn": "clients beyond it are refused",
    "default_pool_size": "fewer queries run at once",
    "max_db_connections": "fewer queries run at once",
    "maxmemory": "keys beyond it are evicted or writes refused",
    "containerMemory": "pods restart with less memory",
    "memoryLimit": "pods restart with less memory and are killed above it",
    "memoryRequest": "pods restart with less memory kept for them",
    "cpuLimit": "pods restart and are throttled earlier",
    "cpuRequest": "pods restart with less CPU kept for them",
    "heap": "nodes restart with less heap, and frames may no longer fit",
    "workerThreads": "a pod serves fewer requests at once",
    "queueLimit": "a pod refuses requests earlier",
    "cacheCapacity": "fewer entries fit the cache",
    "minAvailable": "a node drain may take more pods at once",
}


def find(
    before: Snapshot, after: Snapshot, settings: Sequence[SettingChange], objects: Sequence[ObjectChange]
) -> tuple[Danger, ...]:
    """All dangers of a change, gravest kind first. A stack that is new has none."""
    if not before.objects and not before.lines:
        return ()
    found = [
        *(d for change in objects for d in _of_object(change, after)),
        *(
            d
            for change in objects
            if change.operation != "note" and change.after
            for d in doors.opened(change.before, change.after)
        ),
        *cluster.dangers(before, after),
        *_short_of_budget(before, after),
        *(d for change in settings for d in _of_setting(change)),
    ]
    return tuple(sorted(dict.fromkeys(found), key=lambda d: _ORDER.index(d.kind)))


def of_a_removed_stack(stack: str, before: State) -> tuple[Danger, ...]:
    """What it means that a stack file goes."""
    if not isinstance(before, Snapshot):
        return ()
    words = (
        f"its file goes, and with it the way to change or check what it deployed ({len(before.objects)} objects); they "
        f"stay on the cluster. Run `headroom down --stack {stack}` before this lands"
    )
    return (Danger("deletion", f"stack {stack}", words),)


def _of_object(change: ObjectChange, after: Snapshot) -> Iterator[Danger]:
    match change.operation:
        case "replace":
            yield from _of_replacement(change, after)
        case "delete":
            kind: DangerKind = "data" if change.object.kind in ("PersistentVolumeClaim", "Namespace") else "deletion"
            if change.object.kind != "Job":
                yield Danger(
                    kind, change.object.title, f"is deleted: {_GONE.get(change.object.kind, 'nothing takes its place')}"
                )
        case "release":
            yield Danger(
                "deletion",
                change.object.title,
                "is let go: it stays on the cluster with its data, but nothing here manages it",
            )
        case "update":
            yield from _of_update(change, after)


def _of_replacement(change: ObjectChange, after: Snapshot) -> Iterator[Danger]:
    o, why = change.object, ", ".join(change.why)
    match o.kind:
        case "StatefulSet" if _is_h2o(o):
            yield Danger("data", o.title, f"is replaced ({why}): {_h2o_memory(after)}")
            yield Danger(
                "downtime",
                o.title,
                "is replaced: H2O is away from the export until the new cluster has formed and loaded",
            )
        case "StatefulSet":
            yield Danger(
                "downtime",
                o.title,
                f"is replaced ({why}): all its pods stop before new ones start; its volume claims stay",
            )
        case "PersistentVolumeClaim":
            stays = (
                "a claim keeps its name and its volume, so `headroom up` refuses it; set it back, or move the data to "
                "another namespace"
                if o.retain
                else "the data on its volume is lost"
            )
            does = "would have to be" if o.retain else "is"
            yield Danger("data", o.title, f"{does} replaced ({why}): {stays}")
        case "Namespace":
            yield Danger("data", o.title, f"is replaced ({why}): {_GONE['Namespace']}")
        case "Deployment" | "DaemonSet":
            yield Danger("downtime", o.title, f"is replaced ({why}): all its pods stop before new ones start")
        case "Service":
            yield Danger("downtime", o.title, f"is replaced ({why}): its address changes, and open connections break")
        case "Job":
            return  # a Job is run again by being replaced; that is how it is meant
        case _:
            yield Danger("deletion", o.title, f"is replaced ({why}): it is deleted and made again")


def _of_update(change: ObjectChange, after: Snapshot) -> Iterator[Danger]:
    o = change.object
    if change.before is None or change.after is None:
        return
    if o.kind in _SCALED:
        yield from _of_workload(change, _spec(change.before), _spec(change.after), after)
    else:
        yield from _of_other(o, change.before, change.after)


def _of_workload(change: ObjectChange, old: dict[str, Any], new: dict[str, Any], after: Snapshot) -> Iterator[Danger]:
    o = change.object
    rolls = any(f.path.startswith("spec.template.") for f in change.fields)
    if new.get("replicas") == 0 and old.get("replicas") != 0:
        yield Danger("downtime", o.title, "is switched off: maintenance sets its replicas to 0")
    elif quantity.shrinks(old.get("replicas"), new.get("replicas")):
        yield Danger("shrink", o.title, f"goes from {old['replicas']} to {new['replicas']} pods")
    if rolls and (new.get("strategy") or {}).get("type") == "Recreate":
        yield Danger("downtime", o.title, "rolls with strategy Recreate: all its pods stop before new ones start")
    if o.kind != "StatefulSet":
        return
    if _is_h2o(o):
        if rolls or old.get("replicas") != new.get("replicas"):
            words = f"restarts its nodes, and an H2O cluster does not outlive one: {_h2o_memory(after)}"
            yield Danger("data", o.title, words)
    elif rolls and new.get("replicas", 1) == 1:
        yield Danger("downtime", o.title, "has one pod, which is away while it restarts")


def _of_other(o: Rendered, before: Rendered, after: Rendered) -> Iterator[Danger]:
    old, new = _spec(before), _spec(after)
    match o.kind:
        case "ScaledObject" if _annotation(after, _PAUSED) == "0" != _annotation(before, _PAUSED):
            yield Danger("downtime", o.title, "is paused at 0 replicas: maintenance")
        case "PersistentVolumeClaim" if quantity.shrinks(_storage(old), _storage(new)):
            words = f"shrinks from {_storage(old)} to {_storage(new)}: volumes cannot shrink, the API server refuses it"
            yield Danger("data", o.title, words)
        case "ConfigMap" if _redis_mode(before) not in ("", _redis_mode(after)):
            words = (
                f"the mode goes from {_redis_mode(before)} to {_redis_mode(after)}, and neither can read the other's "
                "files: `headroom up` refuses it; deploy a second namespace and warm it"
            )
            yield Danger("data", "redis.mode", words)
        case "Namespace" if _label(before, _ENFORCE) == "restricted" != _label(after, _ENFORCE):
            now = _label(after, _ENFORCE) or "nothing is enforced"
            yield Danger("exposure", o.title, f"no longer enforces restricted pods ({now})")
        case "PodDisruptionBudget" if quantity.shrinks(old.get("minAvailable"), new.get("minAvailable")):
            words = f"keeps {new['minAvailable']} pods instead of {old['minAvailable']} during a drain"
            yield Danger("shrink", o.title, words)


def _of_setting(change: SettingChange) -> Iterator[Danger]:
    if change.before is None or change.after is None or change.setting not in _SHRINK:
        return
    old, new = change.before, change.after
    if old.unit == new.unit and quantity.shrinks(old.value, new.value):
        kind: DangerKind = "data" if change.setting in ("volumeSize", "exportVolumeSize") else "shrink"
        words = (
            f"shrinks from {_shown(old.value, old.unit)} to {_shown(new.value, new.unit)}: {_SHRINK[change.setting]}"
        )
        yield Danger(kind, f"{change.component}.{change.setting}", words)
    elif (change.component, change.setting) == ("postgres", "shards"):
        yield Danger("data", "postgres.shards", "changes: buckets of data move between shards while both serve")


def _short_of_budget(before: Snapshot, after: Snapshot) -> Iterator[Danger]:
    """Workloads that the change takes below what their disruption budget asks."""
    was = {title for title, _, _ in _below(before)}
    for title, floor, held in _below(after):
        if title not in was:
            yield Danger("downtime", title, f"may run {floor} pods, below the {held} that its disruption budget keeps")


def _below(side: Snapshot) -> Iterator[tuple[str, int, int]]:
    for budget in (o for o in side.objects if o.kind == "PodDisruptionBudget"):
        held = _spec(budget).get("minAvailable")
        wanted = (_spec(budget).get("selector") or {}).get("matchLabels") or {}
        mine = [
            o
            for o in side.objects
            if o.kind in _SCALED
            and o.namespace == budget.namespace
            and wanted.items() <= (((_spec(o).get("template") or {}).get("metadata") or {}).get("labels") or {}).items()
        ]
        floor = sum(_floor(o, side) for o in mine)
        if mine and isinstance(held, int) and floor < held:
            yield mine[0].title, floor, held


def _floor(workload: Rendered, side: Snapshot) -> int:
    replicas = _spec(workload).get("replicas")
    if replicas == 0:
        return 0
    for o in side.objects:
        target = _spec(o).get("scaleTargetRef") or {}
        if o.namespace == workload.namespace and target.get("name") == workload.name:
            spec = _spec(o)
            return int(spec.get("minReplicas", spec.get("minReplicaCount", 1)))
    return 1 if replicas is None else int(replicas)


def _is_h2o(o: Rendered) -> bool:
    return o.app.startswith("h2o") or o.name.startswith("h2o")


def _h2o_memory(after: Snapshot) -> str:
    jobs = any(o.kind == "Job" and "h2o" in o.name for o in after.objects)
    kept = "; a Job exports them before and another loads them after, so check that the export volume has room for them"
    return "frames and models in its memory go" + (kept if jobs else ", and no Job of this stack saves them")


def _spec(o: Rendered) -> dict[str, Any]:
    return dict(o.manifest.get("spec") or {})


def _redis_mode(o: Rendered) -> str:
    return str((o.manifest.get("data") or {}).get("REDIS_MODE", ""))


def _storage(spec: dict[str, Any]) -> Any:
    return ((spec.get("resources") or {}).get("requests") or {}).get("storage")


def _annotation(o: Rendered, key: str) -> str | None:
    found = (o.manifest["metadata"].get("annotations") or {}).get(key)
    return None if found is None else str(found)


def _label(o: Rendered, key: str) -> str | None:
    found = (o.manifest["metadata"].get("labels") or {}).get(key)
    return None if found is None else str(found)


def _shown(value: Any, unit: str) -> str:
    return f"{value:,} {unit}".rstrip() if isinstance(value, int | float) else f"{value} {unit}".rstrip()
