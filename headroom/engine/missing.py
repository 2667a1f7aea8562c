"""What the Pulumi stack holds and somebody deleted from the cluster: Pulumi believes its state and would not see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from headroom.engine.model import Change, Changes
from headroom.engine.preview import existing
from headroom.engine.rendered import ObjectId, Rendered
from headroom.kubectl import Kubectl

if TYPE_CHECKING:
    from pulumi.automation import Stack

REASON = "it is not on the cluster any more"


def of(stack: Stack, kubectl: Kubectl, rendered: Rendered) -> Mapping[str, ObjectId]:
    """The objects of the stack that the program still has, Pulumi's state too, and the cluster no more, by URN."""
    state: Any = stack.export_stack().deployment or {}
    held = {str(r["urn"]) for r in state.get("resources") or [] if not r.get("delete")}
    mine = {o.urn: o.id for o in rendered.objects if o.urn in held}
    there = existing(kubectl, list(mine.values())) if mine else {}
    return {urn: identity for urn, identity in mine.items() if identity not in there}


def told(changes: Changes, lost: Mapping[str, ObjectId]) -> Changes:
    """A preview that says what `up` makes again: Pulumi's own calls it unchanged."""
    ids = {(i.kind, i.namespace, i.name) for i in lost.values()}
    return replace(
        changes,
        items=tuple(
            Change("create", c.kind, c.namespace, c.name, reason=REASON)
            if (c.kind, c.namespace, c.name) in ids and c.action in ("unchanged", "update")
            else c
            for c in changes.items
        ),
    )
