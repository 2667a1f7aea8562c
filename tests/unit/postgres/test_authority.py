"""The shards' certificates: whom they convince, and what happens when the password behind the authority changes."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import authority  # type: ignore[import-not-found]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pooler import files  # type: ignore[import-not-found]
from shard import keeper, node  # type: ignore[import-not-found]

ME = node.Node("pg-shard-0", "pg-shard-0-1", "ml", "10.0.0.7", {})
SECRET = {name: f"secret-of-{name}" for name in node.ROLES}
LATER = {**SECRET, "pgbouncerAuth": "another-password"}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def convinces(bundle: str, certificate: Path, *name: str) -> bool:
    trusted = certificate.with_name("trusted.pem")
    trusted.write_text(bundle)
    # As a TLS client has it: what the server sends besides its certificate may lead to an authority, and is none.
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", str(trusted), *name]
    command += ["-untrusted", str(certificate)]
    return subprocess.run([*command, str(certificate)], capture_output=True, check=False).returncode == 0


def folder(of: Path, name: str) -> Path:
    made = of / name
    made.mkdir()
    return made


def test_who_has_the_password_is_convinced_and_nobody_else(tmp_path: Path) -> None:
    pod, pooler, stranger = (folder(tmp_path, n) for n in ("pod", "pooler", "stranger"))
    assert keeper.Certificates(ME, pod).ensure(SECRET) is True
    shown = pod / "server.crt"
    for trusted in (
        authority.Trust(pooler).bundle(SECRET["pgbouncerAuth"]),
        (pod / "ca.crt").read_text(),
    ):
        assert convinces(trusted, shown, "-verify_hostname", "pg-shard-0.ml.svc")
        assert convinces(trusted, shown, "-verify_hostname", "pg-shard-0-1.pg-shard-0-pods.ml.svc")
        assert convinces(trusted, shown, "-verify_ip", "10.0.0.7")
        assert not convinces(trusted, shown, "-verify_hostname", "pg-shard-1.ml.svc")
        assert not convinces(trusted, shown, "-verify_ip", "10.0.0.8")
    assert not convinces(authority.Trust(stranger).bundle("a guess"), shown)


def test_it_is_made_once_and_its_key_is_for_nobody_else(tmp_path: Path) -> None:
    made = keeper.Certificates(ME, tmp_path)
    assert made.ensure(SECRET) is True
    first = (tmp_path / "server.crt").read_text()
    assert made.ensure(SECRET) is False
    assert keeper.Certificates(ME, tmp_path).ensure(SECRET) is False, "also after the container was restarted"
    assert (tmp_path / "server.crt").read_text() == first
    assert (tmp_path / "server.key").stat().st_mode & 0o777 == 0o600
    assert {f.name for f in tmp_path.iterdir()} == {"authorities", "ca.crt", "issuer", "server.crt", "server.key"}


def test_who_knows_the_old_password_or_the_new_one_believes_a_new_certificate(tmp_path: Path) -> None:
    clock = Clock()
    made = keeper.Certificates(ME, tmp_path)
    made._trust = authority.Trust(tmp_path, clock)
    made.ensure(SECRET)
    shown = tmp_path / "server.crt"
    seeds = (s["pgbouncerAuth"] for s in (SECRET, LATER))
    old, new = (authority.Trust(folder(tmp_path, seed)).bundle(seed) for seed in seeds)
    assert (convinces(old, shown), convinces(new, shown)) == (True, False)

    assert made.ensure(LATER) is True
    assert (convinces(old, shown), convinces(new, shown)) == (True, True)
    assert not convinces(authority.Trust(folder(tmp_path, "other")).bundle("a guess"), shown)
    assert (tmp_path / "ca.crt").read_text().count("BEGIN CERTIFICATE") == 2
    assert made.ensure(LATER) is False

    clock.now += authority.FORGET_AFTER_S
    assert made.ensure(LATER) is True, "the old authority is forgotten"
    assert (tmp_path / "ca.crt").read_text().count("BEGIN CERTIFICATE") == 1
    assert convinces((tmp_path / "ca.crt").read_text(), shown)
    assert made.ensure(LATER) is False


def test_a_container_that_was_restarted_meanwhile_forgets_the_old_authority_too(tmp_path: Path) -> None:
    keeper.Certificates(ME, tmp_path).ensure(SECRET)
    clock = Clock()
    again = keeper.Certificates(ME, tmp_path)
    again._trust = authority.Trust(tmp_path, clock)
    assert again.ensure(LATER) is True
    assert (tmp_path / "ca.crt").read_text().count("BEGIN CERTIFICATE") == 2
    clock.now += authority.FORGET_AFTER_S
    assert again.ensure(LATER) is True
    assert (tmp_path / "ca.crt").read_text().count("BEGIN CERTIFICATE") == 1


def test_the_pooler_trusts_both_while_a_password_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, password = tmp_path / "pgbouncer.ini", tmp_path / "password"
    config.write_text("[databases]\n")
    password.write_text("first-password\n")
    monkeypatch.setattr(files, "CONFIG", config)
    monkeypatch.setattr(files, "PASSWORD", password)
    trust = authority.Trust(folder(tmp_path, "run"))
    before = files.inputs(trust)
    assert files.inputs(trust) == before, "nothing changed, so nothing is reloaded"
    password.write_text("second-password\n")
    after = files.inputs(trust)
    assert before["ca.crt"] in after["ca.crt"]
    assert after["ca.crt"].count("BEGIN CERTIFICATE") == 2
    assert "second-password" in after["userlist.txt"]


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(st.text("abcXYZ019", min_size=1, max_size=40))
def test_the_key_follows_from_the_seed_and_is_a_key(seed: str) -> None:
    key = authority.private_key(seed)
    assert key == authority.private_key(seed) != authority.private_key(seed + "x")
    command = ["openssl", "pkey", "-check", "-noout"]
    assert "is valid" in subprocess.run(command, input=key, capture_output=True, text=True, check=True).stdout


def test_openssl_s_words_are_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="openssl"):
        authority.issue(tmp_path, "seed", "pg-shard-0-1", ["DNS:not a name\nx", "nonsense"])


def test_a_certificate_that_patroni_does_not_show_yet_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Patroni leaves a new certificate for the next reload when its configuration changed, too."""
    made = keeper.Certificates(ME, tmp_path)
    made.ensure(SECRET)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(keeper.lock, "REST", listener.getsockname())

        def serve() -> None:
            for _ in range(2):
                client, _ = listener.accept()
                with contextlib.suppress(OSError), context.wrap_socket(client, server_side=True):
                    pass

        threading.Thread(target=serve, daemon=True).start()
        assert made.shown()
        made.ensure(LATER)
        assert not made.shown()
