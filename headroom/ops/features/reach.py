"""The way to the shards from where the command runs: PgBouncer's address, the services' role, the bucket map.

On the embedded cluster this machine has a route to Services. Elsewhere `kubectl port-forward` carries PostgreSQL's
protocol to PgBouncer; it is opened again whenever it breaks. The file stays where it is: a Job in the cluster would
need it copied there first. The password is read from the stack's Secret into memory, and is on no command line.
"""

from __future__ import annotations

import base64
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from psycopg.conninfo import make_conninfo

from headroom.capacity.plan.model import Plan, PostgresPlan
from headroom.engine.model import Target
from headroom.errors import EnvironmentFailure, InputError
from headroom.kubectl import Kubectl
from headroom.local.processes import last_line
from inference.shards import BucketMap, KnownMap, MapInvalid
from inference.shards.bucket_map import Buckets

PASSWORDS = "postgres-passwords"
POOLER = "pgbouncer"
MAP = "shard-map"
ROLE = "features"
SECONDS = 30


@dataclass(frozen=True)
class Store:
    """Where to write: a libpq address that holds the password, and the bucket map. `identity` tells this store from
    another one that has its name."""

    address: str = field(repr=False)
    buckets: Buckets
    identity: str


def live_map(kubectl: Kubectl, namespace: str) -> BucketMap:
    """The bucket map of the stack. Raises EnvironmentFailure when there is none."""
    found = kubectl.find("configmap", MAP, namespace)
    if found is None:
        raise EnvironmentFailure(
            f"there is no bucket map {namespace}/{MAP}: the stack is not up there", fix="headroom up"
        )
    try:
        return BucketMap.parse(found["data"]["map.json"])
    except (KeyError, MapInvalid) as error:
        raise EnvironmentFailure(f"the bucket map {namespace}/{MAP} cannot be used: {error}") from None


@contextmanager
def reach(target: Target, plan: Plan, pooler: str | None = None) -> Iterator[Store]:
    """The way to a stack's shards, open for the length of the block. `pooler` is `host:port` of a PgBouncer that can
    be reached directly.

    Raises InputError for a stack without PostgreSQL or a cluster that runs nothing, EnvironmentFailure when it is not
    up.
    """
    postgres = plan.postgres
    if postgres is None:
        raise InputError(f"stack {plan.stack} has no PostgreSQL", fix="add headroom:postgres to its file")
    if not target.real_pods:
        raise InputError(
            f"{target.title} has fake nodes: no PostgreSQL runs there", fix="headroom local up --nodes real"
        )
    kubectl = target.kubectl
    # What moves from here on, the shards tell.
    buckets = KnownMap(live_map(kubectl, postgres.namespace))
    identity = kubectl.get("namespace", postgres.namespace)["metadata"]["uid"]
    password = _password(kubectl, postgres)
    with _way(target, postgres.namespace, pooler) as (host, port):
        address = make_conninfo(
            host=host,
            port=port,
            dbname="features",
            user=ROLE,
            password=password,
            # Whoever answers there may ask for a proof of the password, and never for the password.
            require_auth="scram-sha-256",
            application_name="headroom-features",
        )
        yield Store(address, buckets, str(identity))


def _password(kubectl: Kubectl, plan: PostgresPlan) -> str:
    name = plan.existing_secret or PASSWORDS
    found = kubectl.find("secret", name, plan.namespace)
    value = ((found or {}).get("data") or {}).get("postgresApp")
    if not value:
        raise EnvironmentFailure(
            f"the Secret {plan.namespace}/{name} with the key postgresApp cannot be read",
            fix="headroom up makes it; your account needs the right to get it",
        )
    return base64.b64decode(value).decode()


@contextmanager
def _way(target: Target, namespace: str, pooler: str | None) -> Iterator[tuple[str, int]]:
    if pooler is not None:
        host, _, number = pooler.rpartition(":")
        if not host or not number.isdigit():
            raise InputError(f"--pooler {pooler} is no host:port", fix="for example --pooler pgbouncer.example:6432")
        yield host.strip("[]"), int(number)
        return
    service = target.kubectl.find("service", POOLER, namespace)
    if service is None:
        raise EnvironmentFailure(
            f"there is no Service {namespace}/{POOLER}: the stack is not up there", fix="headroom up"
        )
    port = int(service["spec"]["ports"][0]["port"])
    if target.embedded:
        yield str(service["spec"]["clusterIP"]), port
        return
    forward = Forward(target.kubectl, namespace, f"service/{POOLER}", port)
    try:
        yield "127.0.0.1", forward.open()
    finally:
        forward.close()


class Forward:
    """`kubectl port-forward` on a local port that stays the same, started again when it ends."""

    PAUSE_S = 1.0

    def __init__(self, kubectl: Kubectl, namespace: str, to: str, port: int) -> None:
        self._kubectl = kubectl
        self._namespace = namespace
        self._to = to
        self._port = port
        self._local = 0
        self._process: subprocess.Popen[str] | None = None
        self._closing = threading.Event()
        self._opened = threading.Event()
        self._said = ""
        self._keeper = threading.Thread(target=self._keep, name="port-forward", daemon=True)

    def open(self) -> int:
        """Start it; the local port. Raises EnvironmentFailure with kubectl's words when it does not come up."""
        self._keeper.start()
        if not self._opened.wait(SECONDS):
            self.close()
            raise EnvironmentFailure(
                f"kubectl port-forward to {self._namespace}/{self._to} does not come up: {last_line(self._said)}",
                fix="your account needs the right to create pods/portforward; or give --pooler HOST:PORT",
            )
        return self._local

    def close(self) -> None:
        """End it."""
        self._closing.set()
        if self._process is not None:
            self._process.terminate()
        self._keeper.join(5)

    def _keep(self) -> None:
        while not self._closing.is_set():
            command = self._kubectl.command(
                *("port-forward", "-n", self._namespace, "--address", "127.0.0.1", self._to),
                f"{self._local or ''}:{self._port}",
            )
            with subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            ) as process:
                self._process = process
                if self._closing.is_set():
                    process.terminate()
                for line in process.stdout or ():
                    self._said = line
                    if found := re.match(r"Forwarding from 127\.0\.0\.1:(\d+)", line):
                        self._local = int(found[1])
                        self._opened.set()
                    elif "lost connection" in line:
                        process.terminate()  # the pod behind it is gone; a new one takes the next connection
            self._closing.wait(self.PAUSE_S)
