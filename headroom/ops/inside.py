"""Questions to the programs in the pods of a stack, asked where no password is needed: none is read, none can be shown.

Each raises EnvironmentFailure when the pod or its program does not answer within its time.
"""

from __future__ import annotations

import json
from typing import Any

from headroom.errors import EnvironmentFailure
from headroom.kubectl import Kubectl, Manifest

SECONDS = 20
H2O_GUARD_PORT = 8090


def running(pod: Manifest) -> bool:
    """Whether a pod runs and stays: one that is on its way out is not asked."""
    return pod.get("status", {}).get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]


def sql(kubectl: Kubectl, namespace: str, pod: str, database: str, statement: str) -> str:
    """What a statement gives in the PostgreSQL of a pod, unaligned: rows as lines, columns parted by `|`."""
    command = ["psql", "-U", "postgres", "-d", database, "-XAtqc", statement]
    done = kubectl.run("exec", "-n", namespace, pod, "-c", "postgres", "--", *command, timeout=SECONDS)
    return done.stdout.strip()


def pgbouncer(kubectl: Kubectl, namespace: str, pod: str, statement: str) -> list[list[str]]:
    """The rows of a `SHOW` of PgBouncer's console, as lists of columns."""
    command = ["psql", "-h", "/run/pgbouncer", "-p", "6432", "-U", "pgbouncer", "-d", "pgbouncer", "-XAtqc", statement]
    done = kubectl.run("exec", "-n", namespace, pod, "-c", "pgbouncer", "--", *command, timeout=SECONDS)
    return [line.split("|") for line in done.stdout.splitlines() if line]


def redis(kubectl: Kubectl, namespace: str, pod: str) -> dict[str, Any]:
    """What a Redis pod knows of itself, its sentinel and its cluster: `redis-node report`."""
    done = kubectl.run("exec", "-n", namespace, pod, "-c", "redis", "--", "redis-node", "report", timeout=SECONDS)
    return _object(done.stdout, pod)


def h2o(kubectl: Kubectl, namespace: str, pod: str) -> dict[str, Any]:
    """What the guard beside an H2O node knows. H2O's own API wants the password, and only the leader serves it."""
    return _object(get(kubectl, f"/api/v1/namespaces/{namespace}/pods/{pod}:{H2O_GUARD_PORT}/proxy/state"), pod)


def get(kubectl: Kubectl, path: str) -> str:
    """GET a path of the API server, which passes it on to a pod, a Service or a node."""
    done = kubectl.raw(path, timeout=SECONDS)
    if done.returncode:
        raise EnvironmentFailure(done.stderr.strip()[:300] or f"{path} gives no answer")
    return done.stdout


def _object(text: str, pod: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise EnvironmentFailure(f"{pod} says {text[:80]!r}") from error
