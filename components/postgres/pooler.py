"""PgBouncer's configuration and pods."""

from __future__ import annotations

from components import pods
from components.metadata import Identity
from components.objects import Manifest
from components.postgres.settings import DATABASE
from components.postgres.settings import POOLER_PORT as PORT
from components.postgres.settings import PORT as POSTGRES_PORT
from headroom.capacity.plan.model import ImagesPlan, PgBouncerPlan

METRICS_PORT = 9127
USER_ID = 999
CONFIG = "pgbouncer.ini"
RUN = "/run/pgbouncer"
FORGET_SECONDS = 10
"""Services take that long to forget a pod, so it goes on serving."""
GRACE_SECONDS = 60


def configuration(plan: PgBouncerPlan, shards: int) -> str:
    """`pgbouncer.ini`. With one shard there is also `features`; with more, a connection that was not routed is an
    error and not a wrong row."""
    targets = {f"{DATABASE}_{shard}": shard for shard in range(shards)}
    if shards == 1:
        targets[DATABASE] = 0
    databases = [
        f"{name} = host=pg-shard-{shard}.{plan.namespace}.svc port={POSTGRES_PORT} dbname={DATABASE}"
        for name, shard in targets.items()
    ]
    return "\n".join(["[databases]", *databases, "", "[pgbouncer]", *_settings(plan), ""])


def _settings(plan: PgBouncerPlan) -> list[str]:
    settings: dict[str, str | int] = {
        "listen_addr": "*",
        "listen_port": PORT,
        "unix_socket_dir": RUN,
        "auth_type": "scram-sha-256",
        "auth_file": f"{RUN}/userlist.txt",
        "auth_user": "pooler",
        # PgBouncer sends it to the shard that is asked for: a shard's own salt stays with it.
        "auth_query": "SELECT usename, passwd FROM headroom.pooler_lookup($1)",
        "pool_mode": "transaction",
        "max_client_conn": plan.max_client_conn.value,
        "default_pool_size": plan.default_pool_size.value,
        "reserve_pool_size": plan.reserve_pool_size.value,
        "reserve_pool_timeout": 1,
        "max_db_connections": plan.max_db_connections.value,
        "server_tls_sslmode": "verify-full",
        "server_tls_ca_file": f"{RUN}/ca.crt",
        # The default of 15 s would be added to every failover.
        "server_login_retry": "0.2",
        "server_connect_timeout": 2,
        "server_lifetime": 1800,
        "server_idle_timeout": 300,
        # A frozen primary's kernel still acknowledges packets: only time tells.
        "tcp_keepalive": 1,
        "tcp_keepidle": 5,
        "tcp_keepintvl": 2,
        "tcp_keepcnt": 2,
        "tcp_user_timeout": 5000,
        "query_timeout": 30,
        "query_wait_timeout": 30,
        "ignore_startup_parameters": "extra_float_digits",
        "admin_users": "pgbouncer",
        "log_connections": 0,
        "log_disconnections": 0,
    }
    return [f"{name} = {value}" for name, value in settings.items()]


def exporter() -> str:
    """The exporter's configuration; it is let in by the socket, as who it is."""
    return (
        f"exporter_host: 0.0.0.0\nexporter_port: {METRICS_PORT}\npgbouncers:\n"
        f'  - dsn: "postgresql://pgbouncer@/pgbouncer?host={RUN}&port={PORT}"\n    connect_timeout: 5\n'
    )


def deployment_spec(
    plan: PgBouncerPlan, owner: Identity, *, images: ImagesPlan, settings: str, password: str, shards: int
) -> Manifest:
    """`spec` of the Deployment. Its settings are not in it: a changed one is reloaded, and no pod rolls."""
    selector = owner.selector()
    return {
        "replicas": plan.replicas.value,
        "selector": {"matchLabels": selector},
        "revisionHistoryLimit": 5,
        "progressDeadlineSeconds": 600,
        "minReadySeconds": 5,
        "strategy": pods.rolling_update(),
        "template": {
            "metadata": {
                "labels": owner.labels(image=plan.image),
                "annotations": {
                    "prometheus.io/scrape": "true",
                    "prometheus.io/port": str(METRICS_PORT),
                    "prometheus.io/path": "/metrics",
                },
            },
            "spec": {
                **pods.pod_defaults(images, owner.name, GRACE_SECONDS, uses_api=True, user_id=USER_ID),
                "topologySpreadConstraints": pods.spread(selector),
                "initContainers": [_warden(plan, images), _exporter(plan, images)],
                "containers": [_pgbouncer(plan, images)],
                "volumes": [
                    {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "4Mi"}},
                    {"name": "tmp", "emptyDir": {"sizeLimit": "16Mi"}},
                    # Whole folders: what is mounted by subPath never changes.
                    {"name": "config", "configMap": {"name": settings}},
                    {
                        "name": "password",
                        "secret": {
                            "secretName": password,
                            "defaultMode": 0o440,
                            "items": [{"key": "pgbouncerAuth", "path": "pgbouncerAuth"}],
                        },
                    },
                ],
            },
        },
    }


def _pgbouncer(plan: PgBouncerPlan, images: ImagesPlan) -> Manifest:
    probe = {"tcpSocket": {"port": "postgres"}, "timeoutSeconds": 2}
    return {
        "name": "pgbouncer",
        "image": plan.image,
        "imagePullPolicy": images.pull_policy,
        "command": ["pgbouncer", f"{RUN}/{CONFIG}"],
        "ports": [{"name": "postgres", "containerPort": PORT, "protocol": "TCP"}],
        "resources": pods.resources(plan.resources),
        "lifecycle": {"preStop": {"exec": {"command": ["pgbouncer-drain", str(FORGET_SECONDS)]}}},
        "startupProbe": {**probe, "periodSeconds": 1, "failureThreshold": 60},
        "readinessProbe": {**probe, "periodSeconds": 5, "failureThreshold": 2},
        "livenessProbe": {**probe, "periodSeconds": 10, "failureThreshold": 3},
        "securityContext": pods.container_security(),
        "volumeMounts": [{"name": "run", "mountPath": RUN}, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }


def _warden(plan: PgBouncerPlan, images: ImagesPlan) -> Manifest:
    alive = {"exec": {"command": ["alive", f"{RUN}/ready"]}}
    return {
        "name": "warden",
        "image": plan.image,
        "imagePullPolicy": images.pull_policy,
        "restartPolicy": "Always",
        "command": ["python3", "-m", "pooler.warden"],
        "resources": pods.resources(plan.sidecars["warden"]),
        # PgBouncer starts once its files are there.
        "startupProbe": {**alive, "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 120},
        "livenessProbe": {**alive, "periodSeconds": 30, "timeoutSeconds": 5, "failureThreshold": 3},
        "securityContext": pods.container_security(),
        "volumeMounts": [
            {"name": "run", "mountPath": RUN},
            {"name": "config", "mountPath": "/etc/headroom/pgbouncer", "readOnly": True},
            {"name": "password", "mountPath": "/etc/headroom/passwords", "readOnly": True},
        ],
    }


def _exporter(plan: PgBouncerPlan, images: ImagesPlan) -> Manifest:
    return {
        "name": "exporter",
        "image": plan.image,
        "imagePullPolicy": images.pull_policy,
        "restartPolicy": "Always",
        "command": ["pgbouncer-exporter", "--config", "/etc/headroom/pgbouncer/exporter.yaml"],
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"}],
        "resources": pods.resources(plan.sidecars["exporter"]),
        "livenessProbe": {
            "tcpSocket": {"port": "metrics"}, "initialDelaySeconds": 10, "periodSeconds": 20, "timeoutSeconds": 5,
        },
        "securityContext": pods.container_security(),
        "volumeMounts": [
            {"name": "run", "mountPath": RUN},
            {"name": "config", "mountPath": "/etc/headroom/pgbouncer", "readOnly": True},
        ],
    }  # fmt: skip
