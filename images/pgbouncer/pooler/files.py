"""The files that PgBouncer reads: copies that change whole, since what Kubernetes mounts changes under it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import authority

RUN = Path("/run/pgbouncer")
CONFIG = Path("/etc/headroom/pgbouncer/pgbouncer.ini")
PASSWORD = Path("/etc/headroom/passwords/pgbouncerAuth")
AUTH_USER = "pooler"


def inputs(trust: authority.Trust) -> dict[str, str]:
    """The files that PgBouncer reads, by name. Raises OSError while a volume is being updated."""
    password = PASSWORD.read_text().strip()
    quoted = password.replace('"', '""')
    return {
        "pgbouncer.ini": CONFIG.read_text(),
        "userlist.txt": f'"{AUTH_USER}" "{quoted}"\n',
        "ca.crt": trust.bundle(password),
    }


def publish(files: Mapping[str, str]) -> None:
    """Write them, each whole or not at all, for nobody else's eyes."""
    for name, text in files.items():
        fresh = RUN / f"{name}.new"
        fresh.touch(mode=0o600)
        fresh.write_text(text)
        fresh.replace(RUN / name)
