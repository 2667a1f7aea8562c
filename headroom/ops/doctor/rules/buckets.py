"""Buckets of the feature store that are on their way and do not arrive, and what moves left where it should not be."""

from __future__ import annotations

from collections.abc import Iterator

from headroom.capacity.plan.model import Plan
from headroom.ops import reshard
from headroom.ops.doctor import objects
from headroom.ops.doctor.model import Finding, Severity
from headroom.ops.doctor.snapshot import Snapshot


def stuck(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """Moves without a mover, without news, or of which the rows differ."""
    postgres = plan.postgres
    if postgres is None:
        return
    for now in seen.moves:
        wrong = [m for m in now.moves if m.verified is False]
        left = now.unfinished
        silent = now.silent
        if not wrong and (not left or (now.working and (now.paused or not silent))):
            continue
        again = f"headroom up --stack {plan.stack}"
        if wrong:
            symptom = f"bucket {wrong[0].bucket} is not what its former shard had"
            because, fix = wrong[0].said, f"headroom reshard status --stack {plan.stack}"
        elif not now.working:
            symptom = f"{len(left)} buckets are on their way and no mover works"
            because, fix = "its Job was removed, gave up, or was told to stop; a slot keeps WAL until it goes on", again
        else:
            symptom = f"{len(silent)} buckets have not come further for {silent[0].idle / 60:.0f} minutes"
            because = "a transaction holds the bucket, the target cannot keep up, or the throttle is below the writes"
            fix = f"headroom reshard status --stack {plan.stack}"
        yield Finding(
            anchor="buckets-do-not-move",
            severity=Severity.error,
            component="postgres",
            subject=f"shard {postgres.namespace}/pg-shard-0",
            symptom=symptom,
            because=because,
            fix=fix,
            evidence=tuple(
                f"bucket {m.bucket}, {m.source} to {m.target}: {m.step} for {m.idle:.0f} s; {m.said}".removesuffix("; ")
                for m in [*wrong, *left][:5]
            ),
        )


def astray(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """Map and fences that disagree; slots, publications and subscriptions that belong to no move."""
    postgres = plan.postgres
    if postgres is None:
        return
    for now in seen.moves:
        for found in seen.shards:
            held = reshard.agreement(now, found)
            subject = f"shard {postgres.namespace}/pg-shard-{found.number}"
            if not held.whole:
                counts = (
                    f"{len(held.mapped)} by the map, {len(held.recorded)} by its record, {len(held.writable)} writable"
                )
                yield Finding(
                    anchor="buckets-do-not-agree",
                    severity=Severity.error,
                    component="postgres",
                    subject=subject,
                    symptom="its buckets are not those of the map",
                    because="somebody changed rights, records or schemas by hand, or the shard came from a backup",
                    fix=_put_right(seen, held, found.number, postgres.namespace, plan.stack),
                    evidence=(
                        f"buckets: {counts}",
                        f"map version {found.version}, shard 0 has {now.version}",
                    ),
                )
            if held.orphans:
                yield Finding(
                    anchor="buckets-do-not-agree",
                    severity=Severity.error,
                    component="postgres",
                    subject=subject,
                    symptom=f"{len(held.orphans)} left of moves that do not go on",
                    because="it was made by hand, or came back with a backup; a slot keeps WAL until the disk is full",
                    fix=f"headroom verify --stack {plan.stack}",
                    evidence=held.orphans[:5],
                )


def _put_right(seen: Snapshot, held: reshard.Agreement, shard: int, namespace: str, stack: str) -> str:
    """The command: rights are given or taken in the shard; what it has recorded is the bootstrap Job's to look at."""
    words = []
    if shut := _schemas(set(held.mapped) - set(held.writable)):
        words.append(f"GRANT USAGE ON SCHEMA {shut} TO features")
        words.append(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {shut} TO features")
    if ajar := _schemas(set(held.writable) - set(held.mapped)):
        words.append(f"REVOKE ALL ON SCHEMA {ajar} FROM features")
    if held.recorded != held.mapped or not words:
        return f"kubectl delete jobs -n {namespace} -l app=pg-bootstrap; headroom up --stack {stack}"
    labels = {"app": f"pg-shard-{shard}", "role": "primary"}.items()
    pods = (p for p in objects.living(seen) if labels <= (p["metadata"].get("labels") or {}).items())
    pod = next((objects.name(p) for p in pods), f"pg-shard-{shard}-0")
    return f"kubectl exec -n {namespace} {pod} -c postgres -- psql -U postgres -d features -c '{'; '.join(words)}'"


def _schemas(buckets: set[int]) -> str:
    return ", ".join(f"b{bucket:03d}" for bucket in sorted(buckets))
