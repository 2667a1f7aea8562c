"""The checklist of a change: what to have done before, while and after, made from the plan and from what differs, and
ticked by the live stack where it can tell."""

from __future__ import annotations

from pathlib import Path

from headroom.capacity import demand as demands
from headroom.capacity import plan as plans
from headroom.capacity.demand import StackDemand
from headroom.capacity.plan import Plan
from headroom.errors import InputError
from headroom.kubectl import Kubectl
from headroom.ops.checklist import items
from headroom.ops.checklist.live import Facts, ask
from headroom.ops.checklist.model import Checklist, Group, Item, Mark
from headroom.ops.diff import words
from headroom.ops.diff.model import StackDiff
from headroom.ops.diff.run import run
from headroom.progress import Progress, step

__all__ = ["Checklist", "Group", "Item", "Mark", "compose", "make"]


def make(
    root: Path,
    stack: str,
    file: Path,
    *,
    base: str | None,
    kubectl: Kubectl | None,
    real_pods: bool,
    progress: Progress,
) -> Checklist:
    """Compare, look, and write the list. `kubectl` None: no cluster is asked, and what only it can tell stays open.

    Raises InputError for a stack that cannot be planned or compared, EnvironmentFailure for a cluster that is silent.
    """
    demand = demands.load(stack, file)
    plan = plans.make(demand)
    report = run(root, base=base, stack=stack, progress=progress)
    problems = [*report.problems, *(p for s in report.stacks for p in s.problems)]
    if problems:
        raise InputError(f"stack {stack} cannot be compared: {problems[0]}", fix="headroom diff says all of it")
    facts = None
    if kubectl is not None:
        with step(progress, f"looking at stack {stack}"):
            facts = ask(kubectl, plan, demand, real_pods=real_pods)
    return compose(plan, demand, report.stacks[0], facts, base=report.base)


def compose(plan: Plan, demand: StackDemand, diff: StackDiff, facts: Facts | None, *, base: str) -> Checklist:
    """The list of a change; of the whole stack where nothing changes. Pure."""
    changed = {c.component for c in diff.settings}
    services = [s for s in plan.services if s.key in changed] or list(plan.services)
    title = f"{plan.stack}, compared with {base}: {words.verdict(diff)}"
    return Checklist(
        title,
        (
            *items.before(plan, diff, facts, services),
            *items.making(plan, facts, services),
            *items.after(plan, demand, facts, services),
        ),
        unseen="" if facts else items.NOT_SEEN,
    )
