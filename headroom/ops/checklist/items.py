"""The items: from the plan and what changes in it, ticked by what is live where that can be told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headroom.capacity.demand import StackDemand
from headroom.capacity.plan import Plan
from headroom.capacity.plan.model import Resources, ServicePlan
from headroom.ops.checklist.live import Facts
from headroom.ops.checklist.model import Group, Item, Mark
from headroom.ops.diff import words
from headroom.ops.diff.model import StackDiff
from headroom.ops.doctor import Severity, objects
from headroom.ops.doctor.rules import autoscaler
from headroom.ops.verify import Verdict

THREADS = ("WORKER_THREADS", "INFERADB__SERVER__WORKER_THREADS", "INFERADB__ENGINE__THREADS")
NOT_SEEN = "no cluster was asked"


def before(plan: Plan, diff: StackDiff, facts: Facts | None, services: Sequence[ServicePlan]) -> Iterator[Item]:
    """The bottleneck, the trigger, the targets, the sizes, and whether the stack is fit to be changed."""
    for service in services:
        at_target, least, most = service.replicas_at_target, service.min_replicas, service.max_replicas
        yield _done(
            f"{service.key}: bottleneck identified",
            f"{at_target.bound_by} decides: {at_target.because}",
            f"headroom plan --stack {plan.stack}",
        )
        yield _trigger(service, facts)
        moved = [c for c in diff.settings if c.component == service.key and c.setting in ("minReplicas", "maxReplicas")]
        told = f"{least.value} to {most.value} pods, {at_target.value} at the target"
        told += "".join(f"; {words.setting(c)[1]} {c.setting}" for c in moved)
        yield _done(f"{service.key}: target replicas", told, f"headroom diff --stack {plan.stack}")
        yield _done(f"{service.key}: resource limits", _sizes(service.resources))
    for danger in diff.dangers:
        yield Item(
            Group.before,
            f"accepted: {danger.subject} {danger.words}",
            Mark.open,
            f"a danger ({danger.kind}): somebody must want it",
            f"headroom diff --stack {plan.stack}",
        )
    yield _fit(plan, facts)
    money = words.cost(diff)
    at_least, at_most = plan.monthly_cost_at_min.value, plan.monthly_cost_at_max.value
    yield _done(
        "cost projected", money or f"${at_least:,} to ${at_most:,} a month", f"headroom diff --stack {plan.stack}"
    )
    yield _rollback(plan, facts)


def making(plan: Plan, facts: Facts | None, services: Sequence[ServicePlan]) -> Iterator[Item]:
    """What must be configured, as it is live: done once the change is deployed."""
    for service in services:
        yield _autoscaler(plan, service, facts)
        if service.worker_threads is not None:
            yield _threads(plan, service, facts)
    yield from _sets(plan, facts)
    if plan.pgbouncer is not None:
        yield _pooling(plan, facts)


def after(plan: Plan, demand: StackDemand, facts: Facts | None, services: Sequence[ServicePlan]) -> Iterator[Item]:
    """What proves it: the load that was asked for, the latency that was promised, nothing wrong."""
    for service in services:
        load = demand.services[service.key].demand
        flow = facts.seen.traffic.get(service.key) if facts else None
        if load is None or load.target_rps is None:
            continue
        target = float(load.target_rps)
        enough = flow is not None and flow.rate >= 0.8 * target
        told = (
            "not told by a cluster" if flow is None else f"{flow.rate:,.0f} of {target:,.0f} requests/s at this moment"
        )
        yield Item(
            Group.after,
            f"{service.key}: load test done",
            Mark.done if enough else Mark.open,
            told,
            f"headroom load {service.key} --stack {plan.stack} --at-target",
        )
        if load.latency is not None:
            yield _latency(plan, service, float(load.latency.p99), flow.p99 if flow else None)
    wrong = [f for f in facts.diagnosis.findings if f.severity is Severity.error] if facts else []
    mark = Mark.open if facts is None else Mark.failed if wrong else Mark.done
    evidence = (
        NOT_SEEN if facts is None else objects.listed(sorted({f.anchor for f in wrong})) or "the doctor finds nothing"
    )
    yield Item(Group.after, "nothing is wrong", mark, evidence, f"headroom doctor --stack {plan.stack}")
    yield Item(
        Group.after,
        "watched for a while",
        Mark.open,
        "longer than the autoscaler's window of 5 minutes",
        f"headroom verify --stack {plan.stack} --watch",
    )


def _done(what: str, evidence: str, command: str = "") -> Item:
    return Item(Group.before, what, Mark.done, evidence, command)


def _trigger(service: ServicePlan, facts: Facts | None) -> Item:
    scaling = service.autoscaling
    held = [f"cpu at {scaling.cpu_utilization.value} %"] if scaling.cpu_utilization else []
    if scaling.pods_metric:
        held.append(f"{scaling.pods_metric.name} at {scaling.pods_metric.average.value} a pod")
    blind = [
        f
        for f in (facts.diagnosis.findings if facts else ())
        if f.component == service.key and f.anchor in ("no-metrics-api", "metric-is-missing", "no-requests-set")
    ]
    told = f"{scaling.source}: holds {' and '.join(held) or 'nothing'}"
    told += "".join(f"; but it {f.symptom}" for f in blind[:1])
    return Item(
        Group.before,
        f"{service.key}: trigger defined",
        Mark.failed if blind else Mark.done,
        told,
        blind[0].fix if blind else "",
    )


def _sizes(size: Resources) -> str:
    return (
        f"cpu {size.cpu_request.value} to {size.cpu_limit.value}, memory {size.memory_request.value} to "
        f"{size.memory_limit.value}"
    )


def _fit(plan: Plan, facts: Facts | None) -> Item:
    what, command = "the stack is well before it is changed", f"headroom doctor --stack {plan.stack}"
    if facts is None:
        return Item(Group.before, what, Mark.open, NOT_SEEN, command)
    if not facts.deployed:
        return Item(Group.before, what, Mark.done, "nothing of it is on the cluster yet", command)
    wrong = sorted({f.anchor for f in facts.diagnosis.findings if f.severity is Severity.error})
    return Item(
        Group.before,
        what,
        Mark.failed if wrong else Mark.done,
        objects.listed(wrong) or "the doctor finds nothing",
        command,
    )


def _rollback(plan: Plan, facts: Facts | None) -> Item:
    command = f"headroom rollback --stack {plan.stack}"
    if facts is None:
        return Item(Group.before, "rollback planned", Mark.open, NOT_SEEN, command)
    mark = Mark.done if facts.revision else Mark.open
    evidence = f"back to {facts.revision}" if facts.revision else "no deployment that got ready is recorded yet"
    return Item(Group.before, "rollback planned", mark, evidence, command)


def _up(plan: Plan) -> str:
    return f"headroom up --stack {plan.stack}"


def _configured(what: str, plan: Plan, facts: Facts | None, live: str, wanted: str) -> Item:
    if facts is None:
        return Item(Group.making, what, Mark.open, f"{wanted} planned; {NOT_SEEN}", _up(plan))
    same = live == wanted
    told = wanted if same else f"live {live or 'nothing'}, planned {wanted}"
    return Item(Group.making, what, Mark.done if same else Mark.open, told, "" if same else _up(plan))


def _autoscaler(plan: Plan, service: ServicePlan, facts: Facts | None) -> Item:
    hpa = autoscaler.find(facts.seen, service) if facts else None
    live = f"{hpa['spec'].get('minReplicas', 1)} to {hpa['spec']['maxReplicas']} pods" if hpa else ""
    wanted = f"{service.min_replicas.value} to {service.max_replicas.value} pods"
    return _configured(f"{service.key}: HPA configured", plan, facts, live, wanted)


def _threads(plan: Plan, service: ServicePlan, facts: Facts | None) -> Item:
    wanted = f"{service.worker_threads.value} threads" if service.worker_threads else ""
    live = ""
    if facts:
        place = f"{service.namespace}/{service.key}"
        deployment = next((d for d in facts.seen.deployments if objects.place(d) == place), None)
        values = objects.settings(facts.seen, deployment) if deployment else {}
        found = next((values[name] for name in THREADS if name in values), None)
        live = f"{found} threads" if found else ""
    return _configured(f"{service.key}: thread pool configured", plan, facts, live, wanted)


def _sets(plan: Plan, facts: Facts | None) -> Iterator[Item]:
    wanted: dict[str, tuple[str, int]] = {}
    if plan.postgres:
        each = plan.postgres.replication_factor.value
        wanted |= {f"pg-shard-{n}": (plan.postgres.namespace, each) for n in range(plan.postgres.shards.value)}
    if plan.redis:
        count = plan.redis.masters.value * (1 + plan.redis.replicas_per_master.value)
        wanted["redis"] = (plan.redis.namespace, count)
    if plan.h2o:
        wanted["h2o-cluster"] = (plan.h2o.namespace, plan.h2o.nodes.value)
    for name, (namespace, count) in wanted.items():
        sets = facts.seen.stateful_sets if facts else ()
        live = next((s for s in sets if objects.place(s) == f"{namespace}/{name}"), None)
        now = ""
        if live:
            pods, ready = live["spec"].get("replicas", 1), live.get("status", {}).get("readyReplicas", 0)
            now = f"{pods} pods" + ("" if ready == pods else f", {ready} ready")
        yield _configured(f"StatefulSet {name} configured", plan, facts, now, f"{count} pods")


def _pooling(plan: Plan, facts: Facts | None) -> Item:
    pools = plan.pgbouncer
    told = (
        f"{pools.replicas.value} PgBouncer, pools of {pools.default_pool_size.value} + "
        f"{pools.reserve_pool_size.value}, {pools.max_client_conn.value:,} clients each"
        if pools
        else ""
    )
    if facts is None:
        return Item(Group.making, "pooling configured", Mark.open, f"{told} planned; {NOT_SEEN}", _up(plan))
    failed = [f for f in facts.pooling if f.verdict is Verdict.failed]
    skipped = [f for f in facts.pooling if f.verdict is Verdict.skipped]
    if failed or skipped or not facts.pooling:
        said = "; ".join(f.evidence for f in (failed or skipped)[:2]) or "no pooler runs"
        return Item(Group.making, "pooling configured", Mark.open, f"{told} planned; {said}", _up(plan))
    return Item(Group.making, "pooling configured", Mark.done, told)


def _latency(plan: Plan, service: ServicePlan, promised: float, measured: float | None) -> Item:
    what = f"{service.key}: p99 of {promised * 1000:g} ms met"
    predicted = service.predicted_p99_ms
    if measured is None:
        told = f"too few requests to say; the plan predicts {predicted.value:g} ms" if predicted else "too few requests"
        command = f"headroom load {service.key} --stack {plan.stack} --at-target"
        return Item(Group.after, what, Mark.open, told, command)
    mark = Mark.done if measured <= promised else Mark.failed
    return Item(
        Group.after, what, mark, f"{measured * 1000:,.0f} ms", f"headroom doctor {service.key} --stack {plan.stack}"
    )
