"""The `restricted` Pod Security Standard, so that a pod is refused in review and not first by the API server.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/ (Baseline and Restricted).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from policy.rules.model import Container, Manifest, ObjectRule, PodTemplate, containers, pod

VOLUMES = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)
SELINUX_TYPES = frozenset({"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_wmem",
    }
)


def check(manifest: Manifest) -> Iterator[str]:
    """What of this object's pods the `restricted` standard forbids."""
    template = pod(manifest)
    if template is None:
        return
    yield from _pod_level(template)
    pod_context = template.spec.get("securityContext") or {}
    for container in containers(template):
        yield from (f"container {container.name}: {message}" for message in _container(container, pod_context))


def _pod_level(template: PodTemplate) -> Iterator[str]:
    spec = template.spec
    for flag in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(flag):
            yield f"{flag} is not allowed: remove it"
    for volume in spec.get("volumes") or ():
        for source in sorted(set(volume) - {"name"} - VOLUMES):
            yield f"volume {volume.get('name')}: {source} is not allowed; use a claim or an emptyDir"
    context = spec.get("securityContext") or {}
    for sysctl in context.get("sysctls") or ():
        if sysctl.get("name") not in SYSCTLS:
            yield f"sysctl {sysctl.get('name')} is not one of the safe ones"
    yield from _shared(context)
    for key, profile in template.annotations.items():
        if key.startswith("container.apparmor.security.beta.kubernetes.io/") and profile not in (
            "runtime/default",
            *([profile] if profile.startswith("localhost/") else []),
        ):
            yield f"AppArmor profile {profile!r} is not allowed"


def _container(container: Container, pod_context: Mapping[str, Any]) -> Iterator[str]:
    context = container.spec.get("securityContext") or {}
    if context.get("privileged"):
        yield "privileged is not allowed"
    if context.get("allowPrivilegeEscalation") is not False:
        yield "set securityContext.allowPrivilegeEscalation: false"
    capabilities = context.get("capabilities") or {}
    if "ALL" not in (capabilities.get("drop") or ()):
        yield 'set securityContext.capabilities.drop: ["ALL"]'
    if added := sorted(set(capabilities.get("add") or ()) - {"NET_BIND_SERVICE"}):
        yield f"capabilities {', '.join(added)} are not allowed"
    if context.get("runAsNonRoot", pod_context.get("runAsNonRoot")) is not True:
        yield "set securityContext.runAsNonRoot: true (on the pod or the container)"
    seccomp = context.get("seccompProfile") or pod_context.get("seccompProfile") or {}
    if seccomp.get("type") not in ("RuntimeDefault", "Localhost"):
        yield "set securityContext.seccompProfile.type: RuntimeDefault (on the pod or the container)"
    if context.get("procMount", "Default") != "Default":
        yield "procMount must stay Default"
    for port in container.spec.get("ports") or ():
        if port.get("hostPort"):
            yield f"hostPort {port['hostPort']} is not allowed: reach the pod through a Service"
    yield from _shared(context)
    yield from _foreign_hosts(container)


def _shared(context: Mapping[str, Any]) -> Iterator[str]:
    """What is forbidden alike in a pod's and a container's security context."""
    if context.get("runAsUser") == 0:
        yield "runAsUser 0 is root: choose another user"
    selinux = context.get("seLinuxOptions") or {}
    if (selinux.get("type") or "") not in SELINUX_TYPES or selinux.get("user") or selinux.get("role"):
        yield "these SELinux options are not allowed"
    if (context.get("windowsOptions") or {}).get("hostProcess"):
        yield "windowsOptions.hostProcess is not allowed"
    if (context.get("appArmorProfile") or {}).get("type", "RuntimeDefault") not in ("RuntimeDefault", "Localhost"):
        yield "this AppArmor profile is not allowed"


def _foreign_hosts(container: Container) -> Iterator[str]:
    """Probes and hooks may only ask their own pod (Baseline since Kubernetes 1.34)."""
    handlers = {key: container.spec.get(key) for key in ("livenessProbe", "readinessProbe", "startupProbe")}
    handlers |= dict(container.spec.get("lifecycle") or {})
    for where, handler in handlers.items():
        for action in ("httpGet", "tcpSocket"):
            if ((handler or {}).get(action) or {}).get("host") if isinstance(handler, Mapping) else None:
                yield f"{where}.{action}.host is not allowed: probe the pod itself"


RULE = ObjectRule("restricted-pods", "Every pod meets the restricted Pod Security Standard.", check)
