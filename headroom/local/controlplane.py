"""etcd, the API server, the controllers and the scheduler: which processes, with which arguments.

`kwokctl` could start these as well; they are started here so that each is recorded before it runs, lives in the
cluster's namespaces, and is repaired alone when it dies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headroom.local import pki
from headroom.local.record import Record


@dataclass(frozen=True)
class Part:
    """One lasting process of the cluster."""

    name: str
    argv: list[str]
    env: Mapping[str, str] = field(default_factory=dict)


def parts(state: Path, record: Record, programs: Mapping[str, Path], context: str) -> list[Part]:
    """The control plane, in the order to start. All of it may start at once: each waits for those it needs."""
    keys = state / "pki"
    etcd, peer = (f"http://127.0.0.1:{record.ports[part]}" for part in ("etcd", "etcd-peer"))

    def config(client: str) -> str:
        return str(pki.kubeconfig(state, record, client, context))

    return [
        Part(
            "etcd",
            [
                str(programs["etcd"]),
                f"--data-dir={state / 'etcd'}",
                f"--listen-client-urls={etcd}",
                f"--advertise-client-urls={etcd}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
                "--log-level=warn",
                # A cluster that is made again in seconds need not survive a power cut.
                "--unsafe-no-fsync",
            ],
        ),
        Part(
            "kube-apiserver",
            [
                str(programs["kube-apiserver"]),
                f"--etcd-servers={etcd}",
                f"--secure-port={record.ports['kube-apiserver']}",
                f"--bind-address={record.address if record.room == 'loopback' else '0.0.0.0'}",  # noqa: S104 in its own namespace
                f"--advertise-address={record.address}",
                # Endpoints of the API server cannot be loopback addresses; without a room there is nobody to use them.
                *(["--endpoint-reconciler-type=none"] if record.room == "loopback" else []),
                f"--service-cluster-ip-range={record.services}",
                "--authorization-mode=Node,RBAC",
                "--allow-privileged=true",
                "--profiling=false",
                f"--client-ca-file={keys / 'ca.crt'}",
                f"--tls-cert-file={keys / 'server.crt'}",
                f"--tls-private-key-file={keys / 'server.key'}",
                f"--kubelet-client-certificate={keys / 'kubelet-client.crt'}",
                f"--kubelet-client-key={keys / 'kubelet-client.key'}",
                "--kubelet-preferred-address-types=InternalIP",
                "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
                f"--service-account-key-file={keys / 'service-accounts.pub'}",
                f"--service-account-signing-key-file={keys / 'service-accounts.key'}",
                f"--requestheader-client-ca-file={keys / 'front-proxy-ca.crt'}",
                "--requestheader-allowed-names=front-proxy-client",
                "--requestheader-extra-headers-prefix=X-Remote-Extra-",
                "--requestheader-group-headers=X-Remote-Group",
                "--requestheader-username-headers=X-Remote-User",
                f"--proxy-client-cert-file={keys / 'front-proxy.crt'}",
                f"--proxy-client-key-file={keys / 'front-proxy.key'}",
            ],
        ),
        Part(
            "kube-controller-manager",
            [
                str(programs["kube-controller-manager"]),
                f"--kubeconfig={config('kube-controller-manager')}",
                f"--authentication-kubeconfig={config('kube-controller-manager')}",
                f"--authorization-kubeconfig={config('kube-controller-manager')}",
                f"--secure-port={record.ports['kube-controller-manager']}",
                "--bind-address=127.0.0.1",
                "--leader-elect=false",
                "--profiling=false",
                # Its first look comes a period after an autoscaler is made, and every `up` waits for that.
                "--horizontal-pod-autoscaler-sync-period=5s",
                "--use-service-account-credentials=true",
                f"--root-ca-file={keys / 'ca.crt'}",
                f"--service-account-private-key-file={keys / 'service-accounts.key'}",
                f"--cluster-signing-cert-file={keys / 'ca.crt'}",
                f"--cluster-signing-key-file={keys / 'ca.key'}",
            ],
        ),
        Part(
            "kube-scheduler",
            [
                str(programs["kube-scheduler"]),
                f"--kubeconfig={config('kube-scheduler')}",
                f"--authentication-kubeconfig={config('kube-scheduler')}",
                f"--authorization-kubeconfig={config('kube-scheduler')}",
                f"--secure-port={record.ports['kube-scheduler']}",
                "--bind-address=127.0.0.1",
                "--leader-elect=false",
                "--profiling=false",
            ],
        ),
        Part(
            "metrics-server",
            [
                str(programs["metrics-server"]),
                f"--kubeconfig={config('admin')}",
                f"--authentication-kubeconfig={config('admin')}",
                f"--authorization-kubeconfig={config('admin')}",
                f"--secure-port={record.ports['metrics-server']}",
                "--bind-address=127.0.0.1",
                f"--tls-cert-file={keys / 'server.crt'}",
                f"--tls-private-key-file={keys / 'server.key'}",
                "--kubelet-insecure-tls",
                "--kubelet-use-node-status-port",
                "--kubelet-preferred-address-types=InternalIP",
                "--metric-resolution=15s",
            ],
        ),
        Part(
            "local-volumes",
            [str(programs["local-volumes"]), f"--kubeconfig={config('admin')}", f"--root={state / 'volumes'}"],
        ),
    ]


def objects(record: Record) -> list[dict[str, object]]:
    """What the processes beside the control plane need in the API."""
    return [
        *aggregated_api("v1beta1.metrics.k8s.io", "metrics-server", record.ports["metrics-server"]),
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": "local", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            "provisioner": "headroom.dev/local-volumes",
            "volumeBindingMode": "WaitForFirstConsumer",
            "reclaimPolicy": "Delete",
            "allowVolumeExpansion": True,
        },
    ]


def aggregated_api(name: str, service: str, port: int) -> list[dict[str, object]]:
    """An API served by a process beside the API server, where the Service's name leads: localhost."""
    version, _, group = name.partition(".")
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": service, "namespace": "kube-system"},
            "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": name},
            "spec": {
                "group": group,
                "version": version,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "insecureSkipTLSVerify": True,
                "service": {"name": service, "namespace": "kube-system", "port": port},
            },
        },
    ]
