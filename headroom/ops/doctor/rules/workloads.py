"""What the plan has and the cluster has not."""

from __future__ import annotations

from collections.abc import Iterator

from headroom.capacity.plan.model import Plan
from headroom.ops.doctor import objects
from headroom.ops.doctor.model import Finding, Severity
from headroom.ops.doctor.snapshot import Snapshot


def missing(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """A Deployment or StatefulSet of the plan is not there, or a set has fewer pods than the plan."""
    deployments = {objects.place(d) for d in seen.deployments}
    sets = {objects.place(s): s for s in seen.stateful_sets}
    planned = [*_deployments(plan), *((c, place) for c, place, _ in _sets(plan))]
    if planned and not any(place in deployments or place in sets for _, place in planned):
        yield _finding(
            plan, "cluster", f"stack {plan.stack}", "is not on this cluster", "nothing of it is in its namespaces"
        )
        return
    for component, place in _deployments(plan):
        if place not in deployments:
            yield _finding(plan, component, f"Deployment {place}", "is not there", "it was never deployed, or deleted")
    for component, place, count in _sets(plan):
        if place not in sets:
            yield _finding(plan, component, f"StatefulSet {place}", "is not there", "it was never deployed, or deleted")
        elif (live := sets[place]["spec"].get("replicas", 1)) != count:
            yield _finding(
                plan,
                component,
                f"StatefulSet {place}",
                f"has {live} pods, and {count} are planned",
                "the stack file was changed and not deployed, or somebody scaled the set by hand",
            )


def jobs(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """A Job that gave up: what it had to do around a change is not done."""
    for job in seen.jobs:
        if not objects.holds(job, "Failed"):
            continue
        said, name = objects.condition(job, "Failed") or {}, objects.name(job)
        yield Finding(
            anchor="job-failed",
            severity=Severity.error,
            component=objects.component(job),
            subject=f"Job {objects.place(job)}",
            symptom="has failed, and what it had to do is not done",
            because=f"{said.get('reason', 'no reason given')}: its log says why",
            fix=f"kubectl logs -n {objects.namespace(job)} job/{name} --tail 30; then headroom up --stack {plan.stack} "
            "(it tries again, and goes on where it was)",
            evidence=(str(said.get("message", "")),),
        )


def _finding(plan: Plan, component: str, subject: str, symptom: str, because: str) -> Finding:
    return Finding(
        anchor="part-is-not-deployed",
        severity=Severity.error,
        component=component,
        subject=subject,
        symptom=symptom,
        because=because,
        fix=f"headroom up --stack {plan.stack}",
    )


def _deployments(plan: Plan) -> Iterator[tuple[str, str]]:
    for service in plan.services:
        yield service.key, f"{service.namespace}/{service.key}"
    if plan.pgbouncer:
        yield "pgbouncer", f"{plan.pgbouncer.namespace}/pgbouncer"


def _sets(plan: Plan) -> Iterator[tuple[str, str, int]]:
    if plan.postgres:
        for number in range(plan.postgres.shards.value):
            yield "postgres", f"{plan.postgres.namespace}/pg-shard-{number}", plan.postgres.replication_factor.value
    if plan.redis:
        count = plan.redis.masters.value * (1 + plan.redis.replicas_per_master.value)
        yield "redis", f"{plan.redis.namespace}/redis", count
    if plan.h2o:
        yield "h2o", f"{plan.h2o.namespace}/h2o-cluster", plan.h2o.nodes.value
