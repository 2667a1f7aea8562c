"""The Job that brings every shard to what the stack says: settings in force, database, roles' rights, buckets.

It looks first and does only what is missing, so it may run at any time and any number of times. Exit 3: a shard refuses
the map, and running it again would not help.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import authority
import psycopg

from shard import buckets, node
from shard.rest import Member, merge_patch

log = logging.getLogger("bootstrap")
MAP = Path("/etc/headroom/map/map.json")
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
    """All shards at once; 0 when every one is as it should be."""
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    namespace, copies = os.environ["NAMESPACE"], int(os.environ["COPIES"])
    plan = json.loads(MAP.read_text())
    settings = json.loads(node.SETTINGS.read_text())
    secret = node.passwords()
    trusted = WORK / "ca.crt"
    trusted.write_text(authority.Trust(WORK).bundle(secret[node.AUTHORITY_SEED]))
    logins = secret["postgresSuperuser"], node.rest_password(secret)
    shards = [Shard(n, namespace, copies, *logins, trusted) for n in range(plan["shards"])]
    with ThreadPoolExecutor(min(16, len(shards))) as pool:
        outcomes = list(pool.map(lambda shard: bring_up(shard, settings, plan), shards))
    return max(outcomes)


def bring_up(shard: Shard, settings: dict[str, Any], plan: dict[str, Any]) -> int:
    """One shard; what went wrong is in the log, by its number."""
    try:
        refuse_another_map(shard, plan)
        apply_settings(shard, settings)
        with patiently(shard, "postgres") as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (node.DATABASE,)).fetchone()
            if not found:
                connection.execute(f"CREATE DATABASE {node.DATABASE}")
            connection.execute(
                f"REVOKE ALL ON DATABASE {node.DATABASE} FROM PUBLIC; "
                f"GRANT CONNECT, TEMPORARY ON DATABASE {node.DATABASE} TO features; "
                f"GRANT CONNECT ON DATABASE {node.DATABASE} TO pooler"
            )
        with patiently(shard, node.DATABASE) as connection:
            owned = buckets.owned_by(shard.number, plan["buckets"])
            made = buckets.ensure(connection, shard.number, plan["shards"], plan["version"], owned)
    except buckets.Refused as refused:
        log.error("%s: %s", shard.name, refused)  # noqa: TRY400  a trace would hide the reason
        return 3
    except Exception as error:
        log.error("%s: %s: %s", shard.name, type(error).__name__, str(error).strip())  # noqa: TRY400
        return 1
    log.info("%s: %d buckets, %d of them made now, map version %d", shard.name, len(owned), made, plan["version"])
    return 0


def refuse_another_map(shard: Shard, plan: dict[str, Any]) -> None:
    """Before anything is touched."""
    with patiently(shard, "postgres") as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (node.DATABASE,)).fetchone():
            return
    with patiently(shard, node.DATABASE) as connection:
        row = connection.execute("SELECT to_regclass('headroom.shard') IS NOT NULL").fetchone()
        if row and row[0]:
            held = connection.execute("SELECT number, shards FROM headroom.shard").fetchone()
            if held and tuple(held) != (shard.number, plan["shards"]):
                raise buckets.Refused(
                    f"it was made as shard {held[0]} of {held[1]}, not {shard.number} of {plan['shards']}; "
                    "its rows would have to move first"
                )


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
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        for member in shard.members():
            state = _state(member)
            if state.get("role") in ("primary", "master") and state.get("state") == "running":
                return member
        time.sleep(PAUSE_S)
    raise TimeoutError("no member is the primary")


def _state(member: Member) -> dict[str, Any]:
    try:
        return member.state()
    except OSError:
        return {}


if __name__ == "__main__":
    sys.exit(main())
