"""The files that PgBouncer reads: copies that change whole, since what Kubernetes mounts changes under it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import authority

RUN = Path("/run/pgbouncer")
CONFIG = Path("/etc/headroom/pgbouncer/pgbouncer.ini")
PUBLISHED = "pgbouncer.ini"
PASSWORD = Path("/etc/headroom/passwords/pgbouncerAuth")
AUTH_USER = "pooler"


def inputs(trust: authority.Trust, shards: Iterable[int] = ()) -> dict[str, str]:
    """The files that PgBouncer reads, by name; `shards` are those that there are.

    Raises OSError while a volume is being updated.
    """
    password = PASSWORD.read_text().strip()
    quoted = password.replace('"', '""')
    return {
        PUBLISHED: with_shards(CONFIG.read_text(), shards),
        "userlist.txt": f'"{AUTH_USER}" "{quoted}"\n',
        "ca.crt": trust.bundle(password),
    }


def with_shards(config: str, shards: Iterable[int]) -> str:
    """The configuration with a database for each of these shards.

    The stack's own text says how many shards are wanted. While buckets move there are more: those that came, before
    that text is here, and those that go, until they are empty.
    """
    first = re.search(r"(?m)^(\w+)_0 = host=pg-shard-0\.(.*)$", config)
    if first is None:
        return config
    there = {int(number) for number in re.findall(rf"(?m)^{first[1]}_(\d+) = ", config)}
    more = "".join(f"\n{first[1]}_{shard} = host=pg-shard-{shard}.{first[2]}" for shard in sorted(set(shards) - there))
    return config[: first.end()] + more + config[first.end() :]


def publish(files: Mapping[str, str]) -> None:
    """Write them, each whole or not at all, for nobody else's eyes."""
    for name, text in files.items():
        fresh = RUN / f"{name}.new"
        fresh.touch(mode=0o600)
        fresh.write_text(text)
        fresh.replace(RUN / name)
