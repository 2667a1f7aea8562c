"""The StatefulSet of the nodes: H2O, and beside it the guard."""

from __future__ import annotations

from components import pods
from components.metadata import Identity
from components.objects import Manifest
from headroom.capacity.plan.model import H2OPlan, ImagesPlan
from headroom.capacity.quantities import GI, octets

NAME = "h2o-cluster"
HEADLESS = "h2o-headless"
LEADER = "h2o"
REST_PORT = 54321
NODE_PORT = 54322
LEADER_PORT = 8080
GUARD_PORT = 8090
USER_ID = 999
EXPORT_CLAIM = "h2o-export"
EXPORT_FOLDER = "/var/lib/h2o/export"
LOGIN_FOLDER = "/etc/h2o/login"
RUN_FOLDER = "/run/h2o"
TOKEN_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105  a path
ROLE = "headroom.dev/h2o-role"
SPEC_HASH = "headroom.dev/spec-hash"
LOGIN_HASH = "headroom.dev/login"
GRACE_SECONDS = 15


def stateful_set_spec(
    plan: H2OPlan, owner: Identity, images: ImagesPlan, login_secret: str, login_hash: str
) -> Manifest:
    """`spec` of the StatefulSet. `login_hash` changes with the password and restarts the nodes, which read it once."""
    return {
        "serviceName": HEADLESS,
        "replicas": plan.nodes.value,
        # Nodes wait for each other before they start, so none may wait for another's readiness.
        "podManagementPolicy": "Parallel",
        "revisionHistoryLimit": 2,
        # A roll node by node would lose the cloud with the first one.
        "updateStrategy": {"type": "OnDelete"},
        "selector": {"matchLabels": owner.selector()},
        "template": {
            "metadata": {"labels": owner.labels(image=plan.image), "annotations": {LOGIN_HASH: login_hash}},
            "spec": _pod(plan, owner, images, login_secret),
        },
    }


def _pod(plan: H2OPlan, owner: Identity, images: ImagesPlan, login_secret: str) -> Manifest:
    scratch, mounts = pods.scratch({"/tmp": plan.scratch_size.value})  # noqa: S108  of the container
    run = {"name": "run", "mountPath": RUN_FOLDER}
    export = [] if plan.export_s3 else [{"name": "export", "mountPath": EXPORT_FOLDER}]
    login = {"name": "login", "mountPath": LOGIN_FOLDER, "readOnly": True}
    token = {"name": "token", "mountPath": TOKEN_FOLDER, "readOnly": True}
    ready = {"httpGet": {"path": "/ready", "port": GUARD_PORT}, "periodSeconds": 2, "timeoutSeconds": 2}
    common: Manifest = {
        "image": plan.image,
        "imagePullPolicy": images.pull_policy,
        "securityContext": pods.container_security(),
        "readinessProbe": ready,
    }
    return {
        **pods.pod_defaults(images, owner.name, GRACE_SECONDS, user_id=USER_ID),
        "containers": [
            {
                "name": "h2o",
                **common,
                "command": ["/usr/local/bin/h2o-node", *_java(plan), "--", *_h2o(plan)],
                "env": _discovery(plan, owner),
                "ports": [
                    {"name": "http", "containerPort": REST_PORT, "protocol": "TCP"},
                    {"name": "nodes", "containerPort": NODE_PORT, "protocol": "TCP"},
                ],
                "resources": pods.resources(plan.resources),
                "startupProbe": {
                    "exec": {"command": ["/usr/local/bin/h2o-live"]},
                    "periodSeconds": 2,
                    "timeoutSeconds": 10,
                    "failureThreshold": 30,
                },
                # Passes while the node waits for the others; a minute of silence is what H2O itself calls dead.
                "livenessProbe": {
                    "exec": {"command": ["/usr/local/bin/h2o-live"]},
                    "periodSeconds": 10,
                    "timeoutSeconds": 10,
                    "failureThreshold": 6,
                },
                "volumeMounts": [*mounts, run, *export],
            },
            {
                "name": "guard",
                **common,
                "command": ["python3", "-m", "headroom_h2o", "guard"],
                "env": [
                    *(
                        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
                        for name, path in (
                            ("POD_IP", "status.podIP"),
                            ("POD_NAME", "metadata.name"),
                            ("POD_NAMESPACE", "metadata.namespace"),
                        )
                    ),
                    {"name": "H2O_WORKLOAD", "value": owner.name},
                    {"name": "H2O_HEADLESS", "value": HEADLESS},
                    {"name": "H2O_NODE_EXPECTED_COUNT", "value": str(plan.nodes.value)},
                ],
                "ports": [{"name": "guard", "containerPort": GUARD_PORT, "protocol": "TCP"}],
                "resources": pods.resources(plan.sidecars["guard"]),
                "livenessProbe": {
                    "httpGet": {"path": "/live", "port": GUARD_PORT},
                    "periodSeconds": 10,
                    "timeoutSeconds": 5,
                    "failureThreshold": 6,
                },
                # The API's token is here alone: whoever may use H2O may read any file of its own container.
                "volumeMounts": [run, login, token],
            },
        ],
        "volumes": [
            *scratch,
            {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "login", "secret": login_source(login_secret)},
            {"name": "token", "projected": token_source()},
            *([] if plan.export_s3 else [{"name": "export", "persistentVolumeClaim": {"claimName": EXPORT_CLAIM}}]),
        ],
        "topologySpreadConstraints": pods.spread(owner.selector(), "controller-revision-hash"),
    }


def login_source(secret: str) -> Manifest:
    """The one key of the Secret that is ours, also of a Secret that has others."""
    return {"secretName": secret, "defaultMode": 0o440, "items": [{"key": "h2oUi", "path": "h2oUi"}]}


def token_source() -> Manifest:
    """The account's token as Kubernetes would mount it, for the containers that name it and no others."""
    return {
        "defaultMode": 0o440,
        "sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        ],
    }


def _java(plan: H2OPlan) -> list[str]:
    heap = f"-Xmx{octets(plan.heap.value) // GI}g"
    # It works outside the heap, in memory that a plan without it has not set aside; and loading it is a start's
    # longest step.
    return [heap] if plan.xgboost else [heap, "-Dsys.ai.h2o.ext.core.toggle.XGBoost=False"]


def _h2o(plan: H2OPlan) -> list[str]:
    found = ["-name", NAME, "-port", str(REST_PORT), "-ice_root", "/tmp/h2o"]  # noqa: S108
    found += ["-hash_login", "-login_conf", f"{RUN_FOLDER}/realm.properties"]
    return found + (["-flatfile", f"{RUN_FOLDER}/flatfile"] if plan.discovery == "flatfile" else [])


def _discovery(plan: H2OPlan, owner: Identity) -> list[Manifest]:
    if plan.discovery == "flatfile":
        return []
    values = {
        "H2O_KUBERNETES_API_PORT": str(LEADER_PORT),
        # No time limit beside it: H2O would then go on with fewer nodes.
        "H2O_KUBERNETES_SERVICE_DNS": f"{HEADLESS}.{owner.namespace}.svc.cluster.local",
        "H2O_NODE_EXPECTED_COUNT": str(plan.nodes.value),
    }
    return [{"name": name, "value": value} for name, value in values.items()]
