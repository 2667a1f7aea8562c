"""H2O has no metrics of its own: what Kubernetes says of its nodes, and what they use."""

from __future__ import annotations

from headroom.capacity.plan.model import Plan
from headroom.capacity.quantities import octets
from monitoring.model import Alert, Group, pods, quoted, series

PATTERN = r"h2o-cluster-[0-9]+"


def group(plan: Plan) -> Group:
    sized = plan.h2o
    if sized is None:
        return Group("h2o", ())
    where, nodes = sized.namespace, sized.nodes.value
    ready = series("kube_statefulset_status_replicas_ready", namespace=where, statefulset="h2o-cluster")
    restarts = series("kube_pod_container_status_restarts_total", pods(PATTERN), namespace=where)
    memory = series("container_memory_working_set_bytes", pods(PATTERN), namespace=where, container="h2o")
    limit = octets(sized.container_memory.value)
    return Group(
        "h2o",
        (
            Alert(
                "H2ONodesMissing",
                f"sum({ready}) < {nodes}",
                15,
                "critical",
                "the H2O cloud is not whole",
                f"{{{{ $value }}}} of {nodes} nodes are ready ({quoted(sized.nodes.because)}).",
            ),
            Alert(
                "H2ONodeRestarted",
                f"sum(increase({restarts}[15m])) > 0",
                1,
                "warning",
                "an H2O node was restarted",
                "What the cloud held in memory is gone unless it was exported: it forms again, empty.",
            ),
            Alert(
                "H2OMemoryNearLimit",
                f"max({memory}) > {0.97 * limit:.0f}",
                5,
                "critical",
                "an H2O node is about to be killed for its memory",
                f"It uses {{{{ $value | humanize1024 }}}}B of {sized.container_memory.value} (heap {sized.heap.value} "
                f"and what lies outside it).",
            ),
        ),
    )
