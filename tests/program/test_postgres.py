"""PostgreSQL and PgBouncer in the program: pinned numbers, what an edit moves, and what it must never move."""

from __future__ import annotations

import configparser
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from headroom.engine.rendered import Rendered
from headroom.errors import InputError

Config = dict[str, Any]


def changed(before: Rendered, after: Rendered) -> set[str]:
    one, two = ({o.id: o.manifest for o in r.objects} for r in (before, after))
    return {f"{i.kind}/{i.name}" for i in one.keys() | two.keys() if one.get(i) != two.get(i)}


def data(stack: Rendered, name: str, key: str) -> str:
    return str(stack.find("ConfigMap", name).manifest["data"][key])


def settings(stack: Rendered) -> dict[str, Any]:
    return dict(json.loads(data(stack, "postgres-settings", "settings.json")))


def pooler(stack: Rendered) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.read_string(data(stack, "pgbouncer-config", "pgbouncer.ini"))
    return parsed


def test_prod_is_four_shards_of_two(rendered: Callable[[str], Rendered]) -> None:
    prod = rendered("prod")
    sets = {o.id.name: o.manifest["spec"] for o in prod.objects if o.id.kind == "StatefulSet" and "pg-" in o.id.name}
    assert {name: spec["replicas"] for name, spec in sets.items()} == {f"pg-shard-{n}": 2 for n in range(4)}
    claims = {o.id.name: o for o in prod.objects if o.id.kind == "PersistentVolumeClaim" and "pg-" in o.id.name}
    assert set(claims) == {f"data-pg-shard-{n}-{copy}" for n in range(4) for copy in range(2)}
    assert {c.manifest["spec"]["resources"]["requests"]["storage"] for c in claims.values()} == {"3992Gi"}
    assert all(c.retain for c in claims.values())
    found = settings(prod)["postgresql"]["parameters"]
    expected = {
        "shared_buffers": "4GB",
        "effective_cache_size": "12GB",
        "maintenance_work_mem": "1GB",
        "work_mem": "40MB",
        "max_connections": "100",
        "wal_level": "logical",
        "max_slot_wal_keep_size": "408780MB",
    }
    assert {name: found[name] for name in expected} == expected
    assert Counter(json.loads(data(prod, "shard-map", "map.json"))["buckets"]) == dict.fromkeys(range(4), 64)


def test_failover_is_quick_and_loses_nothing(stack: Rendered) -> None:
    found = settings(stack)
    assert found["ttl"] == 20
    assert found["loop_wait"] + 2 * found["retry_timeout"] <= found["ttl"]
    assert found["synchronous_mode"] is True
    assert found["failsafe_mode"] is True
    assert found["primary_start_timeout"] == 0
    assert "archive_mode" not in found["postgresql"]["parameters"], "nothing archives, so nothing may pile up"


def test_pgbouncer_has_a_database_a_shard(rendered: Callable[[str], Rendered]) -> None:
    assert set(pooler(rendered("prod"))["databases"]) == {f"features_{n}" for n in range(4)}
    assert set(pooler(rendered("local"))["databases"]) == {"features", "features_0"}
    found = pooler(rendered("prod"))["pgbouncer"]
    expected = {
        "pool_mode": "transaction",
        "max_client_conn": "1000",
        "default_pool_size": "20",
        "reserve_pool_size": "5",
        "max_db_connections": "26",
        "server_login_retry": "0.2",
        "auth_type": "scram-sha-256",
        "server_tls_sslmode": "verify-full",
        "server_tls_ca_file": "/run/pgbouncer/ca.crt",
    }
    assert {name: found[name] for name in expected} == expected
    assert int(found["tcp_user_timeout"]) == 5000
    spec = rendered("prod").find("Deployment", "pgbouncer").manifest["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_services_are_connected(rendered: Callable[[str], Rendered]) -> None:
    stack = rendered("prod")
    spec = stack.find("Deployment", "inference").manifest["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    (name,) = {source["configMapRef"]["name"] for source in container["envFrom"] if "configMapRef" in source}
    env = stack.find("ConfigMap", name).manifest["data"]
    assert env["DATABASE_URL"] == "postgresql://features@pgbouncer.ml-platform.svc:6432/features"
    assert env["SHARD_MAP"] == "/etc/headroom/map/map.json"
    assert env["PGREQUIREAUTH"] == "scram-sha-256", "a server that asks for the password itself gets none"
    password = next(e["valueFrom"]["secretKeyRef"] for e in container["env"] if e["name"] == "PGPASSWORD")
    secret = stack.find("Secret", password["name"])
    assert list(secret.manifest["stringData"]) == [password["key"]] == ["postgresApp"], "it gets no other password"
    assert {"name": "shard-map", "mountPath": "/etc/headroom/map", "readOnly": True} in container["volumeMounts"]
    assert not any("subPath" in mount for mount in container["volumeMounts"]), "what is mounted so never changes"


def test_a_change_of_settings_rolls_no_pod(
    config: Callable[[str], Config], render_config: Callable[..., Rendered]
) -> None:
    dev = config("dev")
    before = render_config(dev)
    dev["headroom:postgres"]["maxConnections"] = 120
    dev["headroom:pgbouncer"]["defaultPoolSize"] = 15
    found = changed(before, render_config(dev))
    jobs = {name for name in found if name.startswith("Job/pg-bootstrap-")}
    assert len(jobs) == 2, "the Job of before goes, the new one brings the settings to the running shards"
    assert found - jobs == {"ConfigMap/postgres-settings", "ConfigMap/pgbouncer-config"}


def test_growth_touches_the_claims_and_no_pod(
    config: Callable[[str], Config], render_config: Callable[..., Rendered]
) -> None:
    dev = config("dev")
    before = render_config(dev)
    dev["headroom:postgres"]["demand"]["growth"] = 0.9
    found = changed(before, render_config(dev))
    jobs = {name for name in found if name.startswith("Job/pg-bootstrap-")}
    assert found - jobs == {
        "PersistentVolumeClaim/data-pg-shard-0-0",
        "PersistentVolumeClaim/data-pg-shard-0-1",
        "ConfigMap/postgres-settings",
    }, "a tenth of a larger volume may be kept for a standby that is away; no pod rolls for it"


def test_a_copy_more_touches_no_pod_that_runs(
    config: Callable[[str], Config], render_config: Callable[..., Rendered]
) -> None:
    dev = config("dev")
    before = render_config(dev)
    dev["headroom:postgres"]["replicationFactor"] = 3
    after = render_config(dev)
    one, two = (r.find("StatefulSet", "pg-shard-0").manifest["spec"] for r in (before, after))
    assert (one.pop("replicas"), two.pop("replicas")) == (2, 3)
    assert one == two


def test_patroni_may_touch_its_own_alone(rendered: Callable[[str], Rendered]) -> None:
    rules = rendered("prod").find("Role", "pg-shard-2").manifest["rules"]
    assert {r for rule in rules for r in rule["resources"]} == {"pods", "configmaps"}
    for rule in rules:
        if set(rule["verbs"]) & {"get", "patch", "update", "delete"}:
            assert all(name.startswith("pg-shard-2-") for name in rule["resourceNames"])
        assert not set(rule["verbs"]) & {"*", "delete", "deletecollection"}


def test_the_way_out_leads_to_the_shards_and_the_api_server_alone(
    config: Callable[[str], Config], render_config: Callable[..., Rendered]
) -> None:
    dev = config("dev")
    names = {"pg-shard-0": 3, "pgbouncer": 2, "pg-bootstrap": 1, "pg-move": 3}

    def ways_out() -> dict[str, Any]:
        stack = render_config(dev)
        return {name: stack.find("NetworkPolicy", name).manifest["spec"]["egress"] for name in names}

    ports = [{"protocol": "TCP", "port": port} for port in (443, 6443)]
    anywhere = ways_out()
    assert {name: len(rules) for name, rules in anywhere.items()} == names
    assert anywhere["pg-shard-0"][-1] == anywhere["pgbouncer"][1] == {"ports": ports}
    dev["headroom:postgres"]["apiServers"] = ["10.1.0.0/28", "10.2.0.1/32"]
    narrow = {"to": [{"ipBlock": {"cidr": c}} for c in ("10.1.0.0/28", "10.2.0.1/32")], "ports": ports}
    known = ways_out()
    assert known["pg-shard-0"][-1] == known["pgbouncer"][1] == narrow
    for rules in known.values():
        assert all("to" in rule for rule in rules)


def test_state_is_there_before_patroni_and_kept_with_the_data(stack: Rendered) -> None:
    for o in stack.objects:
        if o.id.kind != "StatefulSet" or not o.id.name.startswith("pg-shard-"):
            continue
        states = {s: stack.find("ConfigMap", f"{o.id.name}-{s}") for s in ("config", "leader", "failover", "sync")}
        assert {s for s, state in states.items() if state.retain} == {"config", "sync"}
        for state in states.values():
            assert state.wave < o.wave
            assert "data" not in state.manifest, "its content is Patroni's"
            assert state.manifest["metadata"]["labels"]["app.kubernetes.io/name"] == o.id.name


def test_another_number_of_shards_moves_buckets_when_the_shards_run_and_before_clients_hear_of_it(
    config: Callable[[str], Config], render_config: Callable[..., Rendered]
) -> None:
    dev = config("dev")
    before = render_config(dev)
    dev["headroom:postgres"]["override"] = {"shards": {"value": 3, "because": "a test"}}
    after = render_config(dev)
    (job,) = [o for o in after.objects if o.id.kind == "Job" and o.id.name.startswith("pg-move-")]
    (env,) = [{e["name"]: e["value"] for e in c["env"]} for c in job.manifest["spec"]["template"]["spec"]["containers"]]
    assert (env["SHARDS"], env["JOB"]) == ("3", job.id.name), "it knows itself, and leaves no other of its kind"
    sets = [o for o in after.objects if o.id.kind == "StatefulSet" and o.id.name.startswith("pg-shard-")]
    assert len(sets) == 3 and all(o.wave < job.wave for o in sets)
    assert after.find("ConfigMap", "shard-map").wave > job.wave
    assert "StatefulSet/pg-shard-0" not in changed(before, after), "no pod rolls"
    assert {o for o in changed(before, after) if o.startswith("Job/pg-move")} == {
        f"Job/{job.id.name}",
        *(f"Job/{o.id.name}" for o in before.objects if o.id.name.startswith("pg-move-")),
    }


def test_a_lowered_quota_does_not_keep_shards_from_being_emptied(stack: Rendered) -> None:
    """Under Pulumi it is lowered first, while the pods that are to go still count; pods with a deadline do not."""
    quotas = [o.manifest["spec"] for o in stack.objects if o.id.kind == "ResourceQuota"]
    assert [quota["scopes"] for quota in quotas] == [["NotTerminating"]] * len(quotas)
    jobs = {o.id.name.rpartition("-")[0]: o for o in stack.objects if o.id.kind == "Job"}
    days = {name: jobs[name].manifest["spec"]["template"]["spec"]["activeDeadlineSeconds"] / 86_400
            for name in ("pg-bootstrap", "pg-move")}  # fmt: skip
    assert days["pg-bootstrap"] > 0 and days["pg-move"] == 7


def test_how_hard_buckets_move_is_the_stack_s_to_say(
    config: Callable[[str], Config], render_config: Callable[..., Rendered]
) -> None:
    dev = config("dev")
    dev["headroom:postgres"]["moves"] = {"maxParallelMoves": 1, "bytesPerSecond": "20MB"}
    (job,) = [o for o in render_config(dev).objects if o.id.name.startswith("pg-move-") and o.id.kind == "Job"]
    (container,) = job.manifest["spec"]["template"]["spec"]["containers"]
    env = {e["name"]: e["value"] for e in container["env"]}
    assert (env["MAX_PARALLEL_MOVES"], env["BYTES_PER_SECOND"]) == ("1", "20000000")


def test_patroni_leaves_the_slots_of_moves_alone(stack: Rendered) -> None:
    assert settings(stack)["ignore_slots"] == [{"type": "logical", "database": "features", "plugin": "pgoutput"}]


def test_weak_passwords_are_refused_with_the_reason_and_without_the_value(
    config: Callable[[str], Config], render_config: Callable[..., Rendered]
) -> None:
    dev = config("dev")
    for weak, reason in (
        ("hunter2", "7 characters"),
        ("a" * 40, "different characters"),
        ("x" * 9 + " '\"quoted", "has"),
    ):
        dev["headroom:secrets"] = {"postgresApp": weak}
        with pytest.raises(InputError, match=reason) as caught:
            render_config(dev)
        assert "postgresApp (the services' role" in str(caught.value)
        assert weak not in str(caught.value)


def test_passwords_that_are_missing_can_be_looked_at_but_not_applied(rendered: Callable[[str], Rendered]) -> None:
    assert {p for p in rendered("dev").placeholders if "postgres" in p or "pgbouncer" in p} == {
        f"headroom:secrets.{name}"
        for name in (
            "postgresSuperuser",
            "postgresReplication",
            "postgresRewind",
            "postgresApp",
            "pgbouncerAuth",
        )
    }


def test_a_secret_of_the_user_s_takes_the_place_of_ours(
    config: Callable[[str], Config], render_config: Callable[..., Rendered]
) -> None:
    dev = config("dev")
    dev["headroom:postgres"]["existingSecret"] = "mine"
    dev["headroom:pgbouncer"]["existingSecret"] = "mine-too"
    stack = render_config(dev)
    assert not [o for o in stack.objects if o.id.kind == "Secret" and o.id.name.startswith(("postgres", "pgbouncer"))]
    assert not [p for p in stack.placeholders if "postgres" in p or "pgbouncer" in p]
    text = json.dumps([o.manifest for o in stack.objects])
    assert '"secretName": "mine"' in text and '"secretName": "mine-too"' in text


def test_another_password_rolls_its_clients_and_no_shard(
    config: Callable[[str], Config], render_config: Callable[..., Rendered]
) -> None:
    dev = config("dev")
    strong = {name: f"{name}-is-long-and-good-0123" for name in ("postgresSuperuser", "postgresReplication",
              "postgresRewind", "postgresApp", "pgbouncerAuth")}  # fmt: skip
    dev["headroom:secrets"] = dict(strong)
    before = render_config(dev)
    dev["headroom:secrets"]["postgresApp"] = "another-long-password-0123456789"
    found = changed(before, render_config(dev))
    assert {"Secret/postgres-passwords", "Deployment/inference"} <= found
    assert not {name for name in found if name.startswith(("StatefulSet/", "Job/pg", "Deployment/pgbouncer"))}
