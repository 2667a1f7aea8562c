"""The H2O cluster: nodes that form one cloud, the guard that keeps it whole, and Jobs that carry its memory over."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from components.access import account, disruption_budget
from components.h2o import access, jobs, nodes
from components.metadata import Identity, content_hash
from components.objects import KubernetesObject, Manifest, child_options
from components.passwords import fingerprint, passwords, secret
from headroom.capacity.plan.model import H2OPlan, ImagesPlan, Resources, Sized

SECRETS = ("h2oUi",)
JOB_SECONDS = 3600
FORM_SECONDS = 900


@dataclass(frozen=True)
class H2OClusterArgs:
    """The plan, the stack's configuration (for the password), and what one container of a Job asks for."""

    plan: H2OPlan
    images: ImagesPlan
    stack: str
    job: Resources
    config: Mapping[str, Any]


class H2OCluster(pulumi.ComponentResource):
    """StatefulSet, its two Services, rights, NetworkPolicies, budget, export volume, and the Jobs around a resize.

    Nothing of a cluster outlives one of its nodes, so every change of the pods replaces the set whole: `drain` saves
    what is in memory (the set depends on it), the set is deleted and made anew, `fill` loads it (after the set).
    """

    address: str
    """Where clients reach the leader: `http://h2o.<namespace>.svc:54321`, as user `h2o`."""

    def __init__(self, name: str, args: H2OClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("headroom:components:H2OCluster", name, None, opts)
        self._name, self._args, self._plan = name, args, args.plan
        self._owner = self._identity(nodes.NAME, "machine-learning")
        self._job_owner = self._identity(jobs.NAME, "machine-learning")
        self._child = child_options(self, opts)

        login = {} if args.plan.existing_secret else passwords(args.config, SECRETS)
        login_secret = args.plan.existing_secret or "h2o-login"
        spec = nodes.stateful_set_spec(args.plan, self._owner, args.images, login_secret, fingerprint(login))
        spec_hash = content_hash({"template": json.dumps(spec["template"], sort_keys=True)})

        around = [*self._network(), *self._access(), *self._storage()]
        drain = self._job("drain", spec_hash, login_secret, around)
        # Only now: to save what the running cluster holds, its own password is needed, not the next one.
        kept = [secret(f"{name}-login", self._owner, login_secret, login, self._after([drain]))] if login else []
        stateful_set = self._stateful_set(spec, spec_hash, [drain, *kept])
        disruption_budget(
            f"{name}-budget",
            self._owner,
            # One eviction costs the cloud as much as two, but the next waits until it is back.
            {"maxUnavailable": 1},
            args.plan.nodes,
            self._after([stateful_set]),
        )
        self._job("fill", spec_hash, login_secret, [stateful_set])
        self.address = f"http://{nodes.LEADER}.{args.plan.namespace}.svc:{nodes.REST_PORT}"
        self.register_outputs({"address": self.address})

    def _network(self) -> list[KubernetesObject]:
        owner, plan = self._owner, self._plan
        # The leader is known only once the cloud has formed; the set is what is waited for.
        leader = owner.metadata(nodes.LEADER, annotations={"pulumi.com/skipAwait": "true"})
        headless = owner.metadata(nodes.HEADLESS, annotations={"pulumi.com/skipAwait": "true"})
        return [
            self._object("headless", "v1", "Service", headless, {"spec": access.headless_spec(owner)}, self._child),
            self._object("leader", "v1", "Service", leader, {"spec": access.leader_spec(owner)}, self._child),
            self._policy(
                "nodes",
                owner,
                access.nodes_policy(
                    owner,
                    self._job_owner,
                    plan.api_servers,
                    xgboost=plan.xgboost,
                    object_storage=plan.export_s3 is not None,
                ),
            ),
            self._policy("jobs", self._job_owner, access.jobs_policy(owner, self._job_owner, plan.api_servers)),
        ]

    def _policy(self, part: str, owner: Identity, spec: Manifest) -> KubernetesObject:
        body = {"spec": spec}
        return self._object(
            f"{part}-policy", "networking.k8s.io/v1", "NetworkPolicy", owner.metadata(), body, self._child
        )

    def _access(self) -> list[KubernetesObject]:
        nodes_rules, jobs_rules = access.guard_rules(self._plan.nodes.value), access.job_rules()
        return [
            *account(f"{self._name}-nodes", self._owner, nodes_rules, self._child),
            *account(f"{self._name}-jobs", self._job_owner, jobs_rules, self._child),
        ]

    def _storage(self) -> list[KubernetesObject]:
        """What was saved outlives the stack, and so does the record of it."""
        plan = self._plan
        kept = pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(retain_on_delete=True))
        found = [self._object("saved", "v1", "ConfigMap", self._job_owner.metadata(jobs.RECORD), {}, kept)]
        if plan.export_s3 is None:
            claim: Manifest = {
                # Every node writes its part of a frame.
                "accessModes": ["ReadWriteMany"],
                "resources": {"requests": {"storage": plan.export_volume_size.value}},
                **({"storageClassName": plan.storage_class} if plan.storage_class else {}),
            }
            # A claim may wait for its first pod.
            late = {"pulumi.com/skipAwait": "true"}
            metadata = self._owner.metadata(nodes.EXPORT_CLAIM, why=(plan.export_volume_size,), annotations=late)
            found.append(self._object("export", "v1", "PersistentVolumeClaim", metadata, {"spec": claim}, kept))
        return found

    def _stateful_set(self, spec: Manifest, spec_hash: str, needed: list[KubernetesObject]) -> KubernetesObject:
        plan = self._plan
        why: tuple[Sized[Any], ...] = (plan.nodes, plan.heap, plan.native_memory, plan.container_memory)
        metadata = self._owner.metadata(
            why=(*why, plan.resources.cpu_request, plan.resources.cpu_limit),
            annotations={nodes.SPEC_HASH: spec_hash, "pulumi.com/timeoutSeconds": str(FORM_SECONDS)},
            image=plan.image,
        )
        replaced = pulumi.ResourceOptions(
            # The number of nodes and the heap are in the template too. A set scaled by hand is only set back: its
            # nodes never took the others in.
            replace_on_changes=["spec.template"],
            delete_before_replace=True,
        )
        return self._object(
            "nodes",
            "apps/v1",
            "StatefulSet",
            metadata,
            {"spec": spec},
            pulumi.ResourceOptions.merge(self._after(needed), replaced),
        )

    def _job(self, task: str, spec_hash: str, login: str, needed: list[KubernetesObject]) -> KubernetesObject:
        spec = jobs.job_spec(
            task,
            self._plan,
            self._job_owner,
            self._args.images,
            self._args.job,
            spec_hash=spec_hash,
            login_secret=login,
            seconds=JOB_SECONDS,
        )
        # A Job runs once. The name carries what it is for, so that each change of the cluster has Jobs of its own.
        content = content_hash({"spec": json.dumps(spec, sort_keys=True)})
        metadata = self._job_owner.metadata(
            f"h2o-{task}-{content}",
            annotations={"pulumi.com/timeoutSeconds": str(JOB_SECONDS)},
            image=self._plan.image,
        )
        return self._object(task, "batch/v1", "Job", metadata, {"spec": spec}, self._after(needed))

    def _object(
        self, part: str, version: str, kind: str, metadata: Manifest, body: Manifest, opts: pulumi.ResourceOptions
    ) -> KubernetesObject:
        return KubernetesObject(f"{self._name}-{part}", version, kind, metadata, body, opts)

    def _after(self, needed: list[KubernetesObject]) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=needed))

    def _identity(self, name: str, component: str) -> Identity:
        return Identity(name, self._plan.namespace, self._args.stack, component)
