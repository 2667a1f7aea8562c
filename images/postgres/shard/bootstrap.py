"""The Job that brings every shard to what the stack says: settings in force, database, roles' rights, buckets.

It looks first and does only what is missing, so it may run at any time and any number of times. A new store gets the
even map of its number of shards; one that has a map keeps it, for buckets move in a Job of their own. Exit 3: a shard
refuses its place, and running it again would not help.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import authority
import psycopg

from headroom.capacity.plan.buckets import owners
from shard import buckets, node
from shard.reshard import lease, tables
from shard.rest import Member, merge_patch

log = logging.getLogger("bootstrap")
WORK = Path("/tmp")  # noqa: S108  a volume of the pod's own
WAIT_S = 600.0
PAUSE_S = 1.0


@dataclass(frozen=True)
class Shard:
    """One shard as the Job reaches it."""

    number: int
    namespace: str
    copies: int
    password: str
    rest_password: str
    trusted: Path
    """Certificates (PEM) that the shard's pods are checked against."""

    @property
    def name(self) -> str:
        return f"pg-shard-{self.number}"

    def members(self) -> list[Member]:
        pods = f"{self.name}-pods.{self.namespace}.svc"
        trusted = self.trusted.read_text()
        return [Member(f"{self.name}-{n}.{pods}", self.rest_password, trusted) for n in range(self.copies)]

    def connect(self, database: str) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=f"{self.name}.{self.namespace}.svc",
            user="postgres",
            password=self.password,
            dbname=database,
            sslmode="verify-full",
            sslrootcert=str(self.trusted),
            channel_binding="require",
            connect_timeout=3,
            target_session_attrs="read-write",
            autocommit=True,
            application_name="bootstrap",
        )


def main() -> int:
    """All shards at once, then their buckets; 0 when every one is as it should be."""
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    count = int(os.environ["SHARDS"])
    settings = json.loads(node.SETTINGS.read_text())
    shard = reach(os.environ["NAMESPACE"], int(os.environ["COPIES"]), WORK)
    shards = [shard(n) for n in range(count)]
    with ThreadPoolExecutor(min(16, count)) as pool:
        outcomes = list(pool.map(lambda one: told(one, lambda: bring_up(one, settings, count)), shards))
        if any(outcomes):
            return max(outcomes)
        return told(shards[0], lambda: distribute(shards, shard, pool))


def reach(namespace: str, copies: int, work: Path) -> Callable[[int], Shard]:
    """How a Job reaches the shards, by their numbers. `work` takes the certificates that they are checked against."""
    secret = node.passwords()
    trusted = work / "ca.crt"
    trusted.write_text(authority.Trust(work).bundle(secret[node.AUTHORITY_SEED]))
    logins = secret["postgresSuperuser"], node.rest_password(secret)
    return lambda number: Shard(number, namespace, copies, *logins, trusted)


def told(shard: Shard, work: Callable[[], None]) -> int:
    """An exit code; what went wrong is in the log, by the shard's number."""
    try:
        work()
    except buckets.Refused as refused:
        log.error("%s: %s", shard.name, refused)  # noqa: TRY400  a trace would hide the reason
        return 3
    except Exception as error:
        log.error("%s: %s: %s", shard.name, type(error).__name__, str(error).strip())  # noqa: TRY400
        return 1
    return 0


def bring_up(shard: Shard, settings: dict[str, Any], count: int) -> None:
    """One shard without its buckets. Raises Refused for the data of another."""
    apply_settings(shard, settings)
    with patiently(shard, "postgres") as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (node.DATABASE,)).fetchone()
        if not found:
            connection.execute(f"CREATE DATABASE {node.DATABASE}")
        connection.execute(
            f"REVOKE ALL ON DATABASE {node.DATABASE} FROM PUBLIC; "
            f"GRANT CONNECT, TEMPORARY ON DATABASE {node.DATABASE} TO features; "
            f"GRANT CONNECT ON DATABASE {node.DATABASE} TO pooler, replicator"
        )
    with patiently(shard, node.DATABASE) as connection:
        buckets.ensure_common(connection, shard.number, count)
        tables.ensure(connection)
    log.info("%s: settings, database and rights are as they should be", shard.name)


def distribute(shards: list[Shard], shard: Callable[[int], Shard], pool: ThreadPoolExecutor) -> None:
    """Have every shard own what the map gives it; without a map, make one. While buckets move, the mover sees to it.

    Raises Refused.
    """
    with patiently(shards[0], node.DATABASE) as lead:
        row = lead.execute("SELECT pg_try_advisory_lock(%s)", (lease.KEY,)).fetchone()
        if not (row and row[0]):
            log.info("buckets are moving: the Job that moves them sees to them")
            return
        held = lead.execute("SELECT version, owners FROM headroom.map").fetchone()
        if held is None:
            held = (1, first_map(lead, len(shards), shard))
            lead.execute("INSERT INTO headroom.map (version, owners) VALUES (%s, %s)", (held[0], list(held[1])))
        moving = {b for (b,) in lead.execute("SELECT bucket FROM headroom.move WHERE step NOT IN ('planned', 'done')")}
        version, owned_by = held

        def own(one: Shard) -> None:
            with patiently(one, node.DATABASE) as connection:
                mine = [bucket for bucket, owner in enumerate(owned_by) if owner == one.number]
                made = buckets.ensure(connection, mine, moving)
                tables.copy_map(connection, version, owned_by)
            log.info("%s: %d buckets, %d of them made now, map version %d", one.name, len(mine), made, version)

        list(pool.map(own, shards))


def first_map(lead: psycopg.Connection[Any], count: int, shard: Callable[[int], Shard]) -> list[int]:
    """Buckets stay on the shards that have them, from before there was a map in the databases or from a first start
    that was cut off; all others are spread evenly. Raises Refused where two shards have the same one."""
    row = lead.execute("SELECT shards FROM headroom.shard").fetchone()
    made, found = list(owners(count)), dict[int, int]()
    for number in range(max(count, row[0] if row else 0)):
        with patiently(shard(number), node.DATABASE) as connection:
            for bucket in buckets.recorded(connection):
                if bucket in found:
                    raise buckets.Refused(
                        f"bucket {bucket} is on shards {found[bucket]} and {number}: one must go first"
                    )
                found[bucket] = made[bucket] = number
    return made


def apply_settings(shard: Shard, wanted: dict[str, Any]) -> None:
    """Have the running shard take its settings: replicas restart first where one needs it, the primary last."""
    leader = _leader(shard)
    if change := merge_patch(leader.settings(), wanted):
        log.info("%s: settings change: %s", shard.name, json.dumps(change, sort_keys=True))
        leader.patch(change)
    deadline = time.monotonic() + WAIT_S
    while True:
        waiting = not_in_force(shard, wanted["postgresql"]["parameters"])
        pending = [m for m in shard.members() if _state(m).get("pending_restart")]
        if not waiting and not pending:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"not in force after {WAIT_S:.0f} s: {', '.join(waiting) or 'a restart is pending'}")
        for member in sorted(pending, key=lambda m: _state(m).get("role") == "primary"):
            log.info("%s: restarting %s for its settings", shard.name, member.host.partition(".")[0])
            with contextlib.suppress(OSError):  # the next round sees whether it did
                member.restart()
        time.sleep(PAUSE_S)


def not_in_force(shard: Shard, wanted: dict[str, str]) -> list[str]:
    """The settings whose value on the primary is not the one asked for."""
    with patiently(shard, "postgres") as connection:
        rows = connection.execute(
            "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s)", (list(wanted),)
        ).fetchall()
    held = dict(rows)
    return [name for name, value in wanted.items() if held.get(name) != str(value)]


@contextlib.contextmanager
def patiently(shard: Shard, database: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection to the primary, waited for: it may still be starting, or its password on the way."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            connection = shard.connect(database)
            break
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise
            log.info("%s: waiting: %s", shard.name, str(error).strip().splitlines()[-1][:200])
            time.sleep(PAUSE_S)
    with connection:
        yield connection


def _leader(shard: Shard) -> Member:
    deadline, last = time.monotonic() + WAIT_S, ""
    while time.monotonic() < deadline:
        told = []
        for member in shard.members():
            try:
                state = member.state()
            except OSError as error:
                told.append(f"{member.host.partition('.')[0]} {error}")
                continue
            if state.get("role") in ("primary", "master") and state.get("state") == "running":
                return member
            told.append(f"{member.host.partition('.')[0]} is {state.get('role')}, {state.get('state')}")
        if told and "; ".join(told) != last:
            last = "; ".join(told)
            log.info("%s: waiting for a primary: %s", shard.name, last)
        time.sleep(PAUSE_S)
    raise TimeoutError(f"no member is the primary: {last}")


def _state(member: Member) -> dict[str, Any]:
    try:
        return member.state()
    except OSError:
        return {}


if __name__ == "__main__":
    sys.exit(main())
