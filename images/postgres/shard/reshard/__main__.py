"""`python -m shard.reshard run` in the Job, `python -m shard.reshard abort` beside a shard whose Job is gone.

Exit codes: 0 the shards own what they should; 1 it stopped and may be run again; 3 it cannot work, and its words say
what to change.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import sys
import threading
import time
from pathlib import Path

import psycopg

from shard import node
from shard.bootstrap import patiently, reach
from shard.reshard import kube, mover
from shard.reshard.bucket import TRANSIENT
from shard.reshard.checks import Refused
from shard.reshard.context import Context, Differs, Fences
from shard.reshard.lease import Lease
from shard.reshard.mover import Aborted
from shard.reshard.server import Server, Superseded
from shard.reshard.tables import LEAD
from shard.reshard.throttle import Throttle

log = logging.getLogger("reshard")
WORK = Path("/tmp")  # noqa: S108  a volume of the pod's own
APP = "pg-move"
POOLER = "pgbouncer"
POOLER_PORT = 6432
POOLERS_WAIT_S = 300.0
SHOW_S = 5.0
LEAVE_S = 10.0


def main(arguments: list[str]) -> int:
    """`run` or `abort`."""
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    namespace = os.environ.get("NAMESPACE") or os.environ["PATRONI_KUBERNETES_NAMESPACE"]
    try:
        return abort(namespace) if arguments == ["abort"] else run(namespace)
    except (Refused, Aborted, Differs) as error:
        log.error("%s", error)  # noqa: TRY400  a trace would hide the reason
        return 3
    except (Superseded, kube.ApiError, *TRANSIENT) as error:
        log.error("stopped: %s", str(error).strip() or type(error).__name__)  # noqa: TRY400
        return 1


def run(namespace: str) -> int:
    """What the Job does."""
    shards, job = int(os.environ["SHARDS"]), os.environ["JOB"]
    show = Shown(namespace, job)
    fences = Fences()
    leave_when_told(fences)
    for other in kube.remove_other_jobs(namespace, APP, job):
        log.info("Job %s is of another time and goes", other)
    context = _context(namespace, shards, int(os.environ["BYTES_PER_SECOND"]))
    context.ready = lambda: await_poolers(namespace, len(context.servers))
    context.fences = fences
    lease = Lease(context.servers[LEAD], context.holder)
    outcome = mover.run(context, lease, shards, int(os.environ["MAX_PARALLEL_MOVES"]), told=show)
    show.now(f"{outcome.moved} buckets moved" if outcome.wanted else "every bucket is where it should be")
    return 0


def abort(namespace: str) -> int:
    """Take back what has not come to its flip."""
    context = _context(namespace, 1, 0)
    back = mover.roll_back(context, Lease(context.servers[LEAD], context.holder))
    log.info("%d buckets are back where they were", back)
    return 0


def leave_when_told(fences: Fences) -> None:
    """A pod that is deleted, or a node that is drained: end at once, but not while a bucket's writes wait. The next
    mover goes on from the journal."""

    def leave() -> None:
        log.info("told to go: the next one goes on")
        fences.leave(LEAVE_S)
        os._exit(1)  # the threads that move buckets are not asked

    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=leave, daemon=True).start())


class Shown:
    """Progress in the log and on the Job, not more often than people read."""

    def __init__(self, namespace: str, job: str) -> None:
        self._namespace, self._job = namespace, job
        self._at, self._said = 0.0, ""

    def __call__(self, text: str) -> None:
        if text != self._said and time.monotonic() - self._at > SHOW_S:
            self.now(text)

    def now(self, text: str) -> None:
        """At once."""
        self._at, self._said = time.monotonic(), text
        log.info("%s", text)
        with contextlib.suppress(OSError, kube.ApiError):  # the API server may be away, and moves go on
            kube.show(self._namespace, self._job, text)


def await_poolers(namespace: str, shards: int) -> None:
    """Until every PgBouncer leads to every shard: a client that is sent to a shard must get there."""
    password = node.passwords()["postgresApp"]
    deadline = time.monotonic() + POOLERS_WAIT_S
    while True:
        try:
            for address in kube.endpoints(namespace, POOLER):
                for shard in range(shards):
                    psycopg.connect(
                        host=address, port=POOLER_PORT, dbname=f"{node.DATABASE}_{shard}", user="features",
                        password=password, connect_timeout=3,
                    ).close()  # fmt: skip
        except (psycopg.OperationalError, OSError, kube.ApiError) as error:
            if time.monotonic() > deadline:
                raise
            log.info("waiting for PgBouncer: %s", str(error).strip().splitlines()[-1][:200])
            time.sleep(1)
        else:
            return


def _context(namespace: str, shards: int, bytes_per_second: int) -> Context:
    """The shards that are wanted, and those that have buckets still."""
    shard = reach(namespace, 1, WORK)
    secret = node.passwords()

    def server(number: int) -> Server:
        host = {"host": f"{shard(number).name}.{namespace}.svc", "dbname": node.DATABASE, **node.BOUND}
        superuser = {"user": "postgres", "password": secret["postgresSuperuser"], "sslmode": "verify-full"}
        replicator = {"user": "replicator", "password": secret["postgresReplication"], "sslmode": "verify-full"}
        return Server(
            number,
            {**host, **superuser, "sslrootcert": str(shard(number).trusted)},
            {**host, **replicator, "sslrootcert": str(node.AUTHORITIES), "target_session_attrs": "read-write"},
        )

    with patiently(shard(LEAD), node.DATABASE) as connection:
        row = connection.execute("SELECT (SELECT max(o) FROM unnest(owners) AS o) FROM headroom.map").fetchone()
        last = connection.execute(
            "SELECT coalesce(max(greatest(source, target)), 0) FROM headroom.move WHERE step <> 'done'"
        ).fetchone()
    count = max(shards, (row[0] if row else 0) + 1, (last[0] if last else 0) + 1)
    return Context(
        {number: server(number) for number in range(count)}, secrets.token_hex(4), Throttle(bytes_per_second)
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
