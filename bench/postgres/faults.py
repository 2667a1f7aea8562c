"""What may happen to a shard's primary, each with what undoes it, and how long writes stop meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import psycopg

from bench.postgres.ledger import Ledger
from bench.postgres.site import NAMESPACE, Site, delete_pod, until
from headroom.local import containers, faults, record

Fault = Callable[[Site, str], AbstractContextManager[None]]


def _deleted(site: Site, pod: str) -> AbstractContextManager[None]:
    delete_pod(site, pod)
    return nullcontext()


def _grace_1(site: Site, pod: str) -> AbstractContextManager[None]:
    delete_pod(site, pod, grace=1)
    return nullcontext()


def _sigkill(site: Site, pod: str) -> AbstractContextManager[None]:
    faults.kill(site.cluster, NAMESPACE, pod)
    return nullcontext()


@contextmanager
def cut_from_api(site: Site, pod: str) -> Iterator[None]:
    """A pod that does not reach the API server for the length of the block, and everybody else as before."""
    address = faults.get(site.cluster, NAMESPACE, pod)["status"]["podIP"]
    known = record.load(site.cluster.state)
    assert known is not None
    port = str(known.ports["kube-apiserver"])
    rule = ["INPUT", "--source", address, "--protocol", "tcp", "--destination-port", port, "--jump", "DROP"]
    containers.inside(site.cluster.state, ["iptables", "--wait", "--insert", *rule])
    try:
        yield
    finally:
        containers.inside(site.cluster.state, ["iptables", "--wait", "--delete", *rule])


FAULTS: dict[str, tuple[Fault, float]] = {
    "pod deleted": (_deleted, 5),
    "pod killed with grace 1": (_grace_1, 5),
    "processes killed with SIGKILL": (_sigkill, 5),
    "pod frozen": (lambda site, pod: faults.frozen(site.cluster, NAMESPACE, pod), 30),
    "pod cut off": (lambda site, pod: faults.cut_off(site.cluster, NAMESPACE, pod), 30),
}
"""By name: the fault, and the seconds within which writes must be accepted again."""


@dataclass(frozen=True)
class Outcome:
    """`outage_s`: the longest time without an acknowledged write; `back_s`: until a synchronous standby is there again,
    from the moment that the fault ended; `lost`: acknowledged writes that are gone."""

    outage_s: float
    back_s: float
    acknowledged: int
    lost: int
    former: str
    leader: str


def suffer(site: Site, shard: int, name: str, settle_s: float = 180) -> Outcome:
    """Do it to the shard's primary under write load, wait until another one leads and the shard is whole again."""
    fault = FAULTS[name][0]
    site.settle(shard, settle_s)
    former = site.leader(shard)
    assert former is not None
    ledger = Ledger(site.address(), site.map(), shard, f"fault{time.time_ns()}")
    with ledger.writing():
        ledger.wait_for(100)
        began = time.monotonic()
        with fault(site, former):
            until(lambda: site.leader(shard) not in (None, "", former), 60, f"another leader of shard {shard}")
            ledger.wait_for(200)
        back = site.settle(shard, settle_s)
        ledger.wait_for(100)
    with psycopg.connect(site.direct(shard)) as connection:
        lost = ledger.lost(connection)
    leader = site.leader(shard) or ""
    return Outcome(ledger.outage(began), back, len(ledger.acknowledged), len(lost), former, leader)


def switch_over(site: Site, shard: int) -> Outcome:
    """Hand the shard to its standby, as one does before maintenance, under write load."""
    site.settle(shard)
    former = site.leader(shard)
    assert former is not None
    ledger = Ledger(site.address(), site.map(), shard, f"switch{time.time_ns()}")
    with ledger.writing():
        ledger.wait_for(100)
        began = time.monotonic()
        site.patronictl(former, "switchover", f"pg-shard-{shard}", "--force")
        ledger.wait_for(200)
        back = site.settle(shard)
    with psycopg.connect(site.direct(shard)) as connection:
        lost = ledger.lost(connection)
    return Outcome(ledger.outage(began), back, len(ledger.acknowledged), len(lost), former, site.leader(shard) or "")
