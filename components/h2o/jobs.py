"""The Jobs around a change of the cluster: `drain` saves what is in memory, `fill` loads it again."""

from __future__ import annotations

from components import pods
from components.h2o import nodes
from components.metadata import Identity
from components.objects import Manifest
from headroom.capacity.plan.model import H2OPlan, ImagesPlan, Resources

NAME = "h2o-jobs"
RECORD = "h2o-saved"
PATIENCE_SECONDS = {"drain": 120, "fill": 300}


def job_spec(
    task: str,
    plan: H2OPlan,
    owner: Identity,
    images: ImagesPlan,
    size: Resources,
    *,
    spec_hash: str,
    login_secret: str,
    seconds: int,
) -> Manifest:
    """`spec` of a Job. `spec_hash` tells the cluster that is wanted from the one that runs."""
    volumes, mounts = pods.scratch({"/tmp": "64Mi"})  # noqa: S108  of the container
    volumes += [
        # Before the first deployment there is no password, and nothing to save with it.
        {"name": "login", "secret": nodes.login_source(login_secret) | {"optional": task == "drain"}},
        {"name": "token", "projected": nodes.token_source()},
    ]
    mounts += [
        {"name": "login", "mountPath": nodes.LOGIN_FOLDER, "readOnly": True},
        {"name": "token", "mountPath": nodes.TOKEN_FOLDER, "readOnly": True},
    ]
    if plan.export_s3 is None:
        volumes.append({"name": "export", "persistentVolumeClaim": {"claimName": nodes.EXPORT_CLAIM}})
        mounts.append({"name": "export", "mountPath": nodes.EXPORT_FOLDER})
    settings = {
        "H2O_EXPORT_ROOT": plan.export_s3 or nodes.EXPORT_FOLDER,
        "H2O_LEADER": nodes.LEADER,
        "H2O_NODE_EXPECTED_COUNT": str(plan.nodes.value),
        "H2O_PATIENCE_SECONDS": str(PATIENCE_SECONDS[task]),
        "H2O_RECORD": RECORD,
        "H2O_SPEC_HASH": spec_hash,
        "H2O_WORKLOAD": nodes.NAME,
    }
    namespace = {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}
    return {
        "backoffLimit": 2,
        "activeDeadlineSeconds": seconds,
        "template": {
            "metadata": {"labels": owner.labels(image=plan.image)},
            "spec": {
                **pods.pod_defaults(images, owner.name, 10, user_id=nodes.USER_ID),
                # A pod with a deadline is outside the quota, which a shrink lowers before the drain runs.
                "activeDeadlineSeconds": seconds,
                "restartPolicy": "Never",
                "containers": [
                    {
                        "name": task,
                        "image": plan.image,
                        "imagePullPolicy": images.pull_policy,
                        "command": ["python3", "-m", "headroom_h2o", task],
                        "env": [*({"name": k, "value": v} for k, v in settings.items()), namespace],
                        "resources": pods.resources(size),
                        "securityContext": pods.container_security(),
                        # Why it failed is what a person asks first; the pod says so.
                        "terminationMessagePolicy": "FallbackToLogsOnError",
                        "volumeMounts": mounts,
                    }
                ],
                "volumes": volumes,
            },
        },
    }
