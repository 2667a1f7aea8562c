"""Secrets in the clear are found wherever they stand, and what only looks like one is left alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headroom.redaction import plaintext

SECRETS = [
    ("env", {"name": "DB_PASSWORD", "value": "hunter2"}, "hunter2"),
    ("env", {"name": "AWS_ACCESS_KEY_ID", "value": "something-odd"}, "something-odd"),
    ("env", {"name": "apiKey", "value": "s3cr3t-value"}, "s3cr3t-value"),
    ("env", {"name": "DATABASE_URL", "value": "postgresql://app:hunter2@pgbouncer:6432/features"}, "hunter2"),
    ("env", {"name": "X", "value": "AKIAIOSFODNN7EXAMPLE"}, "AKIAIOSFODNN7EXAMPLE"),
    ("env", {"name": "X", "value": "ghp_" + "a1" * 18}, "ghp_" + "a1" * 18),
    ("data", ("userlist.txt", '"app" "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy"'), "SCRAM-SHA-256$4096:c2FsdA=="),
    ("data", ("redis.conf", "port 6379\nrequirepass hunter2\n"), "hunter2"),
    ("data", ("app.ini", "[db]\npassword = hunter2\n"), "hunter2"),
    ("data", ("app.yaml", 'client_secret: "hunter2"\n'), "hunter2"),
    ("data", ("run.py", 'token = "hunter2-in-code"\n'), "hunter2-in-code"),
    ("data", ("tls.key", "-----BEGIN RSA PRIVATE KEY-----\nMIIEabc\n-----END RSA PRIVATE KEY-----\n"), "MIIEabc"),
    ("data", ("password", "hunter2"), "hunter2"),
    ("args", "--requirepass=hunter2", "hunter2"),
    ("annotation", "https://ci:hunter2@example.com/hook", "hunter2"),
    ("env", {"name": "DB_PASSWORD", "value": "Tr0ub4dor(3)hunter"}, "Tr0ub4dor(3)hunter"),
    ("env", {"name": "API_TOKEN", "value": "$hunter2-aaa"}, "$hunter2-aaa"),
    ("env", {"name": "API_TOKEN", "value": "$HUNTER"}, "$HUNTER"),
    ("env", {"name": "SESSION_SECRET", "value": "abc[hunter4"}, "abc[hunter4"),
    ("env", {"name": "OTHER_PASSWORD", "value": "*h*"}, "*h*"),
    ("env", {"name": "OTHER_PASSWORD", "value": "%h(u{n}t"}, "%h(u{n}t"),
    ("env", {"name": "OTHER_PASSWORD", "value": "{hunter}"}, "{hunter}"),
    ("env", {"name": "OTHER_PASSWORD", "value": "<hunter2"}, "<hunter2"),
    ("env", {"name": "REDIS_URL", "value": "redis://:hunterA(@h/0"}, "hunterA("),
    ("env", {"name": "REDIS_URL", "value": "redis://:$hunter2@h/0"}, "$hunter2"),
    ("data", ("app.ini", "[db]\npassword = hunter(2)\n"), "hunter(2)"),
    ("data", ("app.ini", "[db]\npassword = $hunter2\n"), "$hunter2"),
    ("data", ("run.py", 'token = "hunter[2"\n'), "hunter[2"),
]
HARMLESS = [
    ("env", {"name": "PASSWORD_FILE", "value": "/run/secrets/password"}),
    ("env", {"name": "DB_PASSWORD", "value": "$(OTHER)"}),
    ("env", {"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}),
    ("env", {"name": "DATABASE_URL", "value": "postgresql://app:$(DB_PASSWORD)@pgbouncer:6432/features"}),
    ("env", {"name": "EXISTING_SECRET_NAME", "value": "db-credentials-v2"}),
    ("env", {"name": "REDIS_URL", "value": "redis://redis:6379/0"}),
    ("data", ("postgresql.conf", "password_encryption = scram-sha-256\n")),
    ("data", ("pgbouncer.ini", "auth_type = scram-sha-256\nauth_file = /etc/pgbouncer/userlist.txt\n")),
    ("data", ("run.py", "token = read(path)\npassword = os.environ['PASSWORD']\n")),
    ("data", ("run.sh", "#!/bin/sh\nPGPASSWORD=$(cat /run/password)\n")),
    ("data", ("README", "The password is kept in a Secret; the token too.")),
    ("data", ("run.sh", '#!/bin/sh\nPGPASSWORD="$(cat /run/password)" TOKEN="$TOKEN" SECRET="${SECRET:-}" psql\n')),
    ("data", ("run.py", 'url = f"redis://:{password}@{host}/0"\n')),
    ("args", "export PGPASSWORD=$(cat /run/secrets/app) REDIS_TOKEN=$REDIS_TOKEN; exec serve"),
    ("annotation", "replicas 15: ceil(1,000 / 100 × 1.5) [throughput]"),
]


def holder(place: str, what: Any) -> dict[str, Any]:
    base: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
    if place == "data":
        return {**base, "data": {what[0]: what[1]}}
    if place == "annotation":
        return {**base, "metadata": {"name": "x", "annotations": {"note": what}}}
    container = {"name": "app", **({"env": [what]} if place == "env" else {"args": [what]})}
    return {**base, "kind": "Deployment", "spec": {"template": {"spec": {"containers": [container]}}}}


SECRET_NAMES = """
    DB_PASSWORD DB_PASSWORD_OLD PGPASSWORD dbpass SMTP_PWD SECRET_KEY_BASE SIGNING_KEY SECRET_KEY apiKey API_KEY_2
    JWT_SECRET_PREVIOUS GITHUB_TOKEN_PROD AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY client-secret STORAGE_ACCOUNT_KEY
    TOKEN PASSWORD_REDIS ENCRYPTION_KEY_V2 KEY_PASSPHRASE credentials.json MasterKey
""".split()  # noqa: SIM905  words read best as words
OTHER_NAMES = """
    PASSWORD_FILE SECRET_NAME TOKEN_TTL KEY_PREFIX
    EXISTING_SECRET_NAME PASSWORD_FILE_OLD TOKEN_TTL_SECONDS MAX_TOKENS
    TOKENIZERS_PARALLELISM PUBLIC_KEY KEY PRIMARY_KEY BYPASS PWD OLDPWD PASSWORD_MIN_LENGTH TOKEN_URL secretName
    SECRET_STORE_REGION API_KEY_HEADER PASSWORD_ENCRYPTION FOREIGN_KEY MONKEY passengers
""".split()  # noqa: SIM905  words read best as words


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_value_under_a_secrets_name_is_found(name: str) -> None:
    assert [f.span for f in plaintext.find(holder("env", {"name": name, "value": "hunter2"}))] == [(0, 7)]


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_a_name_that_describes_a_secret_is_none(name: str) -> None:
    assert plaintext.find(holder("env", {"name": name, "value": "hunter2"})) == []


@pytest.mark.parametrize("value", ["$(OTHER)", "${OTHER}", "%(other)s", "%s", "<redacted>", "{{ .Values.x }}", "***"])
def test_a_placeholder_is_no_secret(value: str) -> None:
    assert plaintext.find(holder("env", {"name": "DB_PASSWORD", "value": value})) == []


@pytest.mark.parametrize(("place", "what", "secret"), SECRETS, ids=[s[2][:12] + s[0] for s in SECRETS])
def test_a_secret_is_found_and_hidden(place: str, what: Any, secret: str) -> None:
    manifest = holder(place, what)
    found = plaintext.find(manifest)
    assert len(found) == 1
    assert secret not in found[0].where + found[0].what
    clean = plaintext.redact(manifest)
    assert secret not in json.dumps(clean)
    assert plaintext.HIDDEN in json.dumps(clean)
    assert secret in json.dumps(manifest), "the original is not touched"


@pytest.mark.parametrize(("place", "what"), HARMLESS)
def test_what_is_no_secret_is_left_alone(place: str, what: Any) -> None:
    manifest = holder(place, what)
    assert plaintext.find(manifest) == []
    assert plaintext.redact(manifest) == manifest


def test_several_secrets_in_one_text_are_all_hidden() -> None:
    text = "password=one\npassword=two\nurl=redis://:three@redis\n"
    clean = plaintext.redact(holder("data", ("app.ini", text)))["data"]["app.ini"]
    assert clean == "password=(hidden)\npassword=(hidden)\nurl=redis://:(hidden)@redis\n"


def test_secret_objects_are_where_secrets_belong() -> None:
    assert plaintext.find({"kind": "Secret", "metadata": {"name": "x"}, "stringData": {"password": "hunter2"}}) == []


def test_the_place_is_told_as_people_write_it() -> None:
    found = plaintext.find(holder("env", {"name": "DB_PASSWORD", "value": "x1"}))
    assert [f.where for f in found] == ["spec.template.spec.containers[0].env[0].value"]


@given(
    st.text(
        alphabet=st.characters(codec="ascii", exclude_characters=" \t\n\r\"',;@/:\x0b\x0c\x1c\x1d\x1e\x1f"),
        min_size=6,
    ).map(lambda text: text + "h!")
)
def test_no_value_under_a_secret_name_gets_through(value: str) -> None:
    assert (
        value
        not in plaintext.redact(holder("env", {"name": "TOKEN", "value": value}))["spec"]["template"]["spec"][
            "containers"
        ][0]["env"][0]["value"]
    )


def test_a_message_is_scrubbed() -> None:
    assert "hunter2" not in plaintext.scrub("cannot reach postgresql://app:hunter2@db/x")


LONG = 2**17


@pytest.mark.parametrize("piece", ["a", "a.", "a://b:", "://", "token", "password ", "eyJ-"])
def test_a_long_value_is_read_once(piece: str) -> None:
    """With steps in the square of its length each of these would take a quarter of an hour and more."""
    program = (
        f"from headroom.redaction import plaintext; print(len(plaintext.scrub({piece!r} * ({LONG} // {len(piece)}))))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True, timeout=240
    )
    assert int(done.stdout) > 0


def test_a_secret_after_a_long_text_is_found() -> None:
    text = "a" * 5000 + "_password=hunter2 " + "b" * 500 + "://app:hunter3@db " + "a://b:" * 100 + "c@d"
    hidden = plaintext.scrub(text)
    assert "hunter" not in hidden
    assert hidden.count(plaintext.HIDDEN) == 3


def test_a_very_long_name_is_told_by_its_end() -> None:
    found = plaintext.find(holder("annotation", "x" * 5000 + "_token=hunter2"))
    assert [f.what.endswith("xxx_token") and len(f.what) < 200 for f in found] == [True]
