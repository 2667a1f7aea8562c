"""What must hold of every object of every stack, whatever its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from headroom.engine.rendered import Rendered, RenderedObject
from policy.rules import violations

LABELS = {
    "app",
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/component",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/managed-by",
}
BECAUSE = "headroom.dev/because"
SET_WHILE_RUNNING = {"role", "headroom.dev/role", "headroom.dev/h2o-role"}
"""Labels that a pod gets when it is known who leads."""
AUTOSCALERS = {"HorizontalPodAutoscaler", "ScaledObject"}


def of_kind(stack: Rendered, *kinds: str) -> list[RenderedObject]:
    return [o for o in stack.objects if o.id.kind in kinds]


def templates(stack: Rendered) -> Iterator[tuple[RenderedObject, dict[str, Any]]]:
    for o in stack.objects:
        template = o.manifest.get("spec", {}).get("template")
        if template:
            yield o, template


def containers(template: dict[str, Any]) -> list[dict[str, Any]]:
    return [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]


def matches(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items()


def test_deploys_every_service_of_the_stack_file(rendered: Callable[[str], Rendered]) -> None:
    deployments = {name: {o.id.name for o in of_kind(rendered(name), "Deployment")} for name in ("local", "prod")}
    assert deployments["local"] >= {"inference"}
    assert deployments["prod"] >= {"inference", "inferadb", "mage"}


def test_no_object_is_there_twice(stack: Rendered) -> None:
    assert [o for o, n in Counter(o.id for o in stack.objects).items() if n > 1] == []
    assert [u for u, n in Counter(r.urn for r in stack.resources).items() if n > 1] == []


def test_every_object_has_a_component_above_it(stack: Rendered) -> None:
    types = {r.urn: r.type_token for r in stack.resources}
    orphans = [str(o.id) for o in stack.objects if not types.get(o.parent, "").startswith("headroom:components:")]
    assert orphans == []


def test_every_object_goes_to_the_cluster_that_was_chosen(stack: Rendered) -> None:
    objects = [r for r in stack.resources if r.type_token.startswith("kubernetes:")]
    assert objects
    assert [r.name for r in objects if "::cluster::" not in r.provider] == []


def test_every_object_is_named_placed_and_labelled(stack: Rendered) -> None:
    namespaces = {o.id.name for o in of_kind(stack, "Namespace")}
    for o in stack.objects:
        metadata = o.manifest["metadata"]
        assert metadata["labels"].keys() >= LABELS, o.id
        assert metadata["labels"]["app"] == metadata["labels"]["app.kubernetes.io/name"], o.id
        assert metadata["labels"]["app.kubernetes.io/instance"] == stack.stack, o.id
        if o.id.kind != "Namespace":
            assert metadata.get("namespace") in namespaces, o.id
    for o, template in templates(stack):
        assert template["metadata"]["labels"].keys() >= LABELS, o.id


def test_one_autoscaler_owns_the_replicas_of_each_deployment(stack: Rendered) -> None:
    owners = Counter(
        (o.id.namespace, o.manifest["spec"]["scaleTargetRef"]["name"]) for o in of_kind(stack, *AUTOSCALERS)
    )
    assert set(owners.values()) <= {1}
    for o in of_kind(stack, "Deployment"):
        if o.manifest["metadata"]["labels"].get("headroom.dev/track") == "stable":
            assert owners[o.id.namespace, o.id.name] == 1, o.id
            assert "replicas" not in o.manifest["spec"], o.id
    assert all(name in {o.id.name for o in of_kind(stack, "Deployment")} for _, name in owners)


def test_sizes_are_explained_on_the_object_and_never_in_a_pod_template(stack: Rendered) -> None:
    for o in of_kind(stack, "Deployment", "PodDisruptionBudget", "ResourceQuota", "LimitRange", *AUTOSCALERS):
        assert o.manifest["metadata"]["annotations"][BECAUSE], o.id
    for o, template in templates(stack):
        assert BECAUSE not in template["metadata"].get("annotations", {}), o.id


def test_every_pod_passes_the_restricted_standard(stack: Rendered) -> None:
    """The rules of https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted."""
    assert list(templates(stack))
    kinds = "configMap csi downwardAPI emptyDir ephemeral persistentVolumeClaim projected secret"
    for o, template in templates(stack):
        pod = template["spec"]
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}, o.id
        assert pod["securityContext"]["runAsNonRoot"] is True, o.id
        assert pod["securityContext"]["runAsUser"] != 0, o.id
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, o.id
        for volume in pod.get("volumes", []):
            assert volume.keys() - {"name"} <= set(kinds.split()), o.id
        for container in containers(template):
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, o.id
            assert security["capabilities"] == {"drop": ["ALL"]}, o.id
            assert security["readOnlyRootFilesystem"] is True, o.id
            assert not security.get("privileged"), o.id
            assert all("hostPort" not in port for port in container.get("ports", [])), o.id


def test_what_is_kept_can_be_taken_up_by_the_next_life_of_the_stack(stack: Rendered) -> None:
    kept = [o for o in stack.objects if o.retain]
    assert kept
    for o in kept:
        notes = o.manifest["metadata"]["annotations"]
        assert notes["pulumi.com/patchForce"] == "true", o.id
        # A claim may stay unbound until a pod uses it.
        assert o.id.kind != "PersistentVolumeClaim" or notes["pulumi.com/skipAwait"] == "true", o.id
    assert all(o.retain for o in of_kind(stack, "Namespace", "PersistentVolumeClaim"))


def test_our_own_policy_pack_has_nothing_to_say(stack: Rendered) -> None:
    assert [str(v) for v in violations(o.manifest for o in stack.objects)] == []


def test_every_namespace_enforces_it_and_starts_closed(stack: Rendered) -> None:
    for namespace in of_kind(stack, "Namespace"):
        labels = namespace.manifest["metadata"]["labels"]
        for mode in ("enforce", "warn", "audit"):
            assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"
        assert namespace.retain
        here = {(o.id.kind, o.id.name): o for o in stack.objects if o.id.namespace == namespace.id.name}
        deny = here["NetworkPolicy", "default-deny"].manifest["spec"]
        assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
        (dns,) = here["NetworkPolicy", "allow-dns"].manifest["spec"]["egress"]
        assert {(p["protocol"], p["port"]) for p in dns["ports"]} == {("UDP", 53), ("TCP", 53)}
        quota = here["ResourceQuota", "headroom-quota"].manifest["spec"]["hard"]
        assert quota.keys() == {"pods", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"}
        (limits,) = here["LimitRange", "headroom-limits"].manifest["spec"]["limits"]
        assert limits.keys() == {"type", "default", "defaultRequest", "max"}


def test_a_namespace_is_whole_before_anything_goes_into_it(stack: Rendered) -> None:
    guards = {"Namespace", "ResourceQuota", "LimitRange"}
    last = max(o.wave for o in stack.objects if o.id.kind in guards)
    assert all(o.wave > last for o, _ in templates(stack))


def test_every_pod_is_bounded_probed_spread_and_drained(stack: Rendered) -> None:
    for o, template in templates(stack):
        pod = template["spec"]
        assert pod["enableServiceLinks"] is False, o.id
        for container in containers(template):
            for bound in ("requests", "limits"):
                assert container["resources"][bound].keys() >= {"cpu", "memory"}, o.id
        main, *_ = pod["containers"]
        if o.id.kind == "Job":  # it ends by itself, and there is one of it
            continue
        assert {c["topologyKey"] for c in pod["topologySpreadConstraints"]} == {
            "topology.kubernetes.io/zone",
            "kubernetes.io/hostname",
        }
        assert main.keys() >= {"startupProbe", "readinessProbe", "livenessProbe"}, o.id
        if o.id.kind == "Deployment":
            hook = main["lifecycle"]["preStop"]
            # What looks after its own way out says how long Services get to forget it.
            sleep = hook["sleep"]["seconds"] if "sleep" in hook else int(hook["exec"]["command"][1])
            assert sleep >= 5, o.id
            assert pod["terminationGracePeriodSeconds"] >= sleep + 10, o.id


def test_a_token_is_mounted_only_where_a_role_is_bound(stack: Rendered) -> None:
    bound = {
        (o.id.namespace, subject["name"]) for o in of_kind(stack, "RoleBinding") for subject in o.manifest["subjects"]
    }
    assert all(o.manifest["automountServiceAccountToken"] is False for o in of_kind(stack, "ServiceAccount"))
    for o, template in templates(stack):
        account = (o.id.namespace, template["spec"]["serviceAccountName"])
        mounted = template["spec"]["automountServiceAccountToken"] or any(
            "serviceAccountToken" in source
            for volume in template["spec"].get("volumes", [])
            for source in volume.get("projected", {}).get("sources", [])
        )
        assert mounted is (account in bound), o.id


def test_what_is_referred_to_exists(stack: Rendered) -> None:
    there = {(o.id.kind, o.id.namespace, o.id.name) for o in stack.objects}
    for o, template in templates(stack):
        assert ("ServiceAccount", o.id.namespace, template["spec"]["serviceAccountName"]) in there
        for container in containers(template):
            for source in container.get("envFrom", []):
                if "configMapRef" in source:
                    assert ("ConfigMap", o.id.namespace, source["configMapRef"]["name"]) in there, o.id
        assert any(
            matches(p.manifest["spec"]["podSelector"].get("matchLabels", {"no": "one"}), template["metadata"]["labels"])
            for p in of_kind(stack, "NetworkPolicy")
            if p.id.namespace == o.id.namespace
        ), o.id


def test_selectors_select_what_they_should(stack: Rendered) -> None:
    pods = [(o.id, template["metadata"]["labels"]) for o, template in templates(stack)]
    for o in of_kind(stack, "Deployment"):
        selector = o.manifest["spec"]["selector"]["matchLabels"]
        chosen = [i for i, labels in pods if i.namespace == o.id.namespace and matches(selector, labels)]
        assert chosen == [o.id], "each Deployment counts its own pods only"
    for o in of_kind(stack, "Service", "PodDisruptionBudget"):
        selector = {k: v for k, v in o.manifest["spec"]["selector"].items() if k not in SET_WHILE_RUNNING}
        here = [labels for i, labels in pods if i.namespace == o.id.namespace]
        assert any(matches(selector.get("matchLabels", selector), labels) for labels in here), o.id


def test_no_secret_is_in_anything_but_a_secret(stack: Rendered) -> None:
    assert [str(o.id) for o in stack.objects if o.secret_paths and not o.is_secret] == []
    assert not stack.secret_exports


def test_exports_the_plan_and_the_addresses(rendered: Callable[[str], Rendered]) -> None:
    exports = rendered("prod").exports
    assert exports["namespace"] == "ml-platform"
    assert exports["services"]["inference"] == "http://inference.ml-platform.svc:8080"
    assert exports["services"]["inferadb"] == "http://inferadb.inferadb.svc:8080"
    assert exports["plan"]["inference.maxReplicas"].startswith("15")
