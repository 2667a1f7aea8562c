"""Reading Kubernetes objects: small questions that many rules ask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from headroom.capacity.parts import PARTS
from headroom.capacity.plan.model import Plan, Resources, ServicePlan
from headroom.kubectl import Manifest
from headroom.ops.ages import age
from headroom.ops.doctor.snapshot import Snapshot

_SHOWN = 5


def name(of: Manifest) -> str:
    return str(of["metadata"]["name"])


def namespace(of: Manifest) -> str:
    return str(of["metadata"].get("namespace") or "")


def place(of: Manifest) -> str:
    """`headroom/inference-7d9f-x2x`."""
    return f"{namespace(of)}/{name(of)}"


def component(of: Manifest) -> str:
    """The service or part that an object belongs to, by its label `app`."""
    labels = of["metadata"].get("labels") or {}
    app = str(labels.get("app") or labels.get("app.kubernetes.io/name") or name(of))
    if app.startswith("pg-"):
        return "postgres"
    return next((part for part in PARTS if app == part or app.startswith(f"{part}-")), app)


def service(plan: Plan, key: str) -> ServicePlan | None:
    """The plan of a service."""
    return next((s for s in plan.services if s.key == key), None)


def resources(plan: Plan, of: Manifest, container: str) -> Resources | None:
    """What the plan gives a container of a pod; None where the plan does not know it."""
    key = component(of)
    if key in PARTS:
        part = getattr(plan, key)
        found: Resources | None = None if part is None else part.sidecars.get(container, part.resources)
        return found
    planned = service(plan, key)
    return planned.resources if planned else None


def condition(of: Manifest, kind: str) -> Manifest | None:
    """A condition of an object's status by its type."""
    return next((c for c in of.get("status", {}).get("conditions") or [] if c["type"] == kind), None)


def holds(of: Manifest, kind: str) -> bool:
    """Whether a condition is True."""
    found = condition(of, kind)
    return found is not None and found["status"] == "True"


def ready(pod: Manifest) -> bool:
    return holds(pod, "Ready") and not leaving(pod)


def leaving(of: Manifest) -> bool:
    """Whether it is being deleted."""
    return "deletionTimestamp" in of["metadata"]


def containers(pod: Manifest) -> list[dict[str, Any]]:
    """The statuses of a pod's containers, those that start first at first."""
    status = pod.get("status", {})
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def specification(pod: Manifest, container: str) -> dict[str, Any]:
    """A container as its pod asks for it; empty where there is none of that name."""
    spec = pod["spec"]
    every = [*(spec.get("initContainers") or []), *spec["containers"]]
    return next((c for c in every if c["name"] == container), {})


def asked(pod: Manifest, resource: str) -> list[str]:
    """What each container of a pod requests of a resource."""
    every = [(c.get("resources") or {}).get("requests") or {} for c in pod["spec"]["containers"]]
    return [str(r[resource]) for r in every if resource in r]


def waiting(status: Manifest) -> tuple[str, str]:
    """Why a container waits: reason and message, both empty when it does not."""
    found = (status.get("state") or {}).get("waiting") or {}
    return str(found.get("reason") or ""), str(found.get("message") or "")


def events(seen: Snapshot, of: Manifest, *reasons: str, kind: str = "", seconds: float = 900) -> list[str]:
    """The messages of an object's events of these reasons within the last `seconds`, newest first, each once."""
    told = happened(seen, of, *reasons, kind=kind)
    return list(dict.fromkeys(message(event) for event in told if age(seen.at, when(event)) <= seconds))


def happened(seen: Snapshot, of: Manifest, *reasons: str, kind: str = "") -> Iterator[Manifest]:
    """An object's events of these reasons, newest first."""
    for event in sorted(seen.events, key=when, reverse=True):
        about = event.get("involvedObject") or event.get("regarding") or {}
        if about.get("name") != name(of) or about.get("namespace") != namespace(of):
            continue
        if (not kind or about.get("kind") == kind) and (not reasons or event.get("reason") in reasons):
            yield event


def message(event: Manifest) -> str:
    """What an event says, in one line."""
    return " ".join(str(event.get("message") or event.get("note") or "").split())


def when(event: Manifest) -> str:
    """When an event was last seen, as the API writes times."""
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp")
        or ""
    )


def listed(words: Iterable[str], most: int = _SHOWN) -> str:
    """`a, b, c and 4 more`."""
    every = list(words)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def living(seen: Snapshot) -> Iterator[Manifest]:
    """Pods that are to run: neither finished nor on their way out."""
    return (p for p in seen.pods if p.get("status", {}).get("phase") not in ("Succeeded", "Failed") and not leaving(p))


def settings(seen: Snapshot, deployment: Manifest) -> dict[str, str]:
    """The environment of a Deployment's first container, as far as it is in the open."""
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    maps = {(e.get("configMapRef") or {}).get("name") for e in container.get("envFrom") or []}
    found: dict[str, str] = {}
    for config in seen.config_maps:
        if namespace(config) == namespace(deployment) and name(config) in maps:
            found |= config.get("data") or {}
    return found | {e["name"]: e["value"] for e in container.get("env") or [] if "value" in e}
