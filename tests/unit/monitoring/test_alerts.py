"""Every alert fires on what it is for, and none on a healthy stack: promtool runs the rules over made-up series.

promtool comes with the embedded cluster's Prometheus; where that was never built these tests are skipped.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from headroom import project
from headroom.capacity import demand, plan
from headroom.capacity.plan.model import Plan
from headroom.local import binaries
from monitoring import rules

ROOT = Path(__file__).resolve().parents[3]
# Between them: KEDA and custom metrics, Sentinel and Cluster, a cache and a store, every preset.
STACKS = ("dev", "prod", "durable")
LONGEST = 90
SPARE = 20
"""Minutes of a case beyond those that an alert must hold."""

Labels = tuple[tuple[str, str], ...]
Series = dict[tuple[str, Labels], str]


@dataclass(frozen=True)
class Broken:
    """What is wrong: the values of all series of a metric with these labels; None for gone."""

    metric: str
    values: str | None
    where: Labels = ()
    add: Labels | None = None
    """Labels of a series that there should not be."""


def flat(value: float) -> str:
    return f"{value:g}x{LONGEST}"


def growing(step: float) -> str:
    return f"0+{step:g}x{LONGEST}"


ONCE = "once, five minutes before the end"
H2O, NOT_H2O = (("pod", "h2o-cluster-0"),), (("pod", "pg-shard-0-0"),)

BROKEN: dict[str, list[Broken]] = {
    "ServicePodsMissing": [Broken("up", flat(0))],
    "ServiceLatencyOverPromise": [Broken("http_request_duration_seconds_bucket", flat(0), (("le", "0.01"),))],
    "ServiceOverDemand": [Broken("http_requests_total", growing(1e7), (("status", "200"),))],
    "ServiceErrors": [Broken("http_requests_total", growing(5), (("status", "500"),))],
    "ServiceQueueFull": [Broken("request_queue_depth", flat(60))],
    "ServiceThreadsBusy": [Broken("model_threads_busy", flat(100))],
    "FeatureStoreFailing": [Broken("feature_loads_total", growing(10), (("outcome", "failed"),))],
    "FeatureCacheFailing": [Broken("feature_cache_requests_total", growing(10), (("result", "error"),))],
    "AutoscalerAtMaximum": [Broken("kube_horizontalpodautoscaler_status_current_replicas", flat(1000))],
    "AutoscalerBlind": [Broken("kube_horizontalpodautoscaler_status_condition", flat(1))],
    "ScalingMetricMissing": [Broken("request_queue_depth", None)],
    "ScaledObjectErrors": [Broken("keda_scaled_object_errors_total", growing(1))],
    "PostgresNoPrimary": [Broken("patroni_primary", flat(0))],
    "PostgresTwoPrimaries": [Broken("patroni_primary", flat(1))],
    "PostgresCopiesMissing": [Broken("patroni_postgres_running", flat(0))],
    "PatroniCannotReachKubernetes": [Broken("patroni_dcs_last_seen", flat(0))],
    "PostgresPendingRestart": [Broken("patroni_pending_restart", flat(1))],
    "PatroniPaused": [Broken("patroni_is_paused", flat(1))],
    "PostgresNoSynchronousStandby": [Broken("patroni_sync_standby", flat(0))],
    "PostgresReplicationLag": [
        Broken("patroni_xlog_location", growing(1e7), (("pod", "pg-shard-0-0"),)),
        Broken("patroni_xlog_replayed_location", flat(0)),
    ],
    "PgBouncerDown": [Broken("pgbouncer_up", flat(0))],
    "PgBouncerClientsWait": [Broken("pgbouncer_pools_client_maxwait_seconds", flat(3))],
    "PgBouncerClientsNearLimit": [Broken("pgbouncer_pools_client_active_connections", flat(990))],
    "PgBouncerServersNearLimit": [Broken("pgbouncer_databases_database_current_connections", flat(1000))],
    "RedisDown": [Broken("redis_up", flat(0))],
    "RedisMastersMissing": [Broken("redis_instance_info", None, (("role", "master"),))],
    "RedisTwoMasters": [Broken("redis_instance_info", flat(1), add=(("pod", "redis-1"), ("role", "master")))],
    "RedisSlotsMissing": [Broken("redis_cluster_slots_ok", flat(16000))],
    "RedisReplicaDetached": [Broken("redis_master_link_up", flat(0))],
    "RedisMemoryNearLimit": [Broken("redis_memory_used_bytes", flat(1e12))],
    "RedisCacheThrash": [
        Broken("redis_keyspace_hits_total", flat(0)),
        Broken("redis_evicted_keys_total", growing(60)),
    ],
    "RedisRefusesConnections": [Broken("redis_rejected_connections_total", growing(1))],
    "H2ONodesMissing": [Broken("kube_statefulset_status_replicas_ready", flat(0))],
    "H2ONodeRestarted": [Broken("kube_pod_container_status_restarts_total", ONCE, H2O)],
    "H2OMemoryNearLimit": [Broken("container_memory_working_set_bytes", flat(1e12), H2O)],
    "PodCrashLoops": [Broken("kube_pod_container_status_restarts_total", growing(1), NOT_H2O)],
    "PodOutOfMemory": [
        Broken("kube_pod_container_status_restarts_total", ONCE, NOT_H2O),
        Broken("kube_pod_container_status_last_terminated_reason", flat(1), NOT_H2O),
    ],
    "PodPending": [Broken("kube_pod_status_phase", flat(1))],
    "ContainerMemoryNearLimit": [Broken("container_memory_working_set_bytes", flat(9.5e7), NOT_H2O)],
    "VolumeNearlyFull": [Broken("kubelet_volume_stats_available_bytes", flat(1e6))],
    "VolumeFillsUp": [Broken("kubelet_volume_stats_available_bytes", f"390000000-1000000x{LONGEST}")],
    "VolumeInodesNearlyGone": [Broken("kubelet_volume_stats_inodes_free", flat(1))],
    "CertificateExpires": [Broken("certmanager_certificate_expiration_timestamp_seconds", flat(20000))],
}


def healthy(sized: Plan) -> Series:
    """What a stack's exporters say when all is well. promtool's clock begins at 0."""
    found: Series = {}
    for source in (services, postgres, pgbouncer, redis, kubernetes):
        for name, labels, values in source(sized):
            found[name, tuple(sorted(labels.items()))] = values
    return found


Made = Iterator[tuple[str, dict[str, str], str]]


def services(sized: Plan) -> Made:
    for service in sized.services:
        autoscaler = f"{service.key}-hpa"
        if service.autoscaling.source == "keda":
            autoscaler = f"keda-hpa-{autoscaler}"
            yield "keda_scaled_object_errors_total", {"scaledObject": f"{service.key}-hpa"}, flat(0)
        named = {"namespace": service.namespace, "horizontalpodautoscaler": autoscaler}
        least = service.min_replicas.value
        yield "kube_horizontalpodautoscaler_status_current_replicas", named, flat(least)
        condition = {"condition": "ScalingActive", "status": "false"}
        yield "kube_horizontalpodautoscaler_status_condition", named | condition, flat(0)
        for number in range(least):
            pod = {"namespace": service.namespace, "pod": f"{service.key}-5d8-{number}"}
            yield "up", pod, flat(1)
            if service.preset == "inferadb":
                yield "inferadb_requests_per_second", pod, flat(100)
                yield "inferadb_requests_total", pod, growing(60)
            if service.preset != "fastapi":
                continue
            work = pod | {"path": "/predict", "method": "POST"}
            for status, values in {"200": growing(60), "500": flat(0)}.items():
                yield "http_requests_total", work | {"status": status}, values
            for le in ("0.01", "10", "+Inf"):
                yield "http_request_duration_seconds_bucket", work | {"le": le}, growing(60)
            yield "request_queue_depth", pod, flat(0)
            yield "request_queue_limit", pod, flat(64)
            yield "model_threads_busy", pod, flat(1)
            for outcome, values in {"found": growing(60), "failed": flat(0)}.items():
                yield "feature_loads_total", pod | {"outcome": outcome}, values
            for result, values in {"hit": growing(60), "error": flat(0)}.items():
                yield "feature_cache_requests_total", pod | {"result": result}, values


def postgres(sized: Plan) -> Made:
    part = sized.postgres
    assert part is not None
    for shard in range(part.shards.value):
        for copy in range(part.replication_factor.value):
            scope = f"pg-shard-{shard}"
            member = {"namespace": part.namespace, "pod": f"{scope}-{copy}", "scope": scope, "name": f"{scope}-{copy}"}
            leads = copy == 0
            yield "patroni_primary", member, flat(leads)
            yield "patroni_replica", member, flat(not leads)
            yield "patroni_sync_standby", member, flat(copy == 1)
            yield "patroni_postgres_running", member, flat(1)
            yield "patroni_xlog_location", member, growing(1000 if leads else 0)
            yield "patroni_xlog_replayed_location", member, growing(0 if leads else 1000)
            yield "patroni_dcs_last_seen", member, growing(60)
            yield "patroni_pending_restart", member, flat(0)
            yield "patroni_is_paused", member, flat(0)


def pgbouncer(sized: Plan) -> Made:
    part = sized.pgbouncer
    assert part is not None
    for number in range(part.replicas.value):
        pod = {"namespace": part.namespace, "pod": f"pgbouncer-7f6-{number}"}
        pool = pod | {"database": "features_0", "user": "features"}
        yield "pgbouncer_up", pod, flat(1)
        yield "pgbouncer_pools_client_active_connections", pool, flat(10)
        yield "pgbouncer_pools_client_waiting_connections", pool, flat(0)
        yield "pgbouncer_pools_client_maxwait_seconds", pool, flat(0)
        yield "pgbouncer_databases_database_current_connections", pod | {"database": "features_0"}, flat(5)


def redis(sized: Plan) -> Made:
    part = sized.redis
    assert part is not None
    for number in range(part.masters.value * (1 + part.replicas_per_master.value)):
        pod = {"namespace": part.namespace, "pod": f"redis-{number}"}
        leads = number % (1 + part.replicas_per_master.value) == 0
        yield "redis_up", pod, flat(1)
        yield "redis_instance_info", pod | {"role": "master" if leads else "slave"}, flat(1)
        if not leads:
            yield "redis_master_link_up", pod, flat(1)
        yield "redis_memory_used_bytes", pod, flat(1000)
        yield "redis_keyspace_hits_total", pod, growing(60)
        yield "redis_keyspace_misses_total", pod, growing(6)
        yield "redis_evicted_keys_total", pod, flat(0)
        yield "redis_rejected_connections_total", pod, flat(0)
        if part.mode == "cluster":
            yield "redis_cluster_slots_ok", pod, flat(16384)
            yield "redis_cluster_state", pod, flat(1)


def kubernetes(sized: Plan) -> Made:
    assert sized.h2o is not None
    where = {"namespace": sized.namespace}
    nodes = flat(sized.h2o.nodes.value)
    yield "kube_statefulset_status_replicas_ready", where | {"statefulset": "h2o-cluster"}, nodes
    for pod, container in (("h2o-cluster-0", "h2o"), ("pg-shard-0-0", "postgres")):
        named = where | {"pod": pod, "container": container}
        yield "kube_pod_container_status_restarts_total", named, flat(0)
        yield "kube_pod_container_status_last_terminated_reason", named | {"reason": "OOMKilled"}, flat(0)
        yield "kube_pod_status_phase", where | {"pod": pod, "phase": "Pending"}, flat(0)
        yield "container_memory_working_set_bytes", named, flat(1e6)
        yield "kube_pod_container_resource_limits", named | {"resource": "memory"}, flat(1e8)
    claim = where | {"persistentvolumeclaim": "data-pg-shard-0-0"}
    for name in ("available_bytes", "inodes_free"):
        yield f"kubelet_volume_stats_{name}", claim, flat(9e8)
    for name in ("capacity_bytes", "inodes"):
        yield f"kubelet_volume_stats_{name}", claim, flat(1e9)
    certificate = {"exported_namespace": sized.namespace, "name": "public"}
    yield "certmanager_certificate_expiration_timestamp_seconds", certificate, flat(1e8)


def broken(series: Series, faults: list[Broken]) -> Series:
    """Series with faults. Each must touch a series, or it tests nothing."""
    made = dict(series)
    for fault in faults:
        touched = [key for key in made if key[0] == fault.metric and set(fault.where) <= set(key[1])]
        assert touched, fault
        if fault.add is not None:
            made[fault.metric, tuple(sorted((dict(touched[0][1]) | dict(fault.add)).items()))] = str(fault.values)
            continue
        for key in touched:
            if fault.values is None:
                del made[key]
            else:
                made[key] = fault.values
    return made


def case(name: str, series: Series, firing: list[str], held: int) -> dict[str, Any]:
    """A case of promtool that looks `SPARE` minutes after an alert could have fired."""
    end = held + SPARE

    def selector(metric: str, labels: Labels) -> str:
        return metric + "{" + ",".join(f"{label}={json.dumps(value)}" for label, value in labels) + "}"

    return {
        "name": name,
        "interval": "1m",
        "input_series": [
            {"series": selector(*key), "values": values if values != ONCE else f"0x{end - 5} 1x5"}
            for key, values in series.items()
        ],
        "promql_expr_test": [
            {
                "expr": 'group by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{end}m",
                "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in firing],
            }
        ],
    }


def sized(stack: str) -> tuple[Plan, list[dict[str, Any]]]:
    """`durable` is the stack dev, with a Redis that keeps what it is given."""
    config = yaml.safe_load(project.stack_file("dev" if stack == "durable" else stack, ROOT).read_text())["config"]
    if stack == "durable":
        config["headroom:redis"]["durable"] = True
    asked = demand.from_config(stack, config)
    made = plan.make(asked)
    return made, rules.rule_groups(asked, made)


def names(groups: list[dict[str, Any]]) -> set[str]:
    return {rule["alert"] for group in groups for rule in group["rules"]}


@pytest.fixture(scope="module")
def promtool() -> Path:
    program = binaries.entry(binaries.PROMETHEUS) / "promtool"
    if not program.exists():
        pytest.skip("promtool is not built: headroom local up --with monitoring builds it")
    return program


def run(promtool: Path, *arguments: str) -> None:
    done = subprocess.run([str(promtool), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


@pytest.mark.parametrize("stack", STACKS)
def test_each_fires_alone_and_none_when_all_is_well(stack: str, promtool: Path, tmp_path: Path) -> None:
    made, groups = sized(stack)
    well = healthy(made)
    held = {rule["alert"]: int(rule["for"].removesuffix("m")) for group in groups for rule in group["rules"]}
    # What an earlier stack has shown need not be shown again: the cases take a second each.
    before = [names(sized(earlier)[1]) for earlier in STACKS[: STACKS.index(stack)]]
    cases = [case("healthy", well, [], max(held.values()))]
    cases += [
        case(alert, broken(well, BROKEN[alert]), [alert], minutes)
        for alert, minutes in sorted(held.items())
        if not any(alert in names for names in before)
    ]
    # JSON is YAML.
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": groups}))
    (tmp_path / "tests.yaml").write_text(
        json.dumps({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": cases})
    )
    run(promtool, "check", "rules", "--lint=all", "--lint-fatal", str(tmp_path / "rules.yaml"))
    run(promtool, "test", "rules", str(tmp_path / "tests.yaml"))


CRAFTED = "launch {{ nonsense }} {{ query `up` }} {{{"


def test_what_a_stack_file_says_is_shown_and_not_run(promtool: Path, tmp_path: Path) -> None:
    config = yaml.safe_load(project.stack_file("prod", ROOT).read_text())["config"]
    parts = {
        "services": {"minReplicas": 5, "maxReplicas": 15},
        "pgbouncer": {"replicas": 3, "max_client_conn": 1000, "max_db_connections": 80},
        "h2o": {"nodes": 6},
    }
    for part, settings in parts.items():
        asked = config[f"headroom:{part}"]
        holder = asked["inference"] if part == "services" else asked
        holder["override"] = {name: {"value": value, "because": CRAFTED} for name, value in settings.items()}
    read = demand.from_config("prod", config)
    made = plan.make(read)
    groups = rules.rule_groups(read, made)
    found = [rule for group in groups for rule in group["rules"] if "nonsense" in rule["annotations"]["description"]]
    assert {rule["alert"] for rule in found} == {
        "ServicePodsMissing",
        "AutoscalerAtMaximum",
        "PgBouncerDown",
        "PgBouncerClientsNearLimit",
        "PgBouncerServersNearLimit",
        "H2ONodesMissing",
    }
    down = next(rule for rule in found if rule["alert"] == "PgBouncerDown")
    tested = case("down", broken(healthy(made), BROKEN["PgBouncerDown"]), ["PgBouncerDown"], 5)
    tested["alert_rule_test"] = [
        {
            "alertname": "PgBouncerDown",
            "eval_time": "25m",
            "exp_alerts": [
                {
                    "exp_labels": down["labels"],
                    "exp_annotations": down["annotations"]
                    | {"description": f"0 of 3 answer ({CRAFTED} (computed: 2))."},
                }
            ],
        }
    ]
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": groups}))
    (tmp_path / "tests.yaml").write_text(
        json.dumps({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [tested]})
    )
    run(promtool, "check", "rules", "--lint=all", "--lint-fatal", str(tmp_path / "rules.yaml"))
    run(promtool, "test", "rules", str(tmp_path / "tests.yaml"))


def test_no_alert_is_left_out() -> None:
    """Every stack's alerts have a way to fire above; and nothing above is of an alert that there is no more."""
    every = {alert for stack in project.stack_names(ROOT) for alert in names(sized(stack)[1])}
    tested = {alert for stack in STACKS for alert in names(sized(stack)[1])}
    assert tested == set(BROKEN) >= every


@pytest.mark.parametrize("stack", ["local", *STACKS])
def test_every_alert_has_a_section_of_the_runbook(stack: str) -> None:
    runbook = (ROOT / "docs/runbook.md").read_text()
    titles = {line.lstrip("# ").strip().lower() for line in runbook.splitlines() if line.startswith("#")}
    for group in sized(stack)[1]:
        for rule in group["rules"]:
            file, _, anchor = rule["annotations"]["runbook_url"].partition("#")
            assert file == "docs/runbook.md"
            assert anchor == rule["alert"].lower()
            assert anchor in titles, rule["alert"]


def test_thresholds_follow_the_plan() -> None:
    """Known answers of prod: 50 ms promised, 1,000 rps asked for, 5 to 15 pods, 4 threads, 1,000 clients a bouncer."""
    groups = sized("prod")[1]
    found = {rule["alert"]: rule["expr"] for group in reversed(groups) for rule in reversed(group["rules"])}
    ends = {
        "ServiceLatencyOverPromise": "> 0.05",
        "ServiceOverDemand": "> 1000",
        "ServicePodsMissing": "< 5",
        "AutoscalerAtMaximum": ">= 15",
        "ServiceThreadsBusy": "> 3.6",
        "PgBouncerClientsNearLimit": "> 800",
    }
    for alert, end in ends.items():
        assert found[alert].endswith(end), found[alert]
