"""Where a service takes load from this machine, and its pods.

On the embedded cluster this machine has a route to Services and pods. On another one a LoadBalancer's address is used,
or an address that is given. Never a port-forward: it squeezes everything through the API server in one stream, so it
would measure itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from headroom.capacity.plan.model import Plan, ServicePlan
from headroom.engine.model import Target
from headroom.errors import EnvironmentFailure, InputError
from headroom.kubectl import Kubectl, Manifest

_SAMPLE = re.compile(r"^(process_cpu_seconds_total|http_requests_total(?:\{[^}]*\})?) ([0-9.e+-]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Used:
    """What pods have used so far: seconds of CPU, and the requests they have answered."""

    cpu_s: float
    requests: float


@dataclass(frozen=True)
class Place:
    """The address to load, and a way to look at the pods behind it; `one_pod` where it is that of a single pod."""

    url: str
    one_pod: str | None
    service: ServicePlan
    kubectl: Kubectl | None

    def pods(self) -> list[str]:
        """The ready pods behind the address; empty where nobody can tell."""
        if self.one_pod is not None:
            return [self.one_pod]
        return [] if self.kubectl is None else sorted(_ready(self.kubectl, self.service))

    def used(self) -> Used | None:
        """What the pods behind the address have used, by their own metrics; None where one does not tell."""
        if self.kubectl is None:
            return None
        cpu = requests = 0.0
        for pod in self.pods():
            port = _port(self.kubectl, self.service)
            path = f"/api/v1/namespaces/{self.service.namespace}/pods/{pod}:{port}/proxy/metrics"
            told = self.kubectl.raw(path)
            samples = _SAMPLE.findall(told.stdout) if told.returncode == 0 else []
            if not any(name == "process_cpu_seconds_total" for name, _ in samples):
                return None
            cpu += sum(float(value) for name, value in samples if name == "process_cpu_seconds_total")
            requests += sum(float(value) for name, value in samples if name != "process_cpu_seconds_total")
        return Used(cpu, requests) if requests else None


def service_of(plan: Plan, key: str) -> ServicePlan:
    """The service of that key. Raises InputError naming those that there are."""
    for service in plan.services:
        if service.key == key:
            return service
    known = ", ".join(s.key for s in plan.services) or "none"
    raise InputError(f"stack {plan.stack} has no service {key!r}", fix=f"it has: {known}")


def place(target: Target | None, service: ServicePlan, url: str | None, *, one_pod: bool = False) -> Place:
    """Where to send requests. `url` wins; `one_pod` asks for a single pod's own address, where there is a way to it.

    Raises InputError where there is no way, EnvironmentFailure when nothing is ready there.
    """
    if url is not None:
        if not re.match(r"https?://[^/\s]+", url):
            raise InputError(f"--url {url} is no http:// or https:// address", fix="--url http://host:port")
        return Place(url, None, service, target.kubectl if target is not None and target.real_pods else None)
    if target is None:
        raise InputError("there is no cluster and no address", fix="--url http://host:port")
    if not target.real_pods:
        raise InputError(f"{target.title} has fake nodes: no software runs there", fix="headroom local up --nodes real")
    kubectl = target.kubectl
    live = kubectl.find("service", service.key, service.namespace)
    if live is None:
        raise EnvironmentFailure(
            f"there is no Service {service.namespace}/{service.key} on {target.title}", fix="headroom up"
        )
    ready = _ready(kubectl, service)
    if not ready:
        raise EnvironmentFailure(f"no pod of {service.key} is ready", fix="headroom verify tells why")
    if not target.embedded:
        return Place(_balanced(live, service), None, service, kubectl)
    if one_pod:
        name = min(ready)
        return Place(f"http://{ready[name]}:{_port(kubectl, service)}", name, service, kubectl)
    address, port = live["spec"]["clusterIP"], live["spec"]["ports"][0]["port"]
    return Place(f"http://{address}:{port}", None, service, kubectl)


def _balanced(live: Manifest, service: ServicePlan) -> str:
    given = (live.get("status", {}).get("loadBalancer", {}).get("ingress") or [{}])[0]
    host = given.get("hostname") or given.get("ip")
    if not host:
        raise InputError(
            f"there is no address of {service.key} that this machine can load: its Service is of type "
            f"{live['spec'].get('type')}, and a port-forward through the API server would only measure itself",
            fix="--url with the address of its ingress or gateway, or run headroom load inside the network with --url",
        )
    return f"http://{host}:{live['spec']['ports'][0]['port']}"


def _ready(kubectl: Kubectl, service: ServicePlan) -> dict[str, str]:
    """Ready pods behind the Service, with their addresses."""
    slices = kubectl.items("endpointslices", service.namespace, f"kubernetes.io/service-name={service.key}")
    return {
        e["targetRef"]["name"]: e["addresses"][0]
        for s in slices
        for e in s.get("endpoints") or []
        if e.get("conditions", {}).get("ready") and "targetRef" in e
    }


def _port(kubectl: Kubectl, service: ServicePlan) -> int:
    slices = kubectl.items("endpointslices", service.namespace, f"kubernetes.io/service-name={service.key}")
    return next((int(p["port"]) for s in slices for p in s.get("ports") or []), 8080)
