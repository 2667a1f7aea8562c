"""A shard's lock is given back for a holder that is dead, and for no other."""

from __future__ import annotations

from typing import Any

import pytest
from shard import lock, node  # type: ignore[import-not-found]

ME = node.Node("pg-shard-0", "pg-shard-0-1", "ml", "10.0.0.7", {})
MINE = "/api/v1/namespaces/ml/configmaps/pg-shard-0"


class Api:
    """The two ConfigMaps of a shard, and what was written to them."""

    def __init__(self, leader: str | None = "pg-shard-0-1", standby: str | None = "pg-shard-0-0") -> None:
        self.state = {"leader": {"leader": leader}, "sync": {"sync_standby": standby}}
        self.written: list[Any] = []
        self.refuses = 0

    def __call__(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        if method == "PATCH":
            if self.refuses:
                self.refuses -= 1
                raise OSError("409")
            self.written.append((path, body))
        annotations = {k: v for k, v in self.state[path.removeprefix(f"{MINE}-")].items() if v}
        return {"metadata": {"resourceVersion": "7", "annotations": annotations}}


def watched(monkeypatch: pytest.MonkeyPatch, api: Api, looks: str) -> list[Any]:
    """What was written while the holder looked: `A` at one that is alive, `d` at one that is dead."""
    holder, at = lock.Holder(ME), iter(looks)
    now = {"alive": True}
    monkeypatch.setattr(lock, "alive", lambda: now["alive"])
    monkeypatch.setattr(lock, "_call", api)
    for look in at:
        now["alive"] = look == "A"
        holder.look()
    return api.written


def test_the_dead_holder_s_lock_is_taken_off_once_in_the_version_that_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"metadata": {"resourceVersion": "7", "annotations": {"leader": None}}}
    assert watched(monkeypatch, Api(), "AAddddd") == [(f"{MINE}-leader", body)]


@pytest.mark.parametrize(
    ("looks", "why"),
    [
        ("AAAA", "it lives"),
        ("AdAdAd", "one look is not enough"),
        ("ddddd", "it has not started yet"),
    ],
)
def test_a_holder_that_may_live_keeps_it(monkeypatch: pytest.MonkeyPatch, looks: str, why: str) -> None:
    assert watched(monkeypatch, Api(), looks) == [], why


@pytest.mark.parametrize(
    ("leader", "standby"),
    [("pg-shard-0-0", "pg-shard-0-1"), (None, "pg-shard-0-0"), ("pg-shard-0-1", None)],
)
def test_another_s_lock_and_one_without_an_heir_stay(
    monkeypatch: pytest.MonkeyPatch, leader: str | None, standby: str | None
) -> None:
    assert watched(monkeypatch, Api(leader, standby), "Addd") == []


def test_a_refusal_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api()
    api.refuses = 1
    assert len(watched(monkeypatch, api, "Adddddd")) == 1


def test_only_a_refused_connection_is_death(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    import socket  # noqa: PLC0415

    monkeypatch.setattr(lock, "SOCKET", str(tmp_path / "none"))
    monkeypatch.setattr(lock, "REST", ("127.0.0.1", 1))
    assert not lock.alive()
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen()
        monkeypatch.setattr(lock, "REST", full.getsockname())
        assert lock.alive()
