"""The rules, and how to run all of them over the objects of one stack."""

from __future__ import annotations

from collections.abc import Iterable

from policy.rules import availability, containers, restricted, secrets, services
from policy.rules.model import Manifest, ObjectRule, StackRule, Violation

OBJECT_RULES: tuple[ObjectRule, ...] = (
    restricted.RULE,
    containers.RESOURCES,
    containers.PROBES,
    containers.IMAGES,
    secrets.RULE,
    services.RULE,
)
STACK_RULES: tuple[StackRule, ...] = (availability.BUDGETS, availability.REPLICAS)


def violations(manifests: Iterable[Manifest]) -> list[Violation]:
    """Everything that the objects of one stack break, in the order of the rules.

    The rule on replacements is not among them: it also needs what was deployed before (see `replacement`).
    """
    objects = list(manifests)
    return [
        *(v for rule in OBJECT_RULES for manifest in objects for v in rule.violations(manifest)),
        *(v for rule in STACK_RULES for v in rule.violations(objects)),
    ]
