"""What each user may do, on a real server; and a password that changes while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from headroom_redis import files, resp, rotation  # type: ignore[import-not-found]


@pytest.fixture
def one(fleet: Callable[[str], Any]) -> Any:
    made = fleet("sentinel")
    made.start(0)
    return made


def as_user(made: Any, user: str, *words: str) -> Any:
    own = made.settings(0)
    with resp.connect(own.address, 6379, user, own.password(user)) as connection:
        return connection.call(*words)


def test_nobody_without_a_login(one: Any) -> None:
    with resp.connect(one.base.host(0)) as connection, pytest.raises(resp.ReplyError, match="NOAUTH"):
        connection.call("GET", "key")


@pytest.mark.parametrize("words", [("SET", "key", "1"), ("INCR", "n"), ("INFO",), ("WAIT", "0", "1"), ("DBSIZE",)])
def test_the_services_user_works(one: Any, words: tuple[str, ...]) -> None:
    assert as_user(one, "app", *words) is not None


@pytest.mark.parametrize(
    "words",
    [("FLUSHALL",), ("KEYS", "*"), ("CONFIG", "GET", "*"), ("SHUTDOWN",), ("ACL", "LIST"), ("DEBUG", "SLEEP", "0"),
     ("REPLICAOF", "NO", "ONE"), ("CLUSTER", "RESET"), ("MIGRATE", "h", "1", "k", "0", "1"), ("MONITOR",),
     ("PUBLISH", "__sentinel__:hello", "x"), ("SUBSCRIBE", "__sentinel__:hello"), ("SCRIPT", "FLUSH"),
     ("EVAL", "return 1", "0"), ("FUNCTION", "FLUSH")],
)  # fmt: skip
def test_and_may_not_harm(one: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(resp.ReplyError, match=r"NOPERM|not allowed"):
        as_user(one, "app", *words)


@pytest.mark.parametrize("words", [("GET", "key"), ("CONFIG", "GET", "masterauth"), ("SET", "key", "1")])
def test_the_exporters_user_sees_figures_only(one: Any, words: tuple[str, ...]) -> None:
    assert "used_memory" in as_user(one, "monitor", "INFO")
    with pytest.raises(resp.ReplyError, match="NOPERM"):
        as_user(one, "monitor", *words)


def test_files_hold_hashes_and_only_their_owner_reads_them(one: Any) -> None:
    own = one.settings(0)
    users = own.run / "users.acl"
    assert users.stat().st_mode & 0o077 == 0
    assert (own.run / "redis.conf").stat().st_mode & 0o077 == 0
    assert not [user for user in ("app", "admin", "monitor") if own.password(user) in users.read_text()]


def test_a_new_password_opens_and_the_old_one_still_does(one: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own = one.settings(0)
    watched = rotation.Rotation(own)
    assert not watched.changed()
    old = own.password("admin")
    (own.secrets / "redisAdmin").write_text("another-password-0123456789")
    assert watched.changed()
    files.write(own.run / "users.acl", files.server_users(watched.accepted))
    monkeypatch.setattr(rotation, "connect", lambda _host, *rest: resp.connect(own.address, *rest))
    watched.apply(6379, [("CONFIG", "SET", "masterauth", own.password("admin"))])
    assert not watched.changed()
    for password in (old, own.password("admin")):
        with resp.connect(own.address, 6379, "admin", password) as connection:
            assert connection.call("CONFIG", "GET", "masterauth")[1] == "another-password-0123456789"
