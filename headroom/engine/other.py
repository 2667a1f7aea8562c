"""Whether the other engine holds the stack: each would overwrite what the other made, and forget to delete it."""

from __future__ import annotations

import json

from headroom.engine import record
from headroom.engine.rendered import Manifest, Rendered
from headroom.errors import InputError
from headroom.kubectl import Kubectl

WORKLOADS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"})
_PULUMI = "pulumi-kubernetes"
"""How the names of the Pulumi provider's field managers begin."""


def not_kubectl(kubectl: Kubectl, rendered: Rendered) -> None:
    """For the Pulumi engine. Raises InputError when there is a stack record in the stack's namespace: reading no other
    needs no rights elsewhere."""
    namespace = rendered.namespace or "default"
    found = kubectl.find("configmap", record.NAME, namespace)
    if found is not None:
        stack = (found.get("data") or {}).get("stack") or "another"
        raise _refused(f"stack {stack} in namespace {namespace} is held by the kubectl engine", stack, "kubectl")


def not_pulumi(kubectl: Kubectl, rendered: Rendered) -> None:
    """For the kubectl engine, when there is no stack record. Raises InputError when Pulumi made a workload of the
    stack; what Pulumi keeps for its data when it goes is no workload."""
    workloads = [o.id.stub() for o in rendered.objects if o.id.kind in WORKLOADS]
    if not workloads:
        return
    text = kubectl.run(
        *("get", "-f", "-", "-o", "json", "--ignore-not-found", "--show-managed-fields"),
        stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": workloads}),
    ).stdout
    answer: Manifest = json.loads(text) if text.strip() else {"kind": "List", "items": []}
    for found in answer["items"] if answer["kind"] == "List" else [answer]:
        if any(m.get("manager", "").startswith(_PULUMI) for m in found["metadata"].get("managedFields") or []):
            what = f"{found['kind'].lower()}/{found['metadata']['name']}"
            raise _refused(f"stack {rendered.stack} is held by Pulumi, which made {what}", rendered.stack, "pulumi")


def _refused(what: str, stack: str, engine: str) -> InputError:
    return InputError(
        what,
        fix=f"go on with it: HEADROOM_ENGINE={engine}; or change over, which keeps the data: "
        f"HEADROOM_ENGINE={engine} headroom down --stack {stack}",
    )
