"""Volumes that grow, and volumes that nobody may fill. They come last: what has grown does not shrink again."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import pytest

from bench.postgres.ledger import Ledger
from bench.postgres.site import CONFIG, NAMESPACE, Site, until
from headroom.local import faults

pytestmark = pytest.mark.e2e

SHARD = 0


def test_claims_grow_under_pods_that_go_on(
    settled: Site, ledger: Callable[..., Ledger], nothing_lost: Callable[[Ledger], None]
) -> None:
    """What may be kept for a standby follows from the volume, and grows with it."""
    before = lasting(settled)
    larger = copy.deepcopy(CONFIG)
    larger["headroom:postgres"]["override"]["volumeSize"]["value"] = "3Gi"
    written = ledger(SHARD)
    with written.writing():
        written.wait_for(50)
        settled.up(larger)
        until(lambda: sizes(settled) == {"3Gi"}, 60, "the claims have grown")
        written.wait_for(50)
    assert lasting(settled) == before
    leader = settled.leader(SHARD)
    assert leader is not None
    assert settled.sql(leader, "SHOW max_slot_wal_keep_size") == "307MB"
    nothing_lost(written)


def lasting(site: Site) -> dict[str, str]:
    """The pods that are to stay, by name: neither a Job's nor one on its way out."""
    pods = [p["metadata"] for p in site.kubectl.items("pods", NAMESPACE) if "deletionTimestamp" not in p["metadata"]]
    return {p["name"]: p["uid"] for p in pods if p["ownerReferences"][0]["kind"] != "Job"}


def sizes(site: Site) -> set[str]:
    """What the claims' volumes have."""
    return {c["status"]["capacity"]["storage"] for c in site.kubectl.items("persistentvolumeclaims", NAMESPACE)}


@pytest.mark.slow
def test_a_standby_that_stays_away_cannot_fill_the_volume_and_is_made_anew(settled: Site) -> None:
    """It misses more than may be kept for it: then its slot is given up, the WAL goes, and a new copy mends it."""
    leader = settled.leader(SHARD)
    assert leader is not None
    standby = settled.other(SHARD, leader)
    limit = int(settled.sql(leader, "SELECT setting FROM pg_settings WHERE name = 'max_slot_wal_keep_size'"))
    with faults.frozen(settled.cluster, NAMESPACE, standby):
        until(lambda: settled.sync(SHARD) != standby, 60, "it goes on alone")
        began = segments(settled, leader)
        # A segment is 16 MB, however little is in it.
        switch = "SELECT pg_switch_wal() FROM pg_logical_emit_message(true, 'a', 'b')"
        for _ in range(2 * limit // 16):
            settled.sql(leader, switch, "postgres")
        settled.sql(leader, "CHECKPOINT", "postgres")
        assert segments(settled, leader) - began < limit // 16 + 8
        # Patroni drops a slot that is lost, and makes a new one that holds nothing yet.
        held = "SELECT count(*) FROM pg_replication_slots WHERE restart_lsn IS NOT NULL AND wal_status <> 'lost'"
        assert settled.sql(leader, held) == "0"
    time.sleep(5)
    settled.settle(SHARD, 240)
    assert settled.leader(SHARD) == leader


def segments(site: Site, pod: str) -> int:
    """Files of WAL that is kept, of 16 MB each. Those that are named for what comes are former ones, used again."""
    names = "name ~ '^[0-9A-F]{24}$' AND name <= pg_walfile_name(pg_current_wal_lsn())"
    return int(site.sql(pod, f"SELECT count(*) FROM pg_ls_waldir() WHERE {names}"))  # noqa: S608
