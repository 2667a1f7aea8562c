"""Heap, nodes and export volume of the H2O cluster."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

from headroom.capacity.demand.h2o import H2ODemand
from headroom.capacity.demand.services import Limits
from headroom.capacity.plan.model import Caution, H2OPlan, Sized
from headroom.capacity.plan.sizing import (
    checked_pods,
    given_or,
    grown,
    overridden,
    overridden_bytes,
    refusal,
    resources,
    small,
)
from headroom.capacity.quantities import GI, figure, memory_text, octets, size_text, volume_text

CPU = Decimal(4)
MEMORY = 16 * GI
HEAP_SHARE = Fraction(5, 8)
XGBOOST_SHARE = Fraction(1, 2)
FRAME_FACTOR = 4
"""Frames want about four times their size: themselves and what algorithms make of them."""
NODES = 3
EXPORT_FACTOR = 2
SCRATCH_GIB = 3
"""Logs, and the native libraries that the jar unpacks."""
NO_COMPRESSED_POINTERS = (32, 48)
GUARD = {"guard": small("10m", "32Mi", "100m", "64Mi", "keeps the leader's label true and the cluster whole")}


def plan_h2o(
    demand: H2ODemand, namespace: str, image: str, months: int = 0
) -> tuple[H2OPlan, list[Sized[int] | Sized[Decimal] | Sized[str]], list[Caution]]:
    """Size the cluster. Raises InputError where a heap does not fit, or the data does not fit the nodes."""
    given = memory_text(demand.node.memory) if demand.node.memory is not None else None
    container = overridden_bytes(
        given_or("containerMemory", given, memory_text(MEMORY), key="node.memory"), demand.override
    )
    heap = _heap(demand, container.value)
    gib = octets(heap.value) // GI
    native = memory_text(octets(container.value) - octets(heap.value))
    load = demand.demand
    data = grown(load.dataset, load.growth, months) if load else None
    nodes = _nodes(demand, data, gib)
    limits = demand.node.limits or Limits()
    memory = Sized("memoryRequest", octets(container.value), "", "containerMemory", container.bound_by)
    plan = H2OPlan(
        namespace=namespace,
        image=image,
        nodes=nodes,
        heap=heap,
        native_memory=Sized("nativeMemory", native, "", f"{container.value} - heap {heap.value} = {native}", "heap"),
        container_memory=container,
        resources=resources(
            "h2o.node",
            given_or("cpuRequest", demand.node.cpu, CPU, key="node.cpu"),
            memory,
            limits.cpu,
            limits.memory,
            memory_factor=1,
            cpu_factor=1,
        ),
        export_volume_size=_export(demand, data, nodes.value * gib),
        scratch_size=_scratch(demand, gib),
        discovery=demand.discovery,
        xgboost=demand.xgboost,
        storage_class=demand.export_volume.storage_class,
        existing_secret=demand.existing_secret,
        api_servers=demand.api_servers,
        export_s3=demand.export_volume.s3,
        sidecars=GUARD,
    )
    warnings = []
    low, high = NO_COMPRESSED_POINTERS
    if low <= gib < high:
        warnings.append(
            Caution(
                "h2o",
                f"a heap of {heap.value} lies between {low} and {high} GB, where the JVM loses compressed object "
                "pointers: it holds about as much as a smaller one; prefer more nodes of 48Gi (heap 30Gi)",
            )
        )
    return plan, [], warnings


def _heap(demand: H2ODemand, container: str) -> Sized[str]:
    memory = octets(container)
    share = XGBOOST_SHARE if demand.xgboost else HEAP_SHARE
    gib = floor(share * Fraction(memory, GI))
    if gib < 1:
        raise refusal(
            "h2o.node.memory",
            f"is {container}, which leaves no whole GiB of heap ({figure(share)} of it)",
            f"{ceil(1 / share)}Gi or more",
        )
    why = f"floor({figure(share)} × {figure(Fraction(memory, GI))} GiB) = {gib}"
    if demand.xgboost:
        why += "; XGBoost takes as much again outside the heap"
    computed = Sized("heap", f"{gib}Gi", "", why, "xgboost" if demand.xgboost else "memory")
    found = overridden_bytes(computed, demand.override)
    if octets(found.value) % GI:
        raise refusal("h2o.override.heap.value", f"is {found.value}: the heap is whole GiB", f"for example {gib}Gi")
    most = floor((XGBOOST_SHARE if demand.xgboost else Fraction(3, 4)) * Fraction(memory, GI))
    if octets(found.value) > most * GI:
        raise refusal(
            "h2o.override.heap.value",
            f"is {found.value}, and does not fit a container of {container} beside what H2O keeps outside it",
            f"at most {most}Gi, or more node.memory" if most else "more node.memory",
        )
    return found


def _nodes(demand: H2ODemand, data: Fraction | None, heap_gib: int) -> Sized[int]:
    if data is None:
        return overridden(Sized("nodes", NODES, "pods", "default where no demand is given", "default"), demand.override)
    count = checked_pods("h2o.demand.dataset", max(1, ceil(FRAME_FACTOR * data / (heap_gib * GI))), data)
    why = f"ceil({FRAME_FACTOR} × {size_text(data)} / {heap_gib}Gi heap) = {count}"
    found = overridden(Sized("nodes", count, "pods", why, "data"), demand.override)
    if found.value < count:
        holds = Fraction(found.value * heap_gib * GI, FRAME_FACTOR)
        raise refusal(
            "h2o.override.nodes.value",
            f"is {found.value}, which hold a data set of {size_text(holds)}; {why} for this one",
            f"{count} or more",
        )
    return found


def _export(demand: H2ODemand, data: Fraction | None, heap_gib: int) -> Sized[str]:
    held = data if data is not None else Fraction(heap_gib * GI, FRAME_FACTOR)
    what = size_text(held) if data is not None else f"the {size_text(held)} that the nodes can hold"
    text = volume_text(EXPORT_FACTOR * held)
    if demand.export_volume.size is not None:
        found = Sized(
            "exportVolumeSize", volume_text(demand.export_volume.size), "", "given in exportVolume.size", "given"
        )
    else:
        found = Sized("exportVolumeSize", text, "", f"{EXPORT_FACTOR} × {what} = {text}", "data")
    found = overridden_bytes(found, demand.override, volume=True)
    if octets(found.value) < held:
        raise refusal(
            "h2o.exportVolume.size", f"is {found.value}, and must hold {what} around a resize", f"{text} is safe"
        )
    return found


def _scratch(demand: H2ODemand, heap_gib: int) -> Sized[str]:
    """The node's own disk, which Kubernetes evicts a pod for exceeding: H2O spills what its heap cannot keep."""
    text = f"{heap_gib + SCRATCH_GIB}Gi"
    why = f"heap {heap_gib}Gi, spilled whole, + {SCRATCH_GIB}Gi of logs and libraries = {text}"
    found = overridden_bytes(Sized("scratchSize", text, "", why, "heap"), demand.override, volume=True)
    if octets(found.value) < SCRATCH_GIB * GI:
        raise refusal(
            "h2o.override.scratchSize.value",
            f"is {found.value}, and logs and libraries alone take up to {SCRATCH_GIB}Gi",
            f"{text} is safe",
        )
    return found
