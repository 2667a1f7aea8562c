"""What a live stack says to the items of a checklist: typed facts, asked once."""

from __future__ import annotations

from dataclasses import dataclass

from headroom.capacity.demand import StackDemand
from headroom.capacity.plan import Plan
from headroom.errors import EnvironmentFailure
from headroom.kubectl import Kubectl
from headroom.ops import history
from headroom.ops.doctor import Diagnosis, Snapshot, diagnose, traffic
from headroom.ops.doctor.collect import collect
from headroom.ops.verify import Finding, Scene, Verdict, postgres


@dataclass(frozen=True)
class Facts:
    """A stack as it is: what was seen, what the doctor says of it, what PgBouncer runs with, and where back leads."""

    seen: Snapshot
    diagnosis: Diagnosis
    pooling: tuple[Finding, ...]
    revision: str
    """The newest deployment that got ready, in words; empty where none is recorded."""

    @property
    def deployed(self) -> bool:
        """Whether anything of the stack is there."""
        return not any(f.anchor == "part-is-not-deployed" and f.component == "cluster" for f in self.diagnosis.findings)


def ask(kubectl: Kubectl, plan: Plan, demand: StackDemand, *, real_pods: bool) -> Facts:
    """Raises EnvironmentFailure when the cluster does not answer."""
    seen = collect(kubectl, plan, traffic.promises(demand), real_pods=real_pods)
    diagnosis = diagnose(seen, plan)
    scene = Scene(plan, kubectl, real_pods)
    return Facts(seen, diagnosis, tuple(_pooling(scene)), _revision(kubectl, plan))


def _pooling(scene: Scene) -> list[Finding]:
    try:
        return list(postgres.pooler(scene))
    except EnvironmentFailure as error:
        return [Finding("pgbouncer", "limits", Verdict.failed, error.message)]


def _revision(kubectl: Kubectl, plan: Plan) -> str:
    try:
        good = [r for r in history.read(kubectl, plan.namespace) if r.state == "healthy"]
    except EnvironmentFailure:
        return ""
    return f"revision {good[-1].number} of {good[-1].at}" if good else ""
