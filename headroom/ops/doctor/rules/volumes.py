"""Claims without a volume, and volumes without room."""

from __future__ import annotations

from collections.abc import Iterator

from headroom.capacity.plan.model import Plan
from headroom.capacity.quantities import GI
from headroom.kubectl import Manifest
from headroom.ops.doctor import objects
from headroom.ops.doctor.model import Finding, Severity
from headroom.ops.doctor.snapshot import Snapshot

FULL = 0.95
FILLING = 0.85
"""The plan keeps a volume below 70 % for a year's growth: at this share the plan is overtaken."""
_DEFAULT = "storageclass.kubernetes.io/is-default-class"


def unprovisioned(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """A claim that is not bound although a pod waits for it, or that nobody will ever serve."""
    classes = {objects.name(c): c for c in seen.storage_classes}
    default = next((n for n, c in classes.items() if _is_default(c)), None)
    for claim in seen.claims:
        phase = claim.get("status", {}).get("phase")
        if phase == "Bound" or objects.leaving(claim):
            continue
        wanted = claim["spec"].get("storageClassName") or default
        failing = objects.events(seen, claim, "ProvisioningFailed", kind="PersistentVolumeClaim")
        waits = [objects.place(p) for p in objects.living(seen) if _uses(p, claim)]
        late = classes.get(wanted or "", {}).get("volumeBindingMode") == "WaitForFirstConsumer"
        if phase != "Lost" and not failing and wanted in classes and (late and not waits):
            continue
        if phase == "Lost":
            because, fix = "its volume was deleted", "restore the volume, or delete the claim and let it be made anew"
        elif wanted is None:
            because = "it names no storage class, and the cluster has no default one"
            fix = "kubectl annotate storageclass NAME storageclass.kubernetes.io/is-default-class=true"
        elif wanted not in classes:
            because = f"there is no storage class {wanted}"
            fix = f"set the part's storageClass to one of {objects.listed(sorted(classes)) or '(none)'}; then "
            fix += f"headroom up --stack {plan.stack}"
        else:
            by = classes[wanted].get("provisioner")
            because = f"the provisioner {by} has made no volume for it"
            because += ": it refuses" if failing else "; it may not run, or has no room"
            fix = f"kubectl describe pvc -n {objects.namespace(claim)} {objects.name(claim)}"
        yield Finding(
            anchor="volume-is-not-provisioned",
            severity=Severity.error,
            component=objects.component(claim),
            subject=f"claim {objects.place(claim)}",
            symptom=f"is {phase or 'Pending'}" + (f", and {objects.listed(waits)} waits for it" if waits else ""),
            because=because,
            fix=fix,
            evidence=tuple(failing[:3]),
        )


def full(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """File systems of claims that are full or will be soon."""
    for volume in seen.volumes:
        if volume.share < FILLING:
            continue
        claim = next((c for c in seen.claims if objects.place(c) == f"{volume.namespace}/{volume.claim}"), None)
        component = objects.component(claim) if claim else "cluster"
        yield Finding(
            anchor="volume-is-full",
            severity=Severity.error if volume.share >= FULL else Severity.warning,
            component=component,
            subject=f"claim {volume.namespace}/{volume.claim} of pod {volume.pod}",
            symptom=f"is {volume.share:.0%} full",
            because="it holds more than the plan's data set with its growth, or something else fills the same disk",
            fix=_fix(plan, component),
            evidence=(f"{volume.used / GI:,.1f} GiB used, {volume.available / GI:,.1f} GiB left",),
        )


def _fix(plan: Plan, component: str) -> str:
    key = {
        "postgres": "headroom:postgres.demand.dataset (or growth)",
        "redis": "headroom:redis.override.volumeSize",
        "h2o": "headroom:h2o.demand.dataset",
    }.get(component, "what asks for it")
    return f"raise {key}; then headroom up --stack {plan.stack} (claims grow where the storage class can expand)"


def _uses(pod: Manifest, claim: Manifest) -> bool:
    names = [(v.get("persistentVolumeClaim") or {}).get("claimName") for v in pod["spec"].get("volumes") or []]
    return objects.namespace(pod) == objects.namespace(claim) and objects.name(claim) in names


def _is_default(storage_class: Manifest) -> bool:
    return (storage_class["metadata"].get("annotations") or {}).get(_DEFAULT) == "true"
