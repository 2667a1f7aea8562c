"""Keeps a pod's Patroni configured and its roles' passwords what the mounted Secret says, from first start to rotation.

It writes the configuration and the pod's certificate before Patroni starts, and then looks every second: at a changed
password it rewrites, has Patroni reload, and on the primary sets the role's new verifier. It also looks whether Patroni
and PostgreSQL have died with the shard's lock in hand, and whether a standby can still be fed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import ssl
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import authority
import psycopg
from psycopg import sql

from shard import lock, node, rest, scram, standby

log = logging.getLogger("keeper")
EVERY_S = 1.0
LOOK_EVERY_S = 10.0
READY = node.RUN / "ready"


def main() -> None:
    """Runs until SIGTERM."""
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    me = node.Node.of(os.environ)
    held = node.passwords()
    certificates = Certificates(me)
    certificates.ensure(held)
    configure(me, held)
    READY.touch()
    threading.Thread(target=lock.Holder(me).watch, daemon=True).start()
    roles = Roles(me)
    former, told, looked = held, True, time.monotonic()
    while True:
        with contextlib.suppress(OSError):  # a volume in the middle of its update
            now = node.passwords()
            renewed = certificates.ensure(now)
            if now != held:
                log.info("a password changed")
                configure(me, now)
            if renewed or now != held:
                former, held, told = held, now, False
            if told and time.monotonic() - looked > LOOK_EVERY_S:
                # Patroni takes up what the file held at any moment of its own choice.
                looked = time.monotonic()
                told = certificates.shown()
            if not told:
                # A reload that finds a changed configuration leaves the certificate for the next one.
                reload(node.rest_password(held), node.rest_password(former))
                told = certificates.shown()
        roles.ensure(held)
        READY.touch()
        time.sleep(EVERY_S)


def configure(me: node.Node, secret: Mapping[str, str]) -> None:
    """Write Patroni's configuration; JSON is YAML."""
    settings: dict[str, Any] = json.loads(node.SETTINGS.read_text())
    write(node.RUN / "patroni.yaml", json.dumps(node.patroni(me, secret, settings), indent=1))


class Certificates:
    """The pod's key and certificate, made here and gone with the pod, and the authorities that its members trust."""

    def __init__(self, me: node.Node, folder: Path = node.RUN) -> None:
        self._me, self._folder = me, folder
        self._trust = authority.Trust(folder)
        self._seed: str | None = None

    def ensure(self, secret: Mapping[str, str]) -> bool:
        """Have them fit the passwords; whether anything was written. Raises OSError when OpenSSL fails."""
        seed = secret[node.AUTHORITY_SEED]
        bundle, issuer = self._folder / "ca.crt", self._folder / "issuer"
        trusted, of = self._trust.bundle(seed), authority.fingerprint(seed)
        changed = _text(bundle) != trusted
        if changed:
            write(bundle, trusted)
        if _text(issuer) != of:
            authority.issue(self._folder, seed, self._me.name, self._me.names, before=self._seed)
            write(issuer, of)
            changed = True
        self._seed = seed
        return changed

    def shown(self) -> bool:
        """Whether Patroni's REST API shows the pod's certificate. Raises OSError when it does not answer."""
        own = (self._folder / "server.crt").read_text().partition(_END)
        shown = ssl.get_server_certificate(lock.REST, timeout=2)
        return ssl.PEM_cert_to_DER_cert(shown) == ssl.PEM_cert_to_DER_cert(own[0] + _END)


_END = "-----END CERTIFICATE-----"


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def write(file: Path, text: str) -> None:
    """Whole or not at all, and for nobody else's eyes."""
    fresh = file.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(text)
    fresh.replace(file)


def reload(*candidates: str) -> None:
    """Have Patroni read its configuration again; it still wants the password that it began with.

    Nobody but this pod listens there, and a certificate that is not believed any more is what a reload mends.
    """
    for password in candidates:
        try:
            rest.Member(lock.REST[0], password).reload()
        except OSError:
            continue
        return
    log.warning("Patroni did not take the reload")


# Of a bucket that was moving when this was the primary. Nobody reads them here, and they would keep WAL for ever.
_FORMER_SLOTS = (
    "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
    "WHERE slot_type = 'logical' AND slot_name ~ '^hr_b[0-9]{3}_' AND NOT active"
)


class Roles:
    """The database's roles, through the pod's own socket, where the operating system says who we are."""

    def __init__(self, me: node.Node) -> None:
        self._stranded = standby.Stranded(me)
        self._connection: psycopg.Connection[Any] | None = None
        self._done: Mapping[str, str] | None = None

    def ensure(self, secret: Mapping[str, str]) -> None:
        """On a primary: every role exists with its password. On a standby: it can be fed. Else, nothing."""
        try:
            if self._connection is None or self._connection.closed:
                self._done = None
                self._connection = psycopg.connect(
                    f"host={node.SOCKETS} dbname=postgres user=postgres connect_timeout=2 application_name=keeper",
                    autocommit=True,
                )
            row = self._connection.execute("SELECT pg_is_in_recovery()").fetchone()
            if row is None or row[0]:
                self._done = None
                self._stranded.look(self._connection, secret)
                self._connection.execute(_FORMER_SLOTS)
            elif self._done != secret:
                self._set(self._connection, secret)
                self._done = dict(secret)
        except psycopg.Error as error:
            log.debug("not now: %s", error)
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _set(self, connection: psycopg.Connection[Any], secret: Mapping[str, str]) -> None:
        for name, role in node.ROLES.items():
            found = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", (role,)).fetchone()
            if found and scram.matches(secret[name], found[0]):
                continue
            # Only the verifier is sent. A new salt for the same password would lock out PgBouncer's cached logins.
            verb = "ALTER" if found else "CREATE"
            # Roles that Patroni needs rights for are Patroni's to make.
            if not found and name in ("postgresReplication", "postgresRewind"):
                continue
            connection.execute(
                sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(
                    sql.SQL(verb), sql.Identifier(role), sql.Literal(scram.verifier(secret[name]))
                )
            )
            log.info("%s: role %s has its password", verb.lower(), role)


if __name__ == "__main__":
    main()
