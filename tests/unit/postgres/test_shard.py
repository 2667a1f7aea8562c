"""The programs beside PostgreSQL: configuration, verifiers, settings that are merged, buckets that are owned."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shard import buckets, keeper, node, rest, scram  # type: ignore[import-not-found]

ENVIRONMENT = {
    "PATRONI_SCOPE": "pg-shard-3",
    "PATRONI_NAME": "pg-shard-3-1",
    "PATRONI_KUBERNETES_NAMESPACE": "ml",
    "PATRONI_KUBERNETES_POD_IP": "fd00::7",
    "PATRONI_KUBERNETES_LABELS": '{"app.kubernetes.io/part-of": "headroom"}',
}
SECRET = {name: f"secret-of-{name}" for name in node.ROLES}


def test_patroni_is_told_who_it_is_and_to_encrypt() -> None:
    made = node.patroni(node.Node.of(ENVIRONMENT), SECRET, {"ttl": 20})
    assert made["kubernetes"]["leader_label_value"] == "primary"
    assert made["kubernetes"]["use_endpoints"] is False
    assert made["postgresql"]["connect_address"] == "[fd00::7]:5432"
    assert made["bootstrap"]["dcs"] == {"ttl": 20}
    assert "data-checksums" in made["bootstrap"]["initdb"]
    assert made["postgresql"]["parameters"]["ssl"] == "on"
    json.dumps(made)


def test_members_know_that_they_talk_to_each_other() -> None:
    made = node.patroni(node.Node.of(ENVIRONMENT), SECRET, {})
    logins = made["postgresql"]["authentication"]
    for role in ("replication", "rewind"):
        assert (logins[role]["sslmode"], logins[role]["channel_binding"]) == ("require", "require")
    assert "channel_binding" not in logins["superuser"], "the pod's own socket has no channel to bind"
    assert made["postgresql"]["use_unix_socket"] is True
    assert made["ctl"]["cacert"] == "/run/headroom/ca.crt"
    assert not made["ctl"].get("insecure")


def test_patroni_s_rest_password_is_its_own() -> None:
    made = node.patroni(node.Node.of(ENVIRONMENT), SECRET, {})
    password = made["restapi"]["authentication"]["password"]
    assert made["ctl"]["authentication"]["password"] == password
    assert password not in SECRET.values()
    assert len(password) == 64
    assert node.rest_password({**SECRET, "postgresSuperuser": "another"}) != password
    assert node.rest_password({**SECRET, "postgresRewind": "another"}) == password


def test_nobody_logs_in_over_the_network_without_encryption_and_a_password() -> None:
    rules = [rule.split() for rule in node.host_rules()]
    assert [r for r in rules if r[0] == "local"] == [["local", "postgres,features", "postgres", "peer"]]
    network = [r for r in rules if r[0] != "local"]
    assert {r[0] for r in network} == {"hostssl"}
    assert {r[-1] for r in network} == {"scram-sha-256"}
    assert {r[2] for r in network if r[1] == "features"} == {"features,pooler", "replicator"}
    assert "all" not in {word for r in network for word in (r[1], r[2])}
    assert "trust" not in {r[-1] for r in rules}


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(KeyError, match="PATRONI_NAME"):
        node.Node.of({k: v for k, v in ENVIRONMENT.items() if k != "PATRONI_NAME"})


# A busy machine is no fault of the code.
patiently = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@patiently
@given(st.text("abcXYZ019!#%*+,./:=?@^_~-", min_size=1, max_size=60), st.binary(min_size=8, max_size=32))
def test_a_verifier_matches_its_password_alone(password: str, salt: bytes) -> None:
    kept = scram.verifier(password, salt)
    assert scram.matches(password, kept)
    assert not scram.matches(password + "x", kept)


def test_a_verifier_as_rfc_7677_has_it() -> None:
    """Its example: password `pencil`, 4096 rounds; the server signs with ServerKey, the client proves StoredKey."""
    kept = scram.verifier("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="))
    assert kept == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
        ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )


@pytest.mark.parametrize("kept", [None, "", "md5abcdef", "SCRAM-SHA-256$x", "SCRAM-SHA-256$4096:!!$a:b", "a$b$c"])
def test_what_is_no_verifier_matches_nothing(kept: str | None) -> None:
    assert not scram.matches("pencil", kept)


def apply(held: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    made = dict(held) if isinstance(held, dict) else {}
    for key, value in patch.items():
        if value is None:
            made.pop(key, None)
        else:
            made[key] = apply(made.get(key), value)
    return made


TREES = st.recursive(
    st.integers() | st.text(max_size=3) | st.booleans(),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.sampled_from("abcd"), TREES, max_size=4)


@patiently
@given(OBJECTS, OBJECTS)
def test_a_merge_patch_makes_one_into_the_other(held: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert apply(held, rest.merge_patch(held, wanted)) == wanted
    assert rest.merge_patch(wanted, wanted) == {}


def test_a_shard_owns_what_the_map_gives_it() -> None:
    held = [bucket % 4 for bucket in range(256)]
    assert buckets.owned_by(3, held) == list(range(3, 256, 4))
    with pytest.raises(buckets.Refused, match="255 buckets"):
        buckets.owned_by(0, held[:-1])


def test_what_holds_passwords_is_for_nobody_else(tmp_path: Path) -> None:
    file = tmp_path / "patroni.yaml"
    keeper.write(file, "one")
    keeper.write(file, "two")
    assert file.read_text() == "two"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [f.name for f in tmp_path.iterdir()] == ["patroni.yaml"]
