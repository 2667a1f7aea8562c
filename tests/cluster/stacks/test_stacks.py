"""The four real stacks on a real API server: admitted without a warning, resized by one number, and taken down."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from headroom import local, project
from headroom.capacity import demand, plan
from headroom.cli.main import application
from headroom.engine.kubectl import KubectlEngine
from headroom.engine.model import Target
from headroom.kubectl import Kubectl
from headroom.local.addons import custom_metrics, keda
from headroom.ops import deploy
from headroom.ops.verify import Scene, Verdict, run
from headroom.progress import Silent

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).resolve().parents[3]
STACKS = ("local", "dev", "staging", "prod")


@dataclass(frozen=True)
class Site:
    """The cluster with the APIs that the stacks name, and a door to it."""

    cluster: local.Cluster
    kubectl: Kubectl

    def request(self, stack: str, file: Path) -> deploy.Request:
        return deploy.Request(stack, file, Target.of(self.cluster), self.cluster)

    def up(self, stack: str, file: Path | None = None) -> Any:
        request = self.request(stack, file or project.stack_file(stack, ROOT))
        return KubectlEngine(timeout=300).up(deploy.prepare(request, Silent()), Silent())

    def down(self, stack: str, file: Path | None = None, delete_data: str | None = None) -> Any:
        request = self.request(stack, file or project.stack_file(stack, ROOT))
        return KubectlEngine(timeout=300).down(deploy.bare(request), Silent(), delete_data=delete_data)

    def left(self, *namespaces: str) -> list[str]:
        """What a person would find in namespaces, as `kind/name`, without what Kubernetes itself puts there."""
        kinds = "deploy,sts,job,svc,cm,secret,sa,hpa,pdb,netpol,quota,limits,role,rolebinding,pvc,scaledobjects"
        found = []
        for namespace in namespaces:
            items = self.kubectl.get(kinds, "-n", namespace)["items"]
            found += [f"{o['kind']}/{o['metadata']['name']}" for o in items]
        return [name for name in found if name not in ("ConfigMap/kube-root-ca.crt", "ServiceAccount/default")]


@pytest.fixture(scope="module")
def site(cluster: local.Cluster) -> Iterator[Site]:
    keda.install_definitions(cluster)
    custom_metrics.install_posted(cluster)
    yield Site(cluster, Target.of(cluster).kubectl)


def sized(stack: str) -> Any:
    return plan.make(demand.load(stack, project.stack_file(stack, ROOT)))


def namespaces(stack: str) -> list[str]:
    return [n.name for n in sized(stack).namespaces]


@pytest.mark.parametrize("stack", STACKS)
def test_admitted_without_a_warning_then_unchanged_then_gone(site: Site, stack: str) -> None:
    first = site.up(stack)
    assert first.changes.of("create")
    # What the plan warns of is known; anything else is the API server's, of Pod Security above all.
    assert set(first.changes.warnings) <= {f"{w.component}: {w.message}" for w in sized(stack).warnings}

    again = site.up(stack)
    assert again.changes.empty, [str(c) for c in again.changes.items if c.action != "unchanged"]

    # The test provider of custom metrics has no values, and KEDA's definitions are here without its operator: what
    # waits for those says so, and all else passes.
    unscaled = {s.key for s in sized(stack).services if s.autoscaling.source != "resource"}
    excused = {(key, check) for key in unscaled for check in ("autoscaler", "autoscaler bounds", "rollout")}
    failed = [f for f in run(Scene(sized(stack), site.kubectl, real_pods=False)) if f.verdict is Verdict.failed]
    assert [f for f in failed if (f.component, f.check) not in excused and f.check != "autoscaler"] == []

    site.down(stack)
    # Claims, and what says of which data they are: it lives as long as they do.
    kept = re.compile(r"PersistentVolumeClaim/.+|ConfigMap/(pg-shard-\d+-(config|sync)|postgres-fixed|h2o-saved)")
    assert [name for name in site.left(*namespaces(stack)) if not kept.fullmatch(name)] == []

    site.down(stack, delete_data=sized(stack).namespace)
    for namespace in namespaces(stack):
        assert site.kubectl.run("get", "namespace", namespace, "--ignore-not-found").stdout == ""


def test_one_number_changes_exactly_what_follows_from_it(site: Site, tmp_path: Path) -> None:
    text = project.stack_file("local", ROOT).read_text()
    file = tmp_path / "Pulumi.local.yaml"
    file.write_text(text)
    site.up("local", file)
    try:
        assert "targetRps: 150" in text
        file.write_text(text.replace("targetRps: 150", "targetRps: 250"))
        changed = site.up("local", file).changes
        # 250 rps need 3 pods and at most 4: the autoscaler's bounds, the quota of the namespace, and the formulas that
        # stand in annotations. No pod template changes, so no pod restarts.
        names = {f"{c.kind}/{c.name}" for c in changes_of(changed)}
        assert {"HorizontalPodAutoscaler/inference-hpa", "ResourceQuota/headroom-quota"} <= names
        assert names <= {
            "HorizontalPodAutoscaler/inference-hpa",
            "ResourceQuota/headroom-quota",
            "Deployment/inference",
            "Deployment/pgbouncer",
            "PodDisruptionBudget/inference",
        }
        assert not [f.path for c in changes_of(changed) for f in c.fields if f.path.startswith("spec.template")]
        hpa = site.kubectl.get("hpa", "inference-hpa", "-n", "headroom")["spec"]
        assert (hpa["minReplicas"], hpa["maxReplicas"]) == (2, 4)
    finally:
        site.down("local", file, delete_data="headroom")


def changes_of(changes: Any) -> list[Any]:
    return [c for c in changes.items if c.action != "unchanged"]


def test_a_missing_api_is_named_and_nothing_is_applied(site: Site, tmp_path: Path) -> None:
    """KEDA's definitions are there, but a stack that asks for an API that nobody serves is refused whole."""
    site.kubectl.run("delete", "crd", "scaledobjects.keda.sh", "--wait=true")
    text = project.stack_file("local", ROOT).read_text()
    file = tmp_path / "Pulumi.local.yaml"
    asked = "{ metrics: keda, prometheusAddress: http://prometheus.monitoring:9090 }"
    file.write_text(text.replace("{ metrics: resource }", asked))
    try:
        with pytest.raises(Exception, match=r"keda\.sh/v1alpha1") as raised:
            site.up("local", file)
        assert type(raised.value).__name__ == "EnvironmentFailure"
        assert site.kubectl.run("get", "namespace", "headroom", "--ignore-not-found").stdout == ""
    finally:
        keda.install_definitions(site.cluster)


def test_the_command_line_drives_all_of_it(site: Site) -> None:
    """`preview`, `up`, `verify` and `down` as a person types them, on the cluster by its name."""
    runner = CliRunner()

    def headroom(*args: str) -> Any:
        return runner.invoke(application(), [*args, "--stack", "local", "--name", site.cluster.name])

    preview = headroom("preview")
    assert preview.exit_code == 0, preview.output
    up = headroom("up")
    assert up.exit_code == 0, up.output
    verify = headroom("verify", "--format", "json")
    down = headroom("down", "--delete-data", "headroom")
    assert down.exit_code == 0, down.output
    assert "create    Deployment headroom/inference" in preview.stdout
    failed = {f["check"] for f in json.loads(verify.stdout) if f["verdict"] == "fail"}
    # Fake pods use no CPU that could be reported, which the autoscaler says; all else passes.
    assert failed <= {"autoscaler"}
    assert verify.exit_code == (1 if failed else 0), verify.output
