"""What must be true before an engine is called: the plan works, the images are on the node, the secrets exist."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from headroom import local, project
from headroom.backend import local_secrets, secrets
from headroom.capacity import demand as demands
from headroom.capacity import plan as plans
from headroom.capacity.parts import PARTS
from headroom.capacity.plan import Plan
from headroom.engine.model import Deployment, Target
from headroom.local import images
from headroom.progress import Progress, step

OURS = "localhost/headroom/"
"""Images under this name are built on this machine from `images/`; no registry has them."""


@dataclass(frozen=True)
class Request:
    """A stack and its file, and where it goes; `cluster` is the embedded one, or None for a cluster of the user's."""

    stack: str
    file: Path
    target: Target
    cluster: local.Cluster | None

    def plan(self) -> Plan:
        """Raises InputError for a stack file that cannot work."""
        return plans.make(demands.load(self.stack, self.file))


def prepare(request: Request, progress: Progress) -> Deployment:
    """A deployment that an engine can run.

    On the embedded cluster: with secrets of its own, and with a real node the images that the plan names are built
    and loaded first. Raises InputError before anything is touched when the plan cannot work.
    """
    with step(progress, f"sizing stack {request.stack}"):
        plan = request.plan()
    return replace(bare(request), config_file=_with_built_images(request, plan, progress))


def bare(request: Request) -> Deployment:
    """A deployment as the stack file has it, without building images: what `down` needs."""
    deployment = Deployment(project.root(), request.stack, request.target, config_file=request.file)
    if request.cluster is None:
        return deployment
    components = set(secrets.read(request.file).components)
    values = local_secrets.ensure_local(request.cluster.state / local_secrets.FILE, components)
    return replace(deployment, secrets={secrets.CONFIG_KEY: values} if values else {})


def _with_built_images(request: Request, plan: Plan, progress: Progress) -> Path:
    """The stack file with our images under the names that say their content, so that a rebuilt image rolls its pods.

    On fake nodes nothing runs, so the file stays as it is.
    """
    cluster = request.cluster
    needed = sorted({name for image in _images(plan) if (name := _ours(image)) is not None})
    if cluster is None or cluster.nodes == "fake" or not needed:
        return request.file
    refs = images.load(cluster, needed, progress)
    yaml = YAML()
    document = yaml.load(request.file)
    config = document["config"]
    services = _editable(config, "headroom:services") if plan.services else {}
    for service in plan.services:
        given = services[service.key]
        if (name := _ours(service.image)) is not None:
            given["image"] = refs[name]
        if service.canary is not None and (name := _ours(service.canary.image)) is not None:
            given["canary"]["image"] = refs[name]
    own = _editable(config, "headroom:images")
    for part in PARTS:
        sized = getattr(plan, part)
        if sized is not None and _ours(sized.image) is not None:
            own[part] = refs[part]
    file = cluster.state / "stacks" / request.file.name
    file.parent.mkdir(exist_ok=True)
    with file.open("w", encoding="utf-8") as out:
        yaml.dump(document, out)
    return file


def _editable(config: dict[str, Any], key: str) -> dict[str, Any]:
    """The mapping under a key, made where there is none; Pulumi may have written it as JSON text."""
    held = config.setdefault(key, {})
    if isinstance(held, str):
        held = config[key] = json.loads(held)
    found: dict[str, Any] = held
    return found


def _images(plan: Plan) -> Iterator[str]:
    for service in plan.services:
        yield service.image
        if service.canary is not None:
            yield service.canary.image
    for part in PARTS:
        if (sized := getattr(plan, part)) is not None:
            yield sized.image


def _ours(image: str) -> str | None:
    """The name of an image that we build, else None."""
    if not image.startswith(OURS):
        return None
    name = image.removeprefix(OURS).partition(":")[0]
    return name if name in images.NAMES else None
