"""The Deployment of a stateless service, or of its canary."""

from __future__ import annotations

from collections.abc import Mapping

from components import pods
from components.metadata import Identity
from components.objects import Manifest
from components.stateless.presets import Preset
from headroom.capacity.plan.model import ImagesPlan, ServicePlan


def deployment_spec(
    plan: ServicePlan,
    preset: Preset,
    owner: Identity,
    *,
    images: ImagesPlan,
    track: str,
    image: str,
    replicas: int | None,
    config_map: str,
    secrets: Mapping[str, pods.SecretKey],
    files: Mapping[str, str],
) -> Manifest:
    """`spec` of a Deployment. `replicas` None leaves the number to its autoscaler."""
    selector = owner.selector(track)
    spec: Manifest = {
        "selector": {"matchLabels": selector},
        "revisionHistoryLimit": 5,
        "progressDeadlineSeconds": 600,
        "minReadySeconds": 5,
        "strategy": pods.rolling_update(),
        "template": {
            "metadata": {"labels": owner.labels(track, image=image), **_scrape(preset)},
            "spec": _pod(
                plan, preset, owner, images=images, image=image, config_map=config_map, secrets=secrets, files=files
            )
            | {"topologySpreadConstraints": pods.spread(selector)},
        },
    }
    return spec if replicas is None else {"replicas": replicas, **spec}


def _scrape(preset: Preset) -> Manifest:
    if preset.metrics_path is None:
        return {}
    return {
        "annotations": {
            "prometheus.io/scrape": "true",
            "prometheus.io/port": str(preset.ports[0].number),
            "prometheus.io/path": preset.metrics_path,
        }
    }


def _pod(
    plan: ServicePlan,
    preset: Preset,
    owner: Identity,
    *,
    images: ImagesPlan,
    image: str,
    config_map: str,
    secrets: Mapping[str, pods.SecretKey],
    files: Mapping[str, str],
) -> Manifest:
    volumes, mounts = pods.scratch(preset.writable)
    shown = [{"name": config, "mountPath": path, "readOnly": True} for path, config in files.items()]
    volumes += [{"name": config, "configMap": {"name": config}} for config in files.values()]
    environment = [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for name, path in sorted(preset.downward_env.items())
    ] + pods.secret_environment(secrets)
    container: Manifest = {
        "name": owner.name,
        "image": image,
        "imagePullPolicy": images.pull_policy,
        "ports": [{"name": p.name, "containerPort": p.number, "protocol": "TCP"} for p in preset.ports],
        "envFrom": [
            {"configMapRef": {"name": config_map}},
            *([{"secretRef": {"name": plan.existing_secret}}] if plan.existing_secret else []),
        ],
        **({"env": environment} if environment else {}),
        "resources": pods.resources(plan.resources),
        # The kubelet sleeps, not the image: endpoints forget the pod before it stops to listen.
        "lifecycle": {"preStop": {"sleep": {"seconds": plan.drain.pre_stop_seconds}}},
        "startupProbe": _probe(preset.startup_path, period=2, failures=60),
        "readinessProbe": _probe(preset.ready_path, period=5, failures=2),
        "livenessProbe": _probe(preset.live_path, period=10, failures=3),
        "securityContext": pods.container_security(),
        "volumeMounts": [*mounts, *shown],
    }
    return {
        **pods.pod_defaults(images, owner.name, plan.drain.grace_period_seconds.value, uses_api=bool(preset.api_rules)),
        "containers": [container],
        "volumes": volumes,
    }


def _probe(path: str, *, period: int, failures: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }
