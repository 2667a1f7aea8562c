"""Failover, switchover and throughput of sharded PostgreSQL behind PgBouncer, on real pods (Linux, root).

HEADROOM_TEST_CLUSTER names a cluster with a real node that is there already; else one is made and removed.
ROUNDS says how often each fault is done (5 by default); FAULTS chooses among them, separated by commas.
"""

from __future__ import annotations

import copy
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.postgres.faults import FAULTS, suffer, switch_over
from bench.postgres.site import CONFIG, Site
from bench.postgres.throughput import rates
from bench.report import Measurement, median, worst
from headroom import local

CLUSTER = "headroom-bench-postgres"


def measure() -> Iterator[Measurement]:
    """The figures of the postgres area."""
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    rounds = int(os.environ.get("ROUNDS", "5"))
    chosen = [n for n in os.environ.get("FAULTS", "").split(",") if n] or list(FAULTS)
    with _site() as site:
        yield from _throughput(site)
        lost, acknowledged = [], 0
        for name in chosen:
            outcomes = [suffer(site, turn % 2, name) for turn in range(rounds)]
            outages = [o.outage_s for o in outcomes]
            target = f"<= {FAULTS[name][1]:g}"
            yield median(f"{name}: writes accepted again, median", outages, "s")
            yield worst(f"{name}: writes accepted again, worst", outages, "s", target)
            yield worst(f"{name}: standby reattached, worst", [o.back_s for o in outcomes], "s", "<= 60")
            lost += [float(o.lost) for o in outcomes]
            acknowledged += sum(o.acknowledged for o in outcomes)
        switches = [switch_over(site, turn % 2) for turn in range(rounds)]
        yield median("planned switchover, median", [o.outage_s for o in switches], "s")
        yield worst("planned switchover, worst", [o.outage_s for o in switches], "s", "<= 3")
        lost += [float(o.lost) for o in switches]
        acknowledged += sum(o.acknowledged for o in switches)
        yield Measurement("acknowledged writes in all of it", acknowledged, "writes", "", (float(acknowledged),))
        yield Measurement("acknowledged writes lost", sum(lost), "writes", "<= 0", tuple(lost))


def _throughput(site: Site) -> Iterator[Measurement]:
    """Through PgBouncer beside a direct connection, in turns, so that a slow spell of the machine meets both."""
    equal = [rates(site, clients=20, seconds=5) for _ in range(5)]
    yield median("20 clients, direct", [r.direct for r in equal], "transactions/s")
    yield median("20 clients, through PgBouncer", [r.pooled for r in equal], "transactions/s")
    yield median("20 clients, PgBouncer / direct", [r.pooled / r.direct for r in equal], "ratio", ">= 0.8")
    # 500 direct connections need a server that admits them; PgBouncer's pools stay as they are.
    roomy = copy.deepcopy(CONFIG)
    roomy["headroom:postgres"]["maxConnections"] = 600
    site.up(roomy)
    crowd = [rates(site, clients=500, seconds=8) for _ in range(3)]
    yield median("500 clients, direct", [r.direct for r in crowd], "transactions/s")
    yield median("500 clients, through PgBouncer", [r.pooled for r in crowd], "transactions/s")
    yield median("500 clients, PgBouncer / direct", [r.pooled / r.direct for r in crowd], "ratio", ">= 1")
    site.up()


@contextmanager
def _site() -> Iterator[Site]:
    given = local.find(os.environ.get("HEADROOM_TEST_CLUSTER") or "no-cluster-has-this-name")
    cluster = given or local.up(CLUSTER, nodes="real")
    with tempfile.TemporaryDirectory() as folder:
        site = Site(cluster, Path(folder))
        try:
            site.up()
            yield site
        finally:
            site.down() if given else local.down(CLUSTER)
