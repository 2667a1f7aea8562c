"""Buckets of the feature store: the map, the fences, and moves that are stuck or have left something behind."""

from __future__ import annotations

import json
from collections.abc import Iterator

from headroom.capacity.plan.buckets import owners, reassigned
from headroom.errors import EnvironmentFailure
from headroom.ops import reshard
from headroom.ops.verify.model import Finding, Scene, Verdict, judge


def buckets(scene: Scene) -> Iterator[Finding]:
    """The shards share the buckets evenly; each owns, and lets the services write, just its own; nothing is stuck."""
    plan = scene.plan.postgres
    if plan is None:
        return
    again = f"headroom up --stack {scene.plan.stack}"
    live = scene.kubectl.find("configmap", "shard-map", plan.namespace)
    first = json.loads(live["data"]["map.json"]) if live else {}
    planned = first.get("buckets") == list(owners(plan.shards.value))
    said = "what clients begin with is the plan's" if planned else "what clients begin with is not the plan's"
    if not scene.real_pods:
        yield judge("postgres", "first map", planned, said, again)
        yield Finding("postgres", "bucket map", Verdict.skipped, "no software runs in the pods of fake nodes")
        return
    try:
        now = reshard.state(scene.kubectl, plan.namespace)
    except EnvironmentFailure as error:
        yield judge("postgres", "first map", True, said) if planned else _unknown("postgres", "first map")
        yield judge("postgres", "bucket map", False, error.message[:200], error.fix or again)
        yield _unknown("postgres", "moves")
        yield from (_unknown(f"pg-shard-{number}", "fences") for number in range(plan.shards.value))
        return
    # It follows the buckets.
    yield judge("postgres", "first map", planned or now.working, said, again)
    even = reassigned(now.owners, plan.shards.value) == now.owners
    said = f"version {now.version}, {len(set(now.owners))} shards"
    yield judge("postgres", "bucket map", even or now.working, said if even else f"{said}, not even yet", again)
    yield _moves(scene, now)
    for number in range(max(plan.shards.value, max(now.owners) + 1)):
        yield from _shard(scene, plan.namespace, number, now)


def _unknown(component: str, check: str) -> Finding:
    return Finding(component, check, Verdict.skipped, "cannot be told without the bucket map of shard 0")


def _moves(scene: Scene, now: reshard.State) -> Finding:
    left = now.unfinished
    wrong = [m for m in now.moves if m.verified is False]
    stuck = now.silent
    fix = f"headroom reshard status; then headroom up --stack {scene.plan.stack} to go on, or headroom reshard abort"
    if wrong:
        return judge(
            "postgres", "moves", False, f"bucket {wrong[0].bucket}: {wrong[0].said}", "headroom reshard status"
        )
    if not left:
        return judge("postgres", "moves", True, "no bucket is on its way")
    if now.working and not stuck:
        return judge("postgres", "moves", True, f"{len(left)} buckets are on their way{', paused' * now.paused}")
    which = stuck[0] if stuck else left[0]
    why = f"{len(left)} buckets, and {'no mover works' if not now.working else 'nothing has happened for long'}"
    said = f"; bucket {which.bucket} is {which.step}{f': {which.said}' if which.said else ''}"
    return judge("postgres", "moves", now.paused and now.working, why + said, fix)


def _shard(scene: Scene, namespace: str, number: int, now: reshard.State) -> Iterator[Finding]:
    name, again = f"pg-shard-{number}", f"headroom up --stack {scene.plan.stack}"
    try:
        found = reshard.shard(scene.kubectl, namespace, number)
    except EnvironmentFailure as error:
        yield judge(name, "fences", False, error.message[:200], again)
        return
    held = reshard.agreement(now, found)
    yield judge(
        name,
        "fences",
        held.whole and found.number == number,
        f"{len(held.writable)} buckets writable, {len(held.recorded)} recorded, {len(held.mapped)} in the map, "
        f"version {found.version}" + (f"; {len(now.unfinished)} on their way" if now.unfinished else ""),
        again,
    )
    if held.orphans:
        words = f"{', '.join(held.orphans[:3])}: of no move that goes on, and a slot keeps WAL until the disk is full"
        yield judge(name, "left by moves", False, words, "headroom reshard abort, or drop them by hand in that shard")
