"""Each rule on one object: what passes, and each way of breaking it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from policy.rules import OBJECT_RULES, containers, restricted, secrets, services
from policy.rules.model import ObjectRule

Make = Callable[..., dict[str, Any]]
POD = "spec.template.spec"
APP = f"{POD}.containers.0"


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "Job"])
@pytest.mark.parametrize("rule", OBJECT_RULES, ids=lambda r: r.name)
def test_a_good_workload_passes(rule: ObjectRule, kind: str, workload: Make) -> None:
    assert list(rule.violations(workload(kind=kind))) == []


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        ({f"{POD}.hostNetwork": True}, "hostNetwork"),
        ({f"{POD}.hostPID": True}, "hostPID"),
        ({f"{POD}.hostIPC": True}, "hostIPC"),
        ({f"{POD}.volumes.0": {"name": "host", "hostPath": {"path": "/"}}}, "hostPath"),
        ({f"{POD}.volumes.0": {"name": "share", "nfs": {"server": "x", "path": "/"}}}, "nfs"),
        ({f"{POD}.securityContext.sysctls": [{"name": "kernel.msgmax", "value": "1"}]}, "kernel.msgmax"),
        ({f"{POD}.securityContext.runAsUser": 0}, "root"),
        ({f"{POD}.securityContext.runAsNonRoot": None}, "runAsNonRoot"),
        ({f"{POD}.securityContext.seccompProfile.type": "Unconfined"}, "seccompProfile"),
        ({f"{POD}.securityContext.seLinuxOptions": {"type": "spc_t"}}, "SELinux"),
        ({f"{POD}.securityContext.windowsOptions": {"hostProcess": True}}, "hostProcess"),
        ({f"{POD}.securityContext.appArmorProfile": {"type": "Unconfined"}}, "AppArmor"),
        ({f"{APP}.securityContext.privileged": True}, "privileged"),
        ({f"{APP}.securityContext.allowPrivilegeEscalation": None}, "allowPrivilegeEscalation"),
        ({f"{APP}.securityContext.capabilities.drop": ["NET_RAW"]}, "drop"),
        ({f"{APP}.securityContext.capabilities.add": ["NET_ADMIN"]}, "NET_ADMIN"),
        ({f"{APP}.securityContext.runAsUser": 0}, "root"),
        ({f"{APP}.securityContext.runAsNonRoot": False}, "runAsNonRoot"),
        ({f"{APP}.securityContext.procMount": "Unmasked"}, "procMount"),
        ({f"{APP}.ports": [{"containerPort": 80, "hostPort": 80}]}, "hostPort 80"),
        ({f"{APP}.livenessProbe": {"httpGet": {"host": "example.com", "port": 80}}}, "livenessProbe.httpGet.host"),
        ({f"{APP}.lifecycle": {"preStop": {"tcpSocket": {"host": "x", "port": 1}}}}, "preStop.tcpSocket.host"),
        (
            {
                "spec.template.metadata.annotations": {
                    "container.apparmor.security.beta.kubernetes.io/app": "unconfined"
                }
            },
            "AppArmor",
        ),
    ],
)
def test_an_unrestricted_pod_is_refused(edit: dict[str, Any], told: str, workload: Make) -> None:
    found = [v.message for v in restricted.RULE.violations(workload(edit))]
    assert len(found) == 1
    assert told in found[0]


def test_init_containers_are_held_to_it_too(workload: Make) -> None:
    found = list(restricted.RULE.violations(workload({f"{POD}.initContainers": [{"name": "setup"}]})))
    assert {"container setup" in v.message for v in found} == {True}


def test_a_cron_job_is_looked_into(workload: Make) -> None:
    job = workload({f"{POD}.hostNetwork": True}, kind="Job")
    cron = {**job, "kind": "CronJob", "spec": {"jobTemplate": {"spec": job["spec"]}}}
    assert len(list(restricted.RULE.violations(cron))) == 1


@pytest.mark.parametrize("missing", ["requests.cpu", "requests.memory", "limits.cpu", "limits.memory"])
def test_a_container_without_a_size_is_refused(missing: str, workload: Make) -> None:
    found = list(containers.RESOURCES.violations(workload({f"{APP}.resources.{missing}": None})))
    assert [v.message for v in found] == [f"container app: set resources {missing}"]


@pytest.mark.parametrize("probe", ["readinessProbe", "livenessProbe"])
def test_a_container_without_a_probe_is_refused(probe: str, workload: Make) -> None:
    found = list(containers.PROBES.violations(workload({f"{APP}.{probe}": None})))
    assert [v.message for v in found] == [f"container app: set {probe}"]


def test_jobs_and_setup_containers_need_no_probes_but_sidecars_do(workload: Make) -> None:
    assert not list(containers.PROBES.violations(workload({f"{APP}.livenessProbe": None}, kind="Job")))
    assert not list(containers.PROBES.violations(workload({f"{POD}.initContainers": [{"name": "setup"}]})))
    sidecar = workload({f"{POD}.initContainers": [{"name": "proxy", "restartPolicy": "Always"}]})
    assert [v.message for v in containers.PROBES.violations(sidecar)] == ["container proxy: set livenessProbe"]


@pytest.mark.parametrize("image", ["", "app", "app:latest", "registry.example:5000/app", "registry.example/app:latest"])
def test_an_image_that_may_change_is_refused(image: str, workload: Make) -> None:
    assert len(list(containers.IMAGES.violations(workload({f"{APP}.image": image})))) == 1


@pytest.mark.parametrize("image", ["registry.example:5000/app:1", "app@sha256:abc", "app:latest@sha256:abc"])
def test_an_image_that_stays_passes(image: str, workload: Make) -> None:
    assert not list(containers.IMAGES.violations(workload({f"{APP}.image": image})))


@pytest.mark.parametrize("how", ["LoadBalancer", "NodePort"])
def test_a_public_service_needs_a_reason(how: str) -> None:
    service: dict[str, Any] = {"kind": "Service", "metadata": {"name": "app"}, "spec": {"type": how}}
    assert len(list(services.RULE.violations(service))) == 1
    service["metadata"]["annotations"] = {services.REASON: "  "}
    assert len(list(services.RULE.violations(service))) == 1
    service["metadata"]["annotations"] = {services.REASON: "partners call it"}
    assert not list(services.RULE.violations(service))


def test_a_service_inside_needs_no_reason_unless_it_has_external_addresses() -> None:
    inside: dict[str, Any] = {"kind": "Service", "metadata": {"name": "app"}, "spec": {"type": "ClusterIP"}}
    assert not list(services.RULE.violations(inside))
    inside["spec"]["externalIPs"] = ["192.0.2.1"]
    assert len(list(services.RULE.violations(inside))) == 1


def test_a_secret_in_an_environment_is_refused_and_not_repeated(workload: Make) -> None:
    bad = workload({f"{APP}.env": [{"name": "DB_PASSWORD", "value": "hunter2"}]})
    found = [str(v) for v in secrets.RULE.violations(bad)]
    assert len(found) == 1
    assert "env[0].value" in found[0]
    assert "hunter2" not in found[0]
