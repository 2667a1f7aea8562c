"""What an alert is, and the few ways in which rules write PromQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

RUNBOOK = "docs/runbook.md"
"""Where the sections of alerts are, unless the stack file says where it is published."""


@dataclass(frozen=True)
class Alert:
    """One rule. `minutes` is how long `expr` must hold; `labels` tell apart the alerts of one name."""

    name: str
    expr: str
    minutes: int
    severity: Literal["critical", "warning"]
    summary: str
    description: str
    labels: tuple[tuple[str, str], ...] = ()

    def rule(self, component: str, stack: str, runbook: str) -> dict[str, Any]:
        """As it stands in a rule file. Every alert has a section of the runbook, named as the alert is."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": f"{self.minutes}m",
            "labels": {"severity": self.severity, "component": component, "stack": quoted(stack), **dict(self.labels)},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{runbook}#{self.name.lower()}",
            },
        }


@dataclass(frozen=True)
class Group:
    """The alerts of one component."""

    component: str
    alerts: tuple[Alert, ...]


def quoted(text: str) -> str:
    """Text of a stack file, to be shown as it is: in a label or an annotation, Prometheus runs what is in {{ }}.

    >>> quoted("launch {{ query")
    'launch {{"{"}}{{"{"}} query'
    """
    return text.replace("{", '{{"{"}}')


def series(name: str, matching: str = "", **labels: str) -> str:
    """A selector: labels that are equal, and `matching` for those that are not just that.

    >>> series("up", 'pod=~"a-.+"', namespace="ml")
    'up{namespace="ml",pod=~"a-.+"}'
    """
    parts = [f'{label}="{value}"' for label, value in labels.items()] + ([matching] if matching else [])
    return f"{name}{{{','.join(parts)}}}"


def pods(pattern: str) -> str:
    """The part of a selector that matches pods by their whole name."""
    return f'pod=~"{pattern}"'


def running(namespace: str, pattern: str) -> str:
    """How many pods Prometheus reaches. Zero, not nothing, when there is none."""
    return f"(count(count by (pod) ({series('up', pods(pattern), namespace=namespace)} == 1)) or vector(0))"
