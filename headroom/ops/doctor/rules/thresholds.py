"""What was promised, and what is measured: latency, errors, the demand itself, and the balancer in front."""

from __future__ import annotations

from collections.abc import Iterator

from headroom.capacity.plan.model import Plan, ServicePlan
from headroom.ops.doctor.model import About, Finding, Severity
from headroom.ops.doctor.snapshot import Snapshot, Traffic

ERROR_SHARE = 0.01
FEWEST_ERRORS = 5
NEAR = 0.8


def latency(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """The p99 of all pods is over the stack file's."""
    for service, traffic in _each(seen, plan):
        if traffic.p99 is None or traffic.promised is None or traffic.p99 <= traffic.promised:
            continue
        predicted = service.predicted_p99_ms
        over = traffic.target is not None and traffic.rate > traffic.target
        yield _about(service).finding(
            "latency-is-over-its-promise",
            f"has a p99 of {traffic.p99 * 1000:,.0f} ms, and {traffic.promised * 1000:,.0f} ms are promised",
            "more requests arrive than the plan was made for"
            if over
            else "at this rate the plan expects less: requests take longer than the profile says (serviceTime), CPU is "
            "short, or a store is slow",
            f'headroom scale {service.key} --to N --because "p99" --stack {plan.stack}; then measure again: '
            f"headroom load",
            evidence=(
                _rate(traffic),
                *([f"predicted {predicted.value} ms: {predicted.because}"] if predicted else []),
            ),
        )


def errors(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """More than one in a hundred requests fails."""
    for service, traffic in _each(seen, plan):
        if traffic.errors * traffic.seconds < FEWEST_ERRORS or traffic.errors < ERROR_SHARE * traffic.rate:
            continue
        worst = max(traffic.pods, key=lambda p: p.errors)
        yield _about(service).finding(
            "errors-are-over-their-threshold",
            f"answers {traffic.errors / traffic.rate:.0%} of its requests with an error (5xx)",
            "503 is a full queue or stores that do not answer, 504 a deadline, 500 a fault of the program or the model",
            f"kubectl logs -n {service.namespace} {worst.pod} --tail 50; after a new version: headroom rollback "
            f"{service.key} --stack {plan.stack}",
            evidence=(_rate(traffic), f"most at {worst.pod}: {worst.errors:.1f}/s"),
        )


def demand(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """More requests arrive than the stack file asks for."""
    for service, traffic in _each(seen, plan):
        if traffic.target is not None and traffic.rate > traffic.target:
            yield _about(service).finding(
                "more-requests-than-planned",
                f"gets {traffic.rate:,.1f} requests/s, and {traffic.target:,.0f} are planned",
                "the margin of the plan is being used up",
                f"raise headroom:services.{service.key}.demand.targetRps; headroom diff --stack {plan.stack}; "
                f"headroom up --stack {plan.stack}",
                severity=Severity.warning,
                evidence=(_rate(traffic), f"minReplicas to maxReplicas: {service.max_replicas.because}"),
            )


def balancer(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """The load balancer in front is near what it can pass."""
    for service, traffic in _each(seen, plan):
        most = service.exposure.max_rps
        if most is not None and traffic.rate >= NEAR * float(most):
            yield _about(service).finding(
                "load-balancer-is-at-its-limit",
                f"gets {traffic.rate:,.0f} of the {most:,} requests/s that its load balancer can pass",
                "no number of pods helps beyond that: the balancer is the bottleneck",
                "a larger balancer or a second one; then raise service.loadBalancer.maxRps",
                severity=Severity.error if traffic.rate >= 0.95 * float(most) else Severity.warning,
                evidence=(_rate(traffic),),
            )


def _each(seen: Snapshot, plan: Plan) -> Iterator[tuple[ServicePlan, Traffic]]:
    return ((s, seen.traffic[s.key]) for s in plan.services if s.key in seen.traffic)


def _rate(traffic: Traffic) -> str:
    errors = f", {traffic.errors:,.1f}/s failed" if traffic.errors else ""
    return f"{traffic.rate:,.1f} requests/s over {traffic.seconds:.0f} s on {len(traffic.pods)} pods{errors}"


def _about(service: ServicePlan) -> About:
    return About(service.key, f"service {service.namespace}/{service.key}")
