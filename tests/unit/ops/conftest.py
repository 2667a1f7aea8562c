"""A stack as a real cluster gave it (the stack `local`, well), broken objects as a real cluster gave them, and how to
make the one into the other."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from headroom.capacity import plan as plans
from headroom.capacity.demand import from_config
from headroom.capacity.plan import Plan
from headroom.ops.doctor import Finding, Severity, Snapshot, diagnose
from headroom.ops.doctor.collect import _apis
from headroom.ops.doctor.snapshot import PodTraffic, PoolerNode, PostgresNode, Standby, Traffic
from headroom.stackfile import document

HERE = Path(__file__).parent / "doctor"
ROOT = HERE.parents[3]
KINDS = (
    *("nodes", "pods", "events", "deployments", "stateful_sets", "autoscalers", "services", "endpoint_slices"),
    *("claims", "storage_classes", "quotas", "config_maps", "jobs", "redis", "h2o"),
)


class Lab:
    """Objects to break. Everything that it gives is a copy."""

    at = datetime(2026, 11, 22, 9, 11, tzinfo=UTC)

    def __init__(self) -> None:
        self._healthy = json.loads((HERE / "healthy.json").read_text())
        self._sick = json.loads((HERE / "sick.json").read_text())
        self._plan: Plan | None = None
        self.config = document(ROOT / "Pulumi.local.yaml")["config"]

    def plan(self, change: Callable[[dict[str, Any]], object] = lambda config: None) -> Plan:
        """The plan of `local`, its config changed in place first."""
        config = copy.deepcopy(self.config)
        change(config)
        return plans.make(from_config("local", config))

    def healthy(self) -> Snapshot:
        """The stack as it was found, and its programs as they answered."""
        fields: dict[str, Any] = {kind: tuple(copy.deepcopy(self._healthy[kind])) for kind in KINDS}
        return Snapshot(
            at=self.at,
            namespaces=("headroom",),
            apis=_apis(self._healthy["api_services"]),
            postgres=(
                PostgresNode(0, "pg-shard-0-0", primary=False, paused=False, connections=3, max_connections=100),
                PostgresNode(
                    *(0, "pg-shard-0-1"),
                    primary=True,
                    paused=False,
                    connections=4,
                    max_connections=100,
                    standbys=(Standby("pg-shard-0-0", "streaming", "sync", 0),),
                ),
            ),
            poolers=(PoolerNode("pgbouncer-5ff85446d5-pvgb7", 12, 1000, 0, 0.0),),
            **fields,
        )

    def raw(self, kind: str) -> Any:
        """A part of the recording that is not a kind of object."""
        return copy.deepcopy(self._healthy[kind])

    def sick(self, kind: str, name: str, as_: str = "inference") -> dict[str, Any]:
        """A broken object by the start of its name, as if it were of the service `as_`."""
        found = next(o for o in self._sick[kind] if o["metadata"]["name"].startswith(name))
        made: dict[str, Any] = copy.deepcopy(found)
        made["metadata"]["namespace"] = "headroom"
        made["metadata"].setdefault("labels", {})["app"] = as_
        for container in made["spec"].get("containers", ()):
            container["resources"].setdefault("requests", {"cpu": "10m"})  # as the namespace's LimitRange does
        return made

    def events(self, name: str) -> tuple[dict[str, Any], ...]:
        """The warnings about the broken objects whose names start so."""
        found = []
        for event in copy.deepcopy(self._sick["events"]):
            if event["involvedObject"]["name"].startswith(name):
                event["involvedObject"]["namespace"] = "headroom"
                found.append(event)
        return tuple(found)

    def with_pod(self, name: str, as_: str = "inference", **changes: Any) -> Snapshot:
        """The stack with one broken pod more, and its events."""
        seen = self.healthy()
        pod = self.sick("pods", name, as_)
        return replace(seen, pods=(*seen.pods, pod), events=(*seen.events, *self.events(name)), **changes)

    def with_autoscaler(self, name: str) -> Snapshot:
        """The stack with the broken autoscaler's state as that of `inference`."""
        seen = self.healthy()
        hpa = self.sick("autoscalers", name)
        hpa["metadata"]["name"] = "inference-hpa"
        hpa["spec"]["minReplicas"], hpa["spec"]["maxReplicas"] = 2, 3
        return replace(seen, autoscalers=(hpa,))

    def change(self, seen: Snapshot, kind: str, name: str, change: Callable[[dict[str, Any]], object]) -> Snapshot:
        """The snapshot with one object changed in place."""
        found = [o for o in getattr(seen, kind) if o["metadata"]["name"].startswith(name)]
        assert found, (kind, name)
        for one in found[:1]:
            change(one)
        return seen

    def condition(self, of: dict[str, Any], kind: str, **fields: str) -> None:
        """Change a condition of an object's status in place, or add it."""
        every = of["status"].setdefault("conditions", [])
        found = next((c for c in every if c["type"] == kind), None)
        if found is None:
            every.append(found := {"type": kind})
        found.update(fields)

    def traffic(self, rates: tuple[float, ...], *, errors: float = 0.0, p99: float = 0.03, **fields: Any) -> Snapshot:
        """The stack, its service answering so many requests a second at each pod."""
        seen = self.healthy()
        names = [p["metadata"]["name"] for p in seen.pods if p["metadata"]["name"].startswith("inference-")]
        pods = tuple(PodTraffic(n, r, errors) for n, r in zip(names, rates, strict=True))
        return replace(seen, traffic={"inference": Traffic("inference", 60, pods, p99, **fields)})

    def redis(self, number: int, **fields: Any) -> Snapshot:
        """The stack, with other words in the report of one Redis pod."""
        seen = self.healthy()
        reports = [dict(r) for r in seen.redis]
        reports[number].update(fields)
        return replace(seen, redis=tuple(reports))

    def diagnose(self, seen: Snapshot, plan: Plan | None = None) -> list[Finding]:
        self._plan = self._plan or self.plan()
        return list(diagnose(seen, plan or self._plan).findings)

    def one(self, seen: Snapshot, anchor: str, plan: Plan | None = None) -> Finding:
        """The one finding; fails when there are others."""
        found = self.diagnose(seen, plan)
        assert [f.anchor for f in found] == [anchor], found
        return found[0]

    def explains(
        self, seen: Snapshot, anchor: str, words: str, severity: Severity = Severity.error, plan: Plan | None = None
    ) -> Finding:
        """The one finding, which says these words, why, and what mends it."""
        found = self.one(seen, anchor, plan)
        assert found.severity is severity
        assert found.because
        assert found.fix
        assert words in "\n".join([found.subject, found.symptom, found.because, found.fix, *found.evidence])
        return found


@pytest.fixture(scope="session")
def lab() -> Lab:
    return Lab()
