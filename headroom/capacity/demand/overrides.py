"""A person's number in place of a computed one: what may be replaced in each part, and that it needs a reason."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator

from headroom.capacity import quantities
from headroom.capacity.demand.base import Part
from headroom.capacity.demand.fields import Reason, Replicas, bounded
from headroom.capacity.demand.problem import Problem, closest, value_text
from headroom.capacity.quantities import GI, MI, PI


class Override(Part):
    """`{value, because}`; `value` is a count, or bytes where the setting is a quantity."""

    value: int | Decimal
    because: Reason


class Emergency(Part):
    """Replicas that an incident needs now; raises both bounds of the autoscaler."""

    value: Replicas
    because: Reason


PODS = bounded(quantities.whole, 1, 100_000, fix="a whole number, 1 or more")
COUNT = bounded(quantities.whole, 0, 10**9, fix="a whole number, 0 or more")
POSITIVE = bounded(quantities.whole, 1, 10**9, fix="a whole number, 1 or more")
PERCENT = bounded(quantities.whole, 1, 100, fix="percent, for example 70")
MEMORY = bounded(quantities.octets, MI, 64 * PI, " bytes", "for example 512Mi or 2Gi")
VOLUME = bounded(quantities.octets, GI, 1024 * PI, " bytes", "for example 100Gi")
CPU = bounded(quantities.cores, Decimal("0.001"), 1024, " cores", 'cores, for example "2" or 500m')

SERVICE = {
    "minReplicas": PODS,
    "maxReplicas": PODS,
    "targetCPUUtilization": PERCENT,
    "queueLimit": POSITIVE,
    "workerThreads": bounded(quantities.whole, 1, 1024, fix="threads of one pod"),
    "cacheCapacity": POSITIVE,
    "cpuRequest": CPU,
    "memoryRequest": MEMORY,
}
POSTGRES = {
    "shards": bounded(quantities.whole, 1, 256, fix="1 to 256: one bucket a shard is the least"),
    "volumeSize": VOLUME,
    "shared_buffers": MEMORY,
    "effective_cache_size": MEMORY,
    "maintenance_work_mem": MEMORY,
    "work_mem": MEMORY,
    "max_slot_wal_keep_size": MEMORY,
    "max_connections": bounded(quantities.whole, 10, 100_000, fix="for example 100"),
}
PGBOUNCER = {
    "replicas": PODS,
    "max_client_conn": POSITIVE,
    "default_pool_size": bounded(quantities.whole, 2, 10**6, fix="2 or more"),
    "reserve_pool_size": COUNT,
    "max_db_connections": POSITIVE,
}
REDIS = {"masters": PODS, "maxmemory": MEMORY, "containerMemory": MEMORY, "volumeSize": VOLUME}
H2O = {
    "nodes": PODS,
    "heap": MEMORY,
    "containerMemory": MEMORY,
    "exportVolumeSize": VOLUME,
    "scratchSize": VOLUME,
}


def of(settings: Mapping[str, BeforeValidator]) -> BeforeValidator:
    """A validator for the `override` of a part whose settings these are."""

    def check(raw: object) -> dict[str, Override]:
        if not isinstance(raw, Mapping):
            raise Problem("must be a mapping of settings", fix=FORM)
        return {_known(setting, settings): _one(setting, given, settings) for setting, given in raw.items()}

    return BeforeValidator(check)


FORM = 'write it as maxReplicas: {value: 30, because: "launch day"}'


def _known(setting: object, settings: Mapping[str, Any]) -> str:
    if isinstance(setting, str) and setting in settings:
        return setting
    name = str(setting)[:80]
    raise Problem("is not a setting that can be overridden here", fix=closest(name, settings, "settings"), at=(name,))


def _one(setting: str, given: object, settings: Mapping[str, BeforeValidator]) -> Override:
    if isinstance(given, Override):
        return given
    if not isinstance(given, Mapping):
        raise Problem("needs its value and a reason", fix=FORM.replace("maxReplicas", setting), at=(setting,))
    for key in given:
        if key not in ("value", "because"):
            raise Problem("is not a key of an override", fix=FORM, at=(setting, str(key)[:80]))
    if given.get("value") is None:
        raise Problem("is required, and is not there", fix=FORM, at=(setting, "value"))
    if given.get("because") is None:
        raise Problem(
            "an override needs a reason", fix='add because: "…", for whoever reads the plan', at=(setting, "because")
        )
    try:
        value = settings[setting].func(given["value"])  # type: ignore[call-arg]
    except Problem as problem:
        raise Problem(_named(given["value"], problem.rule), fix=problem.fix, at=(setting, "value")) from problem
    try:
        because = _REASON(given["because"])
    except Problem as problem:
        raise Problem(problem.rule, fix=problem.fix, at=(setting, "because")) from problem
    return Override(value=value, because=because)


def _named(value: object, rule: str) -> str:
    return f"is {value_text(value)}: {rule}"


_REASON = Reason.__metadata__[0].func  # type: ignore[attr-defined]

ServiceOverrides = Annotated[dict[str, Override], of(SERVICE)]
PostgresOverrides = Annotated[dict[str, Override], of(POSTGRES)]
PgBouncerOverrides = Annotated[dict[str, Override], of(PGBOUNCER)]
RedisOverrides = Annotated[dict[str, Override], of(REDIS)]
H2OOverrides = Annotated[dict[str, Override], of(H2O)]
