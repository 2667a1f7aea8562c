"""Each image as a pod: non-root on a read-only root under the restricted standard, healthy by its own check."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headroom.local import images

pytestmark = pytest.mark.e2e

TMP = "/tmp"  # noqa: S108 - of the pod
PGBOUNCER_INI = """\
[databases]
features = host=127.0.0.1 port=5432
[pgbouncer]
listen_addr = *
listen_port = 6432
unix_socket_dir =
auth_type = any
admin_users = admin
pool_mode = transaction
"""
EXPORTER_YAML = """\
exporter_host: 127.0.0.1
exporter_port: 9127
pgbouncers:
  - dsn: postgresql://admin@127.0.0.1:6432/pgbouncer
    connect_timeout: 5
"""
PATRONI_YAML = """\
scope: postgres
kubernetes: {labels: {application: patroni}, use_endpoints: false, leader_label_value: primary}
restapi: {listen: "0.0.0.0:8008"}
postgresql:
  listen: "0.0.0.0:5432"
  data_dir: /var/lib/postgresql/data/pgdata
  parameters: {unix_socket_directories: /var/run/postgresql}
  authentication:
    superuser: {username: postgres, password: only-a-test}
    replication: {username: replica, password: only-a-test}
bootstrap:
  dcs: {ttl: 20, loop_wait: 5, retry_timeout: 5}
  initdb: [data-checksums, {encoding: UTF8}, {locale: C.UTF-8}]
"""
PATRONI_RIGHTS: list[dict[str, Any]] = [
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "postgres"}},
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "postgres"},
        "rules": [
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "patch", "update", "watch"]},
            {
                "apiGroups": [""],
                "resources": ["configmaps"],
                "verbs": ["create", "get", "list", "patch", "update", "watch"],
            },
        ],
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "postgres"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "postgres"},
        "subjects": [{"kind": "ServiceAccount", "name": "postgres"}],
    },
]


def config(name: str, files: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name}-files"}, "data": files}


def mounted(name: str, path: str) -> dict[str, Any]:
    return {
        "volumes": [{"name": "files", "configMap": {"name": f"{name}-files"}}],
        "mounts": [{"name": "files", "mountPath": path}],
    }


def from_pod(field: str) -> dict[str, Any]:
    return {"valueFrom": {"fieldRef": {"fieldPath": field}}}


@pytest.fixture(scope="session")
def pods(namespace: Any) -> dict[str, str]:
    """Every image, running what it is for, healthy by its own check. Image name to pod name."""
    namespace.apply(
        config("pgbouncer", {"pgbouncer.ini": PGBOUNCER_INI, "exporter.yaml": EXPORTER_YAML}),
        config("postgres", {"patroni.yaml": PATRONI_YAML}),
        *PATRONI_RIGHTS,
    )
    started = {
        "redis": namespace.run("redis", writable=("/data",), memory="64Mi"),
        "pgbouncer": namespace.run(
            "pgbouncer", writable=(TMP,), memory="128Mi", **mounted("pgbouncer", "/etc/pgbouncer")
        ),
        "inference": namespace.run("inference", writable=(TMP,), memory="512Mi"),
        "postgres": namespace.run(
            "postgres",
            writable=(TMP, "/var/lib/postgresql/data", "/var/run/postgresql"),
            memory="512Mi",
            serviceAccountName="postgres",
            env=[
                {"name": "PATRONI_NAME", **from_pod("metadata.name")},
                {"name": "PATRONI_KUBERNETES_NAMESPACE", **from_pod("metadata.namespace")},
                {"name": "PATRONI_KUBERNETES_POD_IP", **from_pod("status.podIP")},
                {"name": "POD_IP", **from_pod("status.podIP")},
                {"name": "PATRONI_POSTGRESQL_CONNECT_ADDRESS", "value": "$(POD_IP):5432"},
                {"name": "PATRONI_RESTAPI_CONNECT_ADDRESS", "value": "$(POD_IP):8008"},
            ],
            **mounted("postgres", "/etc/patroni"),
        ),
        "h2o": namespace.run("h2o", writable=(TMP,), memory="2Gi", cpu="500m"),
    }
    for pod in started.values():
        namespace.wait_until_healthy(pod)
    return started


@pytest.mark.parametrize("name", images.NAMES)
def test_it_runs_healthy_as_user_999_and_cannot_write_its_root(namespace: Any, pods: dict[str, str], name: str) -> None:
    assert namespace.execute(pods[name], "id", "-u").stdout.strip() == "999"
    written = namespace.execute(pods[name], "touch", "/usr/local/bin/more")
    assert written.returncode != 0
    assert "Read-only file system" in written.stderr
    status = json.loads(namespace.kubectl("get", "pod", pods[name], "--output=json").stdout)["status"]
    assert status["containerStatuses"][0]["restartCount"] == 0


def test_the_health_check_fails_where_the_software_does_not_answer(namespace: Any, pods: dict[str, str]) -> None:
    for name in ("redis", "pgbouncer", "h2o"):
        assert namespace.execute(pods[name], "/usr/local/bin/healthcheck", "1").returncode != 0, name
    assert namespace.execute(pods["inference"], "/usr/local/bin/healthcheck", "/no-such-path").returncode != 0
    # Patroni alone is enough: a standby that is being copied is alive.
    assert namespace.execute(pods["postgres"], "env", "PGPORT=1", "/usr/local/bin/healthcheck").returncode == 0


def test_patroni_made_a_primary_and_pgbackrest_is_there(namespace: Any, pods: dict[str, str]) -> None:
    asked = namespace.execute(
        pods["postgres"], "psql", "-h", "/var/run/postgresql", "-U", "postgres", "-Atc", "select 1"
    )
    members = namespace.execute(pods["postgres"], "patronictl", "-c", "/etc/patroni/patroni.yaml", "list", "-f", "json")
    assert [member["Role"] for member in json.loads(members.stdout)] == ["Leader"], asked.stderr
    assert namespace.execute(pods["postgres"], "pgbackrest", "version").stdout.startswith("pgBackRest 2.45")


def test_the_exporter_reads_pgbouncers_figures(namespace: Any, pods: dict[str, str]) -> None:
    script = (
        "pgbouncer-exporter --config /etc/pgbouncer/exporter.yaml >/tmp/log 2>&1 & "
        "for i in $(seq 50); do sleep 0.2; "
        "python3 -c 'import urllib.request as u; print(u.urlopen(\"http://127.0.0.1:9127/metrics\").read().decode())' "
        "2>/dev/null && break; done; kill %1"
    )
    told = namespace.execute(pods["pgbouncer"], "bash", "-c", script).stdout
    assert "pgbouncer_pools_client_active_connections{" in told
    assert "pgbouncer_config_max_client_conn" in told


def test_the_sample_model_predicts(namespace: Any, pods: dict[str, str]) -> None:
    script = (
        "import json, urllib.request as u; r = u.Request('http://127.0.0.1:8080/predict', "
        'json.dumps({"entity_id": "entity-0000"}).encode(), {"content-type": "application/json"}); '
        "print(u.urlopen(r).status)"
    )
    asked = namespace.execute(pods["inference"], "python", "-c", script)
    assert asked.stdout.strip() == "200", asked.stderr


def test_health_checks_leave_an_h2o_cluster_open(namespace: Any, pods: dict[str, str]) -> None:
    assert namespace.execute(pods["h2o"], "/usr/local/bin/healthcheck").returncode == 0
    told = namespace.kubectl("logs", pods["h2o"]).stdout
    assert "Cloud of size 1 formed" in told
    assert "Locking cloud" not in told
