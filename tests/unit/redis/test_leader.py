"""Who leads, asked of real sentinels; and what a pod does that has lost its volume, or its memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from headroom_redis import files, leader, leave, sentinel, server  # type: ignore[import-not-found]
from headroom_redis.leader import Opinion  # type: ignore[import-not-found]
from headroom_redis.resp import SENTINEL_PORT  # type: ignore[import-not-found]


def test_the_latest_decision_of_a_quorum_counts() -> None:
    old, new = Opinion("redis-0", 3), Opinion("redis-1", 4)
    assert leader.decided([new], 2) is None, "one sentinel is no quorum, whatever it says"
    assert leader.decided([old, old], 2) == "redis-0"
    assert leader.decided([old, new, old], 2) == "redis-1", "the others were restarted before they were told"


@pytest.fixture
def three(fleet: Callable[[str], Any], eventually: Callable[..., None]) -> Any:
    """A master, two replicas, three sentinels who know each other."""
    made = fleet("sentinel")
    made.start(0, 1, 2, master=0)
    made.call(0, "SET", "key", "value")
    made.start_sentinels(0, 0, 1, 2)
    eventually(lambda: len(made.call(0, "SENTINEL", "REPLICAS", "main", port=SENTINEL_PORT)) == 2)
    eventually(
        lambda: all(len(made.call(n, "SENTINEL", "SENTINELS", "main", port=SENTINEL_PORT)) == 2 for n in range(3))
    )
    return made


def test_a_pod_starts_as_what_the_sentinels_say(three: Any) -> None:
    assert server.await_role(three.settings(1)) == three.base.host(0)
    (three.settings(0).data / "appendonlydir").mkdir(exist_ok=True)
    assert server.await_role(three.settings(0)) is None


def test_a_pod_waits_while_fewer_than_a_quorum_answer(three: Any, eventually: Callable[..., None]) -> None:
    three.stop(101, 102)
    said: list[str] = []
    found: list[str] = []
    threading.Thread(
        target=lambda: found.append(leader.await_decision(three.settings(1), said.append)), daemon=True
    ).start()
    eventually(lambda: said == ["1 of 3 sentinels answer, 2 are needed to know who leads"])
    assert found == []
    three.start_sentinels(0, 1)
    eventually(lambda: found == [three.base.host(0)])


def test_a_master_with_an_empty_volume_does_not_empty_the_others(three: Any) -> None:
    """It would start with nothing, and its replicas would copy that."""
    own = three.settings(0, data=three.folder / "new-volume")
    hosts = [three.base.host(n) for n in range(3)]
    assert leader.others_hold_data(own, hosts)
    three.stop(1, 2)
    assert not leader.others_hold_data(own, hosts), "nobody else has anything: it may as well begin"


def test_a_master_hands_over_before_it_leaves(three: Any) -> None:
    three.call(0, "SET", "last", "write")
    assert leave.run(three.settings(0)) == 0, "it asks 127.0.0.1, where none of these listens, and goes all the same"
    with three.settings(0).admin(three.base.host(0)) as own:
        leave._hand_over(three.settings(0), own)
        assert own.call("ROLE")[0] == "slave"
    (new,) = [n for n in (1, 2) if three.call(n, "ROLE")[0] == "master"]
    assert three.call(new, "GET", "last") == "write"


def test_a_sentinel_without_a_memory_takes_the_others_word(three: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert leader.first_opinion(three.settings(2)) == three.base.host(0)
    three.stop(100, 101, 102)
    monkeypatch.setattr(leader, "PATIENCE_SECONDS", 0.5)
    assert leader.first_opinion(three.settings(2)) == three.base.host(0), "nobody remembers one: the first pod"


def test_a_sentinel_remembers_what_it_wrote(three: Any) -> None:
    own = three.settings(1)
    master, kept = files.remembered((own.run / "sentinel.conf").read_text())
    assert master == three.base.host(0)
    assert {line.split()[1] for line in kept} == {
        "config-epoch", "leader-epoch", "current-epoch", "known-replica", "known-sentinel"
    }  # fmt: skip
    again = files.sentinel(own, master, kept)
    assert again.count("known-sentinel") == 2
    assert "auth-pass" not in "\n".join(kept), "passwords are taken from the Secret, not from memory"
    assert files.sentinel_id(own) == files.sentinel_id(own) != files.sentinel_id(three.settings(2))


def test_only_the_leader_takes_the_label_and_takes_it_off_the_others(
    three: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels: dict[str, str] = {"redis-1": "master"}
    monkeypatch.setattr(sentinel.kube, "label", lambda _ns, pod, _key, value: labels.__setitem__(pod, value))
    for n in range(3):
        own = three.settings(n)
        monkeypatch.setattr(sentinel.leader, "ask", lambda *_: [Opinion(three.base.host(0), 1)])
        monkeypatch.setattr(type(own), "admin", _local(type(own).admin, own.address))
        sentinel.Keeper(own).tick()
        monkeypatch.undo()
        monkeypatch.setattr(sentinel.kube, "label", lambda _ns, pod, _key, value: labels.__setitem__(pod, value))
    assert labels == {"redis-0": "master", "redis-1": "replica", "redis-2": "replica"}


def _local(real: Callable[..., Any], address: str) -> Callable[..., Any]:
    def admin(self: Any, host: str, *rest: Any, **named: Any) -> Any:
        return real(self, address if host == "127.0.0.1" else host, *rest, **named)

    return admin
