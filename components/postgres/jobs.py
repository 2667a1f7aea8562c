"""The Jobs that bring running shards to what the stack says: `bootstrap` makes each one what it should be, `move` gives
the buckets to the shards that there are."""

from __future__ import annotations

from components import pods
from components.metadata import Identity
from components.objects import Manifest
from components.postgres.shard import PASSWORDS, SETTINGS, USER_ID
from headroom.capacity.plan.model import ImagesPlan, PostgresPlan, Resources

BOOTSTRAP_SECONDS = 900
MOVE_SECONDS = 7 * 86_400
"""Terabytes take days. The Job ends by itself when it cannot go on."""
PATIENT = {"pulumi.com/timeoutSeconds": str(MOVE_SECONDS)}
REFUSED = 3
"""The exit code of what would be refused again."""


def bootstrap(plan: PostgresPlan, owner: Identity, images: ImagesPlan, size: Resources, *, passwords: str) -> Manifest:
    """`spec` of the Job; `passwords` names the Secret."""
    environment = {"COPIES": plan.replication_factor.value, "SHARDS": plan.shards.value}
    mounted: dict[str, tuple[str, Manifest]] = {
        "passwords": _passwords(passwords),
        "settings": (SETTINGS, {"configMap": {"name": "postgres-settings"}}),
    }
    container = _container("bootstrap", "shard.bootstrap", plan, images, size, environment, mounted)
    return {
        "backoffLimit": 4,
        "activeDeadlineSeconds": BOOTSTRAP_SECONDS,
        **_once(container, plan, owner, images, mounted, BOOTSTRAP_SECONDS, uses_api=False),
    }


def move(plan: PostgresPlan, owner: Identity, images: ImagesPlan, size: Resources, *, passwords: str) -> Manifest:
    """`spec` of the Job but for its own name (`tell_name`), which follows from it."""
    environment = {
        "SHARDS": plan.shards.value,
        "MAX_PARALLEL_MOVES": plan.max_parallel_moves.value,
        "BYTES_PER_SECOND": plan.move_bytes_per_second.value,
    }
    mounted = {"passwords": _passwords(passwords)}
    container = _container("move", "shard.reshard", plan, images, size, environment, mounted)
    return {
        # Each try goes on where the last one stopped; ten with growing pauses span about half an hour.
        "backoffLimit": 10,
        **_once(container, plan, owner, images, mounted, MOVE_SECONDS, uses_api=True),
    }


def tell_name(spec: Manifest, name: str) -> None:
    """Have the Job's program know which Job it is."""
    (container,) = spec["template"]["spec"]["containers"]
    container["env"].append({"name": "JOB", "value": name})


def _passwords(secret: str) -> tuple[str, Manifest]:
    return PASSWORDS, {"secret": {"secretName": secret, "defaultMode": 0o440}}


def _container(
    name: str,
    program: str,
    plan: PostgresPlan,
    images: ImagesPlan,
    size: Resources,
    environment: dict[str, int],
    mounted: dict[str, tuple[str, Manifest]],
) -> Manifest:
    _, mounts = pods.scratch({"/tmp": "16Mi"})  # noqa: S108
    return {
        "name": name,
        "image": plan.image,
        "imagePullPolicy": images.pull_policy,
        "command": ["/opt/patroni/bin/python", "-m", program],
        "env": [
            {"name": "NAMESPACE", "value": plan.namespace},
            *({"name": key, "value": str(value)} for key, value in sorted(environment.items())),
        ],
        "resources": pods.resources(size),
        "securityContext": pods.container_security(),
        # Why it failed is what a person asks first; the pod says so.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            *mounts,
            *({"name": n, "mountPath": path, "readOnly": True} for n, (path, _) in mounted.items()),
        ],
    }


def _once(
    container: Manifest,
    plan: PostgresPlan,
    owner: Identity,
    images: ImagesPlan,
    mounted: dict[str, tuple[str, Manifest]],
    seconds: int,
    *,
    uses_api: bool,
) -> Manifest:
    """A pod that runs to its end, for so long at most, again where that may help.

    A quota that is lowered first does not count what has a deadline, and so lets shards that go be emptied.
    """
    volumes, _ = pods.scratch({"/tmp": "16Mi"})  # noqa: S108
    refused = {"containerName": container["name"], "operator": "In", "values": [REFUSED]}
    return {
        "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": refused}]},
        "template": {
            "metadata": {"labels": owner.labels(image=plan.image)},
            "spec": {
                **pods.pod_defaults(images, owner.name, 30, uses_api=uses_api, user_id=USER_ID),
                "restartPolicy": "Never",
                "activeDeadlineSeconds": seconds,
                "containers": [container],
                "volumes": [*volumes, *({"name": n, **source} for n, (_, source) in mounted.items())],
            },
        },
    }
