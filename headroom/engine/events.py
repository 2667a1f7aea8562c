"""Events of the Pulumi engine as news for a person, and as the changes that a preview lists."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headroom.engine.model import Action, Change, Changes, FieldChange
from headroom.progress import Progress

if TYPE_CHECKING:
    from pulumi.automation import EngineEvent

_KUBERNETES = "kubernetes:"
_ACTIONS: dict[str, Action] = {
    "create": "create",
    "update": "update",
    "delete": "delete",
    "same": "unchanged",
    "refresh": "unchanged",
    "replace": "replace",
    "create-replacement": "replace",
    "delete-replaced": "replace",
}
_VERBS = {"create": "creating", "update": "updating", "delete": "deleting", "replace": "replacing"}


@dataclass
class Listener:
    """Gathers what one run of the engine does. `errors` and `warnings` are the engine's words; `kept` are objects that
    left the stack and stay on the cluster."""

    progress: Progress
    changes: dict[str, Change] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    _done: int = 0

    def __call__(self, event: EngineEvent) -> None:
        """To be given as `on_event`."""
        if event.diagnostic_event is not None:
            self._diagnostic(event.diagnostic_event)
        elif event.resource_pre_event is not None:
            self._step(event.resource_pre_event.metadata)
        elif event.res_outputs_event is not None:
            self._outcome(event.res_outputs_event.metadata)

    def result(self) -> Changes:
        """The changes to Kubernetes objects, by name."""
        items = sorted(self.changes.values(), key=lambda c: (c.namespace, c.kind, c.name))
        return Changes(tuple(items), tuple(dict.fromkeys(self.warnings)))

    def _diagnostic(self, event: Any) -> None:
        text = str(event.message).strip()
        if not text or event.ephemeral:
            return
        if event.severity == "error":
            self.errors.append(text)
        elif event.severity == "warning":
            self.warnings.append(text)

    def _step(self, step: Any) -> None:
        action = _action(step)
        if action is None:
            return
        change = _change(step, action)
        before = self.changes.get(step.urn)
        # A replacement is several steps on one resource. Which of them says why depends on their order: a deletion that
        # comes first says nothing.
        if before is None or before.action != "replace" or (action == "replace" and _mute(before)):
            self.changes[step.urn] = change
        if action == "delete" and getattr(step.old, "retain_on_delete", False):
            del self.changes[step.urn]
            self.kept.append(f"{change.kind.lower()}/{change.name} in {change.namespace}".removesuffix(" in "))
        elif action in _VERBS:
            self.progress.detail(f"{_VERBS[action]} {change.kind} {change.name} ({self._done} done)")

    def _outcome(self, step: Any) -> None:
        """A refresh says only here what it found."""
        self._done += 1
        if str(getattr(step.op, "value", step.op)) != "refresh" or not _is_object(step):
            return
        if step.new is None:
            self.changes[step.urn] = _change(step, "delete")
        elif step.detailed_diff or step.diffs:
            self.changes[step.urn] = _change(step, "update")


def _is_object(step: Any) -> bool:
    return str(step.type).startswith(_KUBERNETES)


def _mute(change: Change) -> bool:
    return not change.reason and not change.fields


def _action(step: Any) -> Action | None:
    return _ACTIONS.get(str(getattr(step.op, "value", step.op))) if _is_object(step) else None


def _change(step: Any, action: Action) -> Change:
    state = step.new or step.old
    metadata = (getattr(state, "inputs", None) or {}).get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}  # a string where all of it is secret
    paths = sorted(step.detailed_diff or step.diffs or ()) if action in ("update", "replace") else []
    return Change(
        action,
        kind=str(step.type).rpartition(":")[2],
        namespace=str(metadata.get("namespace") or ""),
        name=str(metadata.get("name") or str(step.urn).rpartition("::")[2]),
        fields=tuple(FieldChange(p) for p in paths),
        reason=f"{', '.join(step.keys)} cannot change in place" if action == "replace" and step.keys else "",
    )
