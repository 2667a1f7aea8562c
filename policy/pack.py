"""The rules as policies of Pulumi CrossGuard: nothing but translation.

Rules see the inputs of each object. Those that need the whole stack see the inputs of all objects, kept while the
engine announced them: what a stack policy is given are outputs, where the cluster has filled in, for example, the
replicas that an autoscaler chose.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyConfigSchema,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

from policy import previous
from policy.rules import OBJECT_RULES, STACK_RULES, replacement
from policy.rules.model import Manifest, ObjectRule, StackRule, name

UNKNOWN = "(known after the deployment)"
_KUBERNETES = "kubernetes:"


class Pack:
    """All policies of one run of the engine, and the objects that it has announced so far, by URN."""

    def __init__(self, known: Callable[[str], list[replacement.Known]] = previous.stateful_sets) -> None:
        self.objects: dict[str, Manifest] = {}
        self._known = cache(known)

    def policies(self) -> list[Policy]:
        """One policy a rule, all mandatory."""
        allow = PolicyConfigSchema({"allow": {"type": "array", "items": {"type": "string"}, "default": []}})
        return [
            *(self._of_object(rule) for rule in OBJECT_RULES),
            ResourceValidationPolicy(
                name=replacement.NAME,
                description=replacement.DESCRIPTION,
                validate=self._replacement,
                enforcement_level=EnforcementLevel.MANDATORY,
                config_schema=allow,
            ),
            *(self._of_stack(rule) for rule in STACK_RULES),
        ]

    def _of_object(self, rule: ObjectRule) -> ResourceValidationPolicy:
        def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
            manifest = self._object(args)
            for violation in rule.violations(manifest) if manifest else ():
                report(f"{violation.subject}: {violation.message}", None)

        return ResourceValidationPolicy(rule.name, rule.description, validate, EnforcementLevel.MANDATORY)

    def _of_stack(self, rule: StackRule) -> StackValidationPolicy:
        def validate(args: StackValidationArgs, report: ReportViolation) -> None:
            urns = {r.urn for r in args.resources}
            manifests = [m for urn, m in self.objects.items() if urn in urns]
            for violation in rule.violations(manifests):
                report(f"{violation.subject}: {violation.message}", None)

        return StackValidationPolicy(rule.name, rule.description, validate, EnforcementLevel.MANDATORY)

    def _replacement(self, args: ResourceValidationArgs, report: ReportViolation) -> None:
        manifest = self._object(args)
        if manifest is None or manifest.get("kind") != "StatefulSet":
            return
        allow = set(args.get_config().get("allow") or ())
        if name(manifest) in allow:
            return
        try:
            known = self._known(stack_of(args.urn))
        except previous.UnknownStateError as error:
            report(f"cannot tell whether {name(manifest)} would be replaced: {error}", None)
            return
        for violation in replacement.check(known, [manifest], allow):
            report(f"{violation.subject}: {violation.message}", None)

    def _object(self, args: ResourceValidationArgs) -> Manifest | None:
        if not args.resource_type.startswith(_KUBERNETES):
            return None
        manifest: Manifest = plain(args.props)
        if "kind" not in manifest or "metadata" not in manifest:
            return None
        # Kept anew each time: one process may serve a preview, where values are unknown, and then the update.
        self.objects[args.urn] = manifest
        return manifest


def stack_of(urn: str) -> str:
    """The whole name, ORGANIZATION/PROJECT/STACK, of a resource's stack (`urn:pulumi:STACK::PROJECT::TYPE::NAME`).

    File and bucket backends know one organization, which is called that.
    """
    stack, project, *_ = urn.removeprefix("urn:pulumi:").split("::")
    return f"{os.environ.get('PULUMI_ORGANIZATION') or 'organization'}/{project}/{stack}"


def plain(value: Any) -> Any:
    """The engine's values as plain Python: whole floats as ints, what only a deployment knows as UNKNOWN."""
    if isinstance(value, Mapping):
        return {str(key): _at(value, key) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_at(value, i) for i in range(len(value))]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _at(holder: Any, key: Any) -> Any:
    try:
        return plain(holder[key])
    except UnknownValueError:
        return UNKNOWN
