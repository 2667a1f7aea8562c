"""The real node: containerd, kubelet, kube-proxy and CoreDNS in the cluster's namespaces.

What the programs keep in `/run`, `/var/lib` and `/var/log` is there in the cluster's own mount namespace only (see
`room.py`), so their usual paths serve and two clusters do not meet.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from headroom.local import cgroups, machine, pki
from headroom.local.controlplane import Part
from headroom.local.record import Record

NODE = "node-0"
PAUSE_IMAGE = "localhost/headroom-pause:1"
SOCKET = "/run/containerd/containerd.sock"


def prepare(state: Path, record: Record) -> None:
    """Write the node's settings and make its cgroup."""
    cgroups.make(record.cgroup)
    folder = state / "node"
    (folder / "cni").mkdir(parents=True, exist_ok=True)
    (folder / "lib" / "kubelet").mkdir(parents=True, exist_ok=True)
    (state / "volumes").mkdir(exist_ok=True)
    (folder / "containerd.toml").write_text(containerd_settings(folder))
    write(folder / "cni" / "10-headroom.conflist", network_settings(record))
    write(folder / "kubelet.json", kubelet_settings(state, record))
    write(folder / "kube-proxy.json", proxy_settings(state, record))
    (folder / "resolv.conf").write_text("# pods outside of the cluster's DNS resolve nothing\n")
    (folder / "Corefile").write_text(dns_settings(state, record))


def write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2))


def containerd_settings(folder: Path) -> str:
    """containerd's own; `restrict_oom_score_adj` for machines whose root may not lower that score."""
    return f"""version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
restrict_oom_score_adj = {str(not may_lower_oom_score()).lower()}
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{machine.plugins()}"
conf_dir = "{folder / "cni"}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"""


def may_lower_oom_score() -> bool:
    """Whether this process has CAP_SYS_RESOURCE (number 24)."""
    fields = Path("/proc/self/status").read_text().split("CapEff:")[1].split()
    return bool(int(fields[0], 16) >> 24 & 1)


def network_settings(record: Record) -> dict[str, object]:
    """A wire of its own to each pod, routed: unlike on a bridge, all traffic passes kube-proxy's rules both ways."""
    return {
        "cniVersion": "0.4.0",
        "name": "headroom",
        "plugins": [
            {
                "type": "ptp",
                "mtu": 1500,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": str(record.pods)}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def kubelet_settings(state: Path, record: Record) -> dict[str, object]:
    keys = state / "pki"
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(keys / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(keys / "node-server.crt"),
        "tlsPrivateKeyFile": str(keys / "node-server.key"),
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "clusterDNS": [str(record.dns)],
        "clusterDomain": "cluster.local",
        "resolvConf": str(state / "node" / "resolv.conf"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{record.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": -999 if may_lower_oom_score() else 0,
        "maxPods": 250,
        "serializeImagePulls": False,
        # There is no registry: an image that is collected is lost.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "containerLogMaxSize": "10Mi",
        "podLogsDir": "/var/log/pods",
    }


def proxy_settings(state: Path, record: Record) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": str(state / "run" / "kube-proxy.kubeconfig")},
        "hostnameOverride": NODE,
        "clusterCIDR": str(record.pods),
        "iptables": {"minSyncPeriod": "0s"},
        # Sizes of the connection table belong to the whole machine.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def dns_settings(state: Path, record: Record) -> str:
    return f""".:53 {{
    bind {record.address}
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {state / "kubeconfig"}
        pods insecure
        ttl 5
    }}
    cache 5
    loadbalance
}}
"""


def parts(state: Path, record: Record, programs: Mapping[str, Path], context: str) -> list[Part]:
    """The node's processes, in the order to start."""
    for client in ("kubelet", "kube-proxy"):
        pki.kubeconfig(state, record, client, context)
    node = state / "node"
    return [
        Part("containerd", [machine.which("containerd") or "containerd", "--config", str(node / "containerd.toml")]),
        Part(
            "kubelet",
            [
                str(programs["kubelet"]),
                f"--config={node / 'kubelet.json'}",
                f"--kubeconfig={state / 'run' / 'kubelet.kubeconfig'}",
                f"--hostname-override={NODE}",
                f"--node-ip={record.address}",
                "--node-labels=topology.kubernetes.io/region=local,topology.kubernetes.io/zone=local-a",
            ],
        ),
        Part(
            "kube-proxy",
            [str(programs["kube-proxy"]), f"--config={node / 'kube-proxy.json'}", f"--hostname-override={NODE}"],
        ),
        Part(
            "coredns", [str(programs["coredns"]), "-conf", str(node / "Corefile")], {"TMPDIR": os.fspath(state / "run")}
        ),
    ]


def objects(record: Record) -> list[dict[str, object]]:
    """The DNS service: a name and an address for the CoreDNS process on the node."""
    ports = [("dns", "UDP"), ("dns-tcp", "TCP")]
    labels = {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": labels},
            "spec": {
                "clusterIP": str(record.dns),
                "ports": [{"name": name, "port": 53, "protocol": protocol} for name, protocol in ports],
            },
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "kube-dns",
                "namespace": "kube-system",
                "labels": labels | {"kubernetes.io/service-name": "kube-dns"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [str(record.address)], "conditions": {"ready": True}, "nodeName": NODE}],
            "ports": [{"name": name, "port": 53, "protocol": protocol} for name, protocol in ports],
        },
    ]
