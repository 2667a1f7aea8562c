"""Redis' objects: pinned, in order, and nothing rolls or runs that need not."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from headroom.engine import fixed
from headroom.engine.rendered import Rendered, RenderedObject
from headroom.errors import InputError

Config = dict[str, Any]
PASSWORDS = {
    "redisApp": "Zq8/Vw3x@Lm5n.Rt7y",
    "redisAdmin": "aB3dE5gH7jK9mN1pQ3",
    "redisMonitor": "mO2nI4tO6rP8aS0sWd",
}


def config(passwords: dict[str, str] | None = None, **redis: Any) -> Config:
    return {
        "headroom:environment": "prod",
        "headroom:namespace": "ml",
        "headroom:images": {"redis": "registry.example/redis:1.0.0"},
        "headroom:secrets": PASSWORDS if passwords is None else passwords,
        "headroom:redis": {"mode": "cluster", "node": {"maxmemory": "1Gi"}, **redis},
        "headroom:services": {
            "api": {
                "preset": "fastapi",
                "image": "registry.example/api:1.0.0",
                "autoscaling": {"metrics": "resource"},
            },
            "elsewhere": {
                "preset": "fastapi",
                "image": "registry.example/api:1.0.0",
                "namespace": "other",
                "autoscaling": {"metrics": "resource"},
            },
        },
    }


def workload(found: Rendered) -> RenderedObject:
    return found.find("StatefulSet", "redis")


def pod(found: Rendered) -> Config:
    spec: Config = workload(found).manifest["spec"]["template"]["spec"]
    return spec


def job(found: Rendered, step: str) -> RenderedObject:
    return next(o for o in found.objects if o.id.kind == "Job" and o.id.name.startswith(f"redis-{step}-"))


def settings(found: Rendered) -> dict[str, str]:
    (source,) = pod(found)["containers"][0]["envFrom"]
    data: dict[str, str] = found.find("ConfigMap", source["configMapRef"]["name"]).manifest["data"]
    return data


def names(found: Rendered, kind: str) -> set[str]:
    return {o.id.name for o in found.objects if o.id.kind == kind and o.id.name.startswith(("redis", "data-redis"))}


def secret_value(found: Rendered, name: str, key: str) -> str:
    manifest = found.find("Secret", name).manifest
    plain = (manifest.get("stringData") or {}).get(key)
    return str(plain) if plain is not None else base64.b64decode(manifest["data"][key]).decode()


def test_the_cluster_of_prod(rendered: Callable[[str], Rendered]) -> None:
    prod = rendered("prod")
    spec = workload(prod).manifest["spec"]
    assert (spec["replicas"], spec["serviceName"], spec["podManagementPolicy"]) == (10, "redis-headless", "Parallel")
    (server,) = pod(prod)["containers"]
    assert server["resources"]["requests"] == {"cpu": "1", "memory": "8448Mi"}
    assert server["resources"]["limits"]["memory"] == "8448Mi"
    assert settings(prod) == {
        "REDIS_MODE": "cluster",
        "REDIS_WORKLOAD": "redis",
        "REDIS_HEADLESS": "redis-headless",
        "REDIS_MAXMEMORY": str(6 << 30),
        "REDIS_MAXMEMORY_POLICY": "allkeys-lru",
        "REDIS_MIN_REPLICAS": "0",
    }
    assert names(prod, "PersistentVolumeClaim") == {f"data-redis-{n}" for n in range(10)}
    claim = prod.find("PersistentVolumeClaim", "data-redis-0")
    assert (claim.manifest["spec"]["resources"]["requests"]["storage"], claim.retain) == ("12Gi", True)
    assert prod.find("PodDisruptionBudget", "redis").manifest["spec"]["minAvailable"] == 9
    assert [c["name"] for c in pod(prod)["initContainers"]] == ["exporter"]
    assert pod(prod)["automountServiceAccountToken"] is False


@pytest.mark.parametrize("stack", ["local", "dev"])
def test_sentinel_of_local_and_dev(rendered: Callable[[str], Rendered], stack: str) -> None:
    found = rendered(stack)
    assert workload(found).manifest["spec"]["replicas"] == 3
    assert [c["name"] for c in pod(found)["initContainers"]] == ["sentinel", "exporter"]
    told = settings(found)
    assert {k: told[k] for k in ("REDIS_MODE", "REDIS_SENTINELS", "REDIS_QUORUM", "REDIS_MIN_REPLICAS")} == {
        "REDIS_MODE": "sentinel",
        "REDIS_SENTINELS": "3",
        "REDIS_QUORUM": "2",
        "REDIS_MIN_REPLICAS": "1",
    }
    master = found.find("Service", "redis-master").manifest["spec"]["selector"]
    assert master["headroom.dev/role"] == "master"
    (rule,) = found.find("Role", "redis").manifest["rules"]
    assert (rule["resourceNames"], rule["verbs"]) == (["redis-0", "redis-1", "redis-2"], ["patch"])
    assert not [o for o in found.objects if o.id.kind == "Job" and o.id.name.startswith("redis")]


@pytest.mark.parametrize("mode", ["sentinel", "cluster"])
def test_the_way_out_leads_to_its_own_pods_and_the_api_server_alone(
    render_config: Callable[..., Rendered], mode: str
) -> None:
    pods = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "redis"}}}
    known = [{"ipBlock": {"cidr": network}} for network in ("10.1.0.0/28", "10.2.0.1/32")]
    for networks in ([], ["10.1.0.0/28", "10.2.0.1/32"]):
        stack = render_config(config(mode=mode, apiServers=networks))
        policies = {o.id.name: o.manifest["spec"] for o in stack.objects if o.id.kind == "NetworkPolicy"}
        asking = {name: policies[name]["egress"] for name in ("redis", "redis-resize") if name in policies}
        assert [rules.pop(0)["to"] for rules in asking.values()] == [[pods]] * len(asking)
        # A cluster's pods ask nothing of Kubernetes; the Jobs that resize it do.
        assert [rule.get("to", []) for rules in asking.values() for rule in rules] == [known if networks else []]
        (rule,) = (rule for rules in asking.values() for rule in rules)
        assert [port["port"] for port in rule["ports"]] == [443, 6443]


def test_drain_comes_before_the_set_and_fill_after(rendered: Callable[[str], Rendered]) -> None:
    prod = rendered("prod")
    drain, fill = job(prod, "drain"), job(prod, "fill")
    assert drain.wave < workload(prod).wave < fill.wave
    assert drain.urn in workload(prod).depends_on
    assert workload(prod).urn in fill.depends_on
    record = prod.find("ConfigMap", "redis-resize")
    assert "data" not in record.manifest, "what the Jobs write there is not ours to overwrite"
    assert record.wave < drain.wave
    for each in (drain, fill):
        environment = {
            e["name"]: e.get("value") for e in each.manifest["spec"]["template"]["spec"]["containers"][0]["env"]
        }
        assert (environment["REDIS_PODS"], environment["REDIS_MASTERS"]) == ("10", "5")


def test_growth_changes_the_number_of_pods_and_no_pod(render_config: Callable[..., Rendered]) -> None:
    few = render_config(config())
    more = render_config(config(override={"masters": {"value": 4, "because": "a test"}}))
    before, after = workload(few).manifest["spec"], workload(more).manifest["spec"]
    assert (before["replicas"], after["replicas"]) == (6, 8)
    assert before["template"] == after["template"], "a growth that restarts every node is no growth"
    assert before["volumeClaimTemplates"] == after["volumeClaimTemplates"]
    assert names(more, "PersistentVolumeClaim") - names(few, "PersistentVolumeClaim") == {
        "data-redis-6",
        "data-redis-7",
    }
    assert job(few, "fill").id != job(more, "fill").id
    assert job(few, "drain").id != job(more, "drain").id


def test_a_larger_volume_changes_the_claims_alone(render_config: Callable[..., Rendered]) -> None:
    small = render_config(config())
    large = render_config(config(override={"volumeSize": {"value": "9Gi", "because": "a test"}}))
    assert workload(small).manifest == workload(large).manifest
    claim = large.find("PersistentVolumeClaim", "data-redis-5").manifest
    assert claim["spec"]["resources"]["requests"]["storage"] == "9Gi"
    assert {o.id for o in small.objects} == {o.id for o in large.objects}


def test_a_changed_setting_rolls_the_pods_and_runs_no_job_for_it(render_config: Callable[..., Rendered]) -> None:
    lru = render_config(config())
    lfu = render_config(config(maxmemoryPolicy="allkeys-lfu"))
    assert workload(lru).manifest["spec"]["template"] != workload(lfu).manifest["spec"]["template"]
    assert job(lru, "fill").id == job(lfu, "fill").id
    assert render_config(config()).objects == lru.objects


def test_a_service_connects_with_one_setting(render_config: Callable[..., Rendered]) -> None:
    for mode, start, end in (("cluster", "redis+cluster://", ".svc"), ("sentinel", "redis+sentinel://", ".svc/main")):
        found = render_config(config(mode=mode))
        (container,) = found.find("Deployment", "api").manifest["spec"]["template"]["spec"]["containers"]
        (variable,) = [e for e in container["env"] if e["name"] == "REDIS_URL"]
        reference = variable["valueFrom"]["secretKeyRef"]
        url = secret_value(found, reference["name"], "REDIS_URL")
        assert url.startswith(f"{start}app:Zq8%2FVw3x%40Lm5n.Rt7y@redis-0.redis-headless.ml.svc,")
        assert url.endswith(end)
        (other,) = found.find("Deployment", "elsewhere").manifest["spec"]["template"]["spec"]["containers"]
        assert not [e for e in other.get("env", []) if e["name"].startswith("REDIS")], (
            "its namespace has no such Secret"
        )


def test_a_new_password_rolls_the_services_and_the_servers(render_config: Callable[..., Rendered]) -> None:
    before = render_config(config())
    after = render_config(config({**PASSWORDS, "redisApp": "another-Password-0123"}))
    assert workload(before).manifest["spec"]["template"] != workload(after).manifest["spec"]["template"]
    assert before.find("Deployment", "api").manifest != after.find("Deployment", "api").manifest
    text = json.dumps([o.manifest for o in after.objects if not o.is_secret])
    assert not [value for value in PASSWORDS.values() if value in text]


def test_a_secret_of_the_users_own(render_config: Callable[..., Rendered]) -> None:
    found = render_config(config({}, existingSecret="ours"))
    (volume,) = [v for v in pod(found)["volumes"] if v["name"] == "passwords"]
    assert volume["secret"]["secretName"] == "ours"
    (container,) = found.find("Deployment", "api").manifest["spec"]["template"]["spec"]["containers"]
    references = {e["name"]: e["valueFrom"]["secretKeyRef"] for e in container["env"]}
    assert references["REDIS_PASSWORD"] == {"name": "ours", "key": "redisApp"}
    assert "@" not in secret_value(found, references["REDIS_URL"]["name"], "REDIS_URL")


@pytest.mark.parametrize(("weak", "why"), [("", "is missing"), ("short", "fewer than 16"), ("a" * 20, "different")])
def test_a_weak_password_is_refused_without_being_shown(
    render_config: Callable[..., Rendered], weak: str, why: str
) -> None:
    if not weak:
        # One that is nowhere becomes a placeholder: the stack can be looked at, and not applied.
        assert render_config(config({})).placeholders == tuple(f"headroom:secrets.{n}" for n in sorted(PASSWORDS))
        return
    with pytest.raises(InputError, match=rf"redisAdmin .*{why}") as caught:
        render_config(config({**PASSWORDS, "redisAdmin": weak}))
    assert weak not in str(caught.value)


def test_passwords_are_files_and_the_exporter_has_its_own(rendered: Callable[[str], Rendered]) -> None:
    for stack in ("local", "prod"):
        spec = pod(rendered(stack))
        secrets = {v["name"]: v["secret"].get("items") for v in spec["volumes"] if "secret" in v}
        assert secrets == {"passwords": None, "monitor": [{"key": "redisMonitor", "path": "redisMonitor"}]}
        for container in [*spec["containers"], *spec["initContainers"]]:
            assert not [e for e in container.get("env", []) if "secretKeyRef" in e.get("valueFrom", {})]
            mounted = {m["name"] for m in container["volumeMounts"]} & {*secrets, "run", "exporter"}
            assert mounted == ({"monitor", "exporter"} if container["name"] == "exporter" else {"passwords", "run"})
            assert "pass" not in " ".join(container["command"]).lower()


def test_a_lowered_quota_does_not_keep_the_jobs_from_running(render_config: Callable[..., Rendered]) -> None:
    """It is lowered first, while the pods that are to go still count; pods with a deadline do not."""
    found = render_config(config(override={"masters": {"value": 4, "because": "a test"}}))
    quotas = [o.manifest["spec"] for o in found.objects if o.id.kind == "ResourceQuota"]
    assert [quota["scopes"] for quota in quotas] == [["NotTerminating"]] * len(quotas)
    for step in ("drain", "fill"):
        assert job(found, step).manifest["spec"]["template"]["spec"]["activeDeadlineSeconds"] >= 3600


def test_the_claims_say_for_which_mode_they_are(render_config: Callable[..., Rendered]) -> None:
    """Both engines refuse another mode on them: neither mode reads the other's files."""
    claims = {
        mode: [o.manifest for o in render_config(config(mode=mode)).objects if o.id.kind == "PersistentVolumeClaim"]
        for mode in ("cluster", "sentinel")
    }
    assert claims["cluster"] and claims["sentinel"]
    for wanted, found in (("cluster", "sentinel"), ("sentinel", "cluster")):
        assert "cannot read the other's files" in fixed.reason(claims[wanted][0], claims[found][0])
        assert fixed.reason(claims[wanted][0], claims[wanted][0]) == ""
