"""Transactions a second of many clients, through PgBouncer and directly, by pgbench in the standby's pod.

The clients run beside the standby, so that both ways cross the pods' network.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bench.postgres.site import NAMESPACE, Site
from inference.shards import schema_of


@dataclass(frozen=True)
class Rates:
    """Transactions a second."""

    direct: float
    pooled: float


def rates(site: Site, clients: int, seconds: int) -> Rates:
    """One turn of each: so many connections, each of which reads a row by its key, again and again."""
    bucket = site.map().owners.index(0)
    script = f"\\set n random(1, 1000)\nSELECT features FROM {schema_of(bucket)}.features WHERE entity_id = :n::text;\n"
    return Rates(
        direct=_run(site, script, "-h pg-shard-0 -p 5432 -U features features", clients, seconds),
        pooled=_run(site, script, "-h pgbouncer -p 6432 -U features features_0", clients, seconds),
    )


def _run(site: Site, script: str, target: str, clients: int, seconds: int) -> float:
    leader = site.leader(0)
    assert leader is not None
    # The password comes first on standard input, and is in no argument.
    inside = (
        "read -r PGPASSWORD; export PGPASSWORD; cat >/tmp/bench.sql; "
        f"pgbench -n -M simple -f /tmp/bench.sql -c {clients} -j 2 -T {seconds} {target}"
    )
    done = site.kubectl.run(
        *("exec", "-i", "-n", NAMESPACE, site.other(0, leader), "-c", "postgres", "--", "bash", "-c", inside),
        stdin=f"{site.password()}\n{script}",
        timeout=seconds + 120,
    )
    found = re.search(r"tps = ([0-9.]+)", done.stdout)
    if not found:
        raise RuntimeError(f"pgbench said: {done.stdout[-300:]} {done.stderr[-300:]}")
    return float(found[1])
