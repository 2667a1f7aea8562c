"""Small stacks on the cluster: each test has a stack and a namespace of its own, gone at its end."""

from __future__ import annotations

import itertools
import json
import os
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from headroom.engine.kubectl import KubectlEngine
from headroom.engine.model import Changes, Deployment, Result, Target
from headroom.kubectl import Kubectl
from headroom.local import Cluster

HEADER = """
import pulumi
import pulumi_kubernetes as k8s
from pulumi import ResourceOptions as Options

config = pulumi.Config()
NS = config.require("namespace")
ns = k8s.core.v1.Namespace("ns", metadata={"name": NS}, opts=Options(retain_on_delete=True))

def meta(name):
    return {"name": name, "namespace": NS, "labels": {"app": name}}

def configmap(name, *after, **data):
    return k8s.core.v1.ConfigMap(name, metadata=meta(name), data=data, opts=Options(depends_on=[ns, *after]))

def claim(name, size="1Gi", **options):
    return k8s.core.v1.PersistentVolumeClaim(name, metadata=meta(name), spec={
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
        opts=Options(depends_on=[ns], retain_on_delete=True))

def pod(name, **spec):
    containers = [{"name": "main", "image": "example/x"}]
    return {"metadata": {"labels": {"app": name}}, "spec": {"containers": containers, **spec}}

def deployment(name, *after, replicas=1, wait=True, **spec):
    metadata = meta(name) | ({} if wait else {"annotations": {"pulumi.com/skipAwait": "true"}})
    return k8s.apps.v1.Deployment(name, metadata=metadata, spec={
        "replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": pod(name, **spec)},
        opts=Options(depends_on=[ns, *after]))

def stateful_set(name, service="x", **options):
    return k8s.apps.v1.StatefulSet(name, metadata=meta(name), spec={
        "serviceName": service, "replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": pod(name)},
        opts=Options(depends_on=[ns], **options))
"""


@dataclass
class Recorder:
    """A progress listener that remembers, and may act on what it hears."""

    lines: list[str]
    on: Callable[[str], None] = lambda _: None

    def begin(self, text: str) -> None:
        self.lines.append(text)
        self.on(text)

    def detail(self, text: str) -> None:
        self.lines.append(text)

    def end(self, text: str, *, ok: bool) -> None:
        self.lines.append(f"{text} {ok}")

    def note(self, text: str) -> None:
        self.lines.append(text)


@dataclass(frozen=True)
class Stack:
    """A stack of one test: `program` is put behind HEADER."""

    deployment: Deployment
    namespace: str
    progress: Recorder
    engine: KubectlEngine

    @property
    def kubectl(self) -> Kubectl:
        return self.deployment.target.kubectl

    def write(self, program: str, *, namespace: str = "") -> None:
        project = self.deployment.project
        (project / "__main__.py").write_text(HEADER + textwrap.dedent(program))
        stack_file = {"config": {"namespace": namespace or self.namespace}}
        (project / f"Pulumi.{self.deployment.stack}.yaml").write_text(json.dumps(stack_file))

    def up(self, program: str, **kw: Any) -> Result:
        self.write(program, **kw)
        return self.engine.up(self.deployment, self.progress)

    def preview(self, program: str) -> Changes:
        self.write(program)
        return self.engine.preview(self.deployment, self.progress)

    def down(self, delete_data: str | None = None) -> Result:
        return self.engine.down(self.deployment, self.progress, delete_data=delete_data)

    def names(self, kind: str) -> set[str]:
        return {i["metadata"]["name"] for i in self.kubectl.items(kind, self.namespace)} - {"kube-root-ca.crt"}

    def versions(self) -> dict[str, str]:
        """The resourceVersion of everything that a stack of these tests may make."""
        items = self.kubectl.get("configmaps,secrets,deployments,statefulsets,jobs,pvc", "-n", self.namespace)["items"]
        return {f"{i['kind']}/{i['metadata']['name']}": i["metadata"]["resourceVersion"] for i in items}

    def within(self, seconds: float) -> Stack:
        return replace(self, engine=KubectlEngine(timeout=seconds))


_number = itertools.count()


@pytest.fixture
def stack(cluster: Cluster, tmp_path: Path) -> Iterator[Stack]:
    """An empty stack."""
    name = f"t{os.getpid()}-{next(_number)}"
    (tmp_path / "Pulumi.yaml").write_text("name: headroom\nruntime: python\n")
    target = Target.of(cluster)
    made = Stack(Deployment(tmp_path, name, target), f"ns-{name}", Recorder([]), KubectlEngine(timeout=60))
    try:
        yield made
    finally:
        target.kubectl.run("delete", "namespace", made.namespace, "--ignore-not-found", "--wait=false")
