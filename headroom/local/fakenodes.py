"""Nodes without machines: kwok answers for them, so that pods are scheduled, become Ready, complete, use CPU on paper.

No software runs in such pods, and everything printed about them says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from headroom.local import pki
from headroom.local.controlplane import Part
from headroom.local.record import Record

ANNOTATION = "kwok.x-k8s.io/node"
TAINT = {"key": ANNOTATION, "value": "fake", "effect": "NoSchedule"}

# Of kwok's own definitions: those that others may add objects of (a stage that labels a leader, a pod's usage).
KINDS = {
    "stages": "Stage",
    "metrics": "Metric",
    "clusterresourceusages": "ClusterResourceUsage",
    "resourceusages": "ResourceUsage",
}
OBJECTS = (
    "stage/node/fast/node-initialize.yaml",
    "stage/node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "stage/pod/fast/pod-ready.yaml",
    "stage/pod/fast/pod-complete.yaml",
    "stage/pod/fast/pod-delete.yaml",
    "metrics/usage/usage-from-annotation.yaml",
    "metrics/resource/metrics-resource.yaml",
)


def part(state: Path, record: Record, programs: Mapping[str, Path], context: str) -> Part:
    """kwok, which touches only the nodes that carry its annotation."""
    return Part(
        "kwok",
        [
            str(programs["kwok"]),
            f"--kubeconfig={pki.kubeconfig(state, record, 'admin', context)}",
            "--manage-all-nodes=false",
            f"--manage-nodes-with-annotation-selector={ANNOTATION}=fake",
            f"--cidr={record.fake_pods}",
            f"--node-ip={record.address}",
            f"--node-port={record.ports['kwok']}",
            f"--server-address={record.address}:{record.ports['kwok']}",
            f"--tls-cert-file={state / 'pki' / 'server.crt'}",
            f"--tls-private-key-file={state / 'pki' / 'server.key'}",
            "--node-lease-duration-seconds=40",
            f"--enable-crds={','.join(KINDS.values())}",
        ],
    )


def definitions(programs: Mapping[str, Path]) -> list[Path]:
    """The files of the definitions that must be there before kwok starts."""
    folder = programs["kwok"].parent / "kustomize"
    return [folder / "crd" / "bases" / f"kwok.x-k8s.io_{kind}.yaml" for kind in KINDS]


def behaviours(programs: Mapping[str, Path]) -> list[Path]:
    """The files that say how nodes and pods behave."""
    return [programs["kwok"].parent / "kustomize" / name for name in OBJECTS]


def name(number: int) -> str:
    return f"fake-{number}"


def node(number: int, *, beside_real: bool) -> dict[str, object]:
    """A node of 128 CPU and 1 TiB. Beside a real node it is tainted: only pods that say so come to it."""
    # Large: a volume binds a fake node as it would a real one, so all pods that share one must fit on one.
    size = {"cpu": "128", "memory": "1Ti", "pods": "500", "ephemeral-storage": "10Ti"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name(number),
            "annotations": {
                ANNOTATION: "fake",
                "metrics.k8s.io/resource-metrics-path": f"/metrics/nodes/{name(number)}/metrics/resource",
            },
            "labels": {
                "kubernetes.io/hostname": name(number),
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "node.kubernetes.io/instance-type": "fake",
                "topology.kubernetes.io/region": "local",
                "topology.kubernetes.io/zone": f"local-{'abc'[number % 3]}",
                "type": "kwok",
            },
        },
        "spec": {"taints": [TAINT]} if beside_real else {},
        "status": {"allocatable": size, "capacity": size},
    }
