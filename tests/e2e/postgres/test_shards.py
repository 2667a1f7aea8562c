"""Buckets and fences, settings that reach running shards, passwords that change, and what is refused."""

from __future__ import annotations

import copy
import random
import uuid
from collections.abc import Callable

import psycopg
import pytest

from bench.postgres.ledger import Ledger
from bench.postgres.site import CONFIG, NAMESPACE, STACK, Site, until
from headroom.backend import local_secrets
from headroom.capacity import demand, plan
from headroom.errors import InputError
from headroom.ops.verify import Scene, Verdict, buckets, postgres
from inference.shards import bucket_of, schema_of

pytestmark = pytest.mark.e2e


def keys(count: int) -> list[str]:
    """Keys of every kind: words, numbers, other alphabets, emoji, quotes, the empty one, long ones."""
    chance = random.Random(5)  # noqa: S311
    alphabet = "aZ09 _-'\"\\%äßçñøлт日本語한국🙂\u200d\u0301\n\t"
    made = ["", "'", "\\", "é", "é", "x" * 5000]
    return made + ["".join(chance.choices(alphabet, k=chance.randint(1, 40))) for _ in range(count - len(made))]


def test_python_and_postgresql_hash_alike(settled: Site) -> None:
    with psycopg.connect(settled.direct(0)) as connection:
        query = (
            "SELECT get_byte(sha256(convert_to(k, 'UTF8')), 0) "
            "FROM unnest(%s::text[]) WITH ORDINALITY AS t(k, n) ORDER BY n"
        )
        found = [row[0] for row in connection.execute(query, (keys(20_000),))]
    assert found == [bucket_of(key) for key in keys(20_000)]


def test_a_write_to_the_wrong_shard_or_bucket_is_refused(settled: Site) -> None:
    owners = settled.map().owners
    key = next(k for k in (str(uuid.uuid4()) for _ in iter(int, 1)) if owners[bucket_of(k)] == 1)
    insert = "INSERT INTO {}.features (entity_id, features) VALUES (%s, '{{1}}')"
    with psycopg.connect(settled.address() + "_0", autocommit=True, prepare_threshold=None) as wrong:
        with pytest.raises(psycopg.errors.UndefinedTable):
            wrong.execute(insert.format(schema_of(bucket_of(key))), (key,))
        own = owners.index(0)
        with pytest.raises(psycopg.errors.CheckViolation):
            wrong.execute(insert.format(schema_of(own)), (key,))
        for statement in (
            f"CREATE SCHEMA {schema_of(bucket_of(key))}",
            "CREATE TABLE public.elsewhere (key text)",
            f"CREATE TABLE {schema_of(own)}.more (key text)",
            "SELECT * FROM headroom.pooler_lookup('features')",
            "UPDATE headroom.bucket SET bucket = 0",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                wrong.execute(statement)
    with psycopg.connect(settled.address() + "_1", autocommit=True, prepare_threshold=None) as right:
        assert right.execute(insert.format(schema_of(bucket_of(key))), (key,)).rowcount == 1


def test_verify_passes(settled: Site) -> None:
    sized = plan.make(demand.load(STACK, settled.request().file))
    scene = Scene(sized, settled.kubectl, real_pods=True)
    findings = [f for check in (postgres.shards, buckets.buckets, postgres.pooler) for f in check(scene)]
    assert len(findings) == 2 * 2 + 3 + 2 + 1
    assert [f for f in findings if f.verdict is not Verdict.passed] == []


def test_verify_sees_a_bucket_that_lost_its_fence(settled: Site) -> None:
    sized = plan.make(demand.load(STACK, settled.request().file))
    scene = Scene(sized, settled.kubectl, real_pods=True)
    leader = settled.leader(1)
    assert leader is not None
    settled.sql(leader, "CREATE SCHEMA b000; CREATE TABLE b000.features (); GRANT USAGE ON SCHEMA b000 TO features; "
                        "GRANT INSERT ON b000.features TO features")  # fmt: skip
    try:
        failed = [f for f in buckets.buckets(scene) if f.verdict is Verdict.failed]
        assert [(f.component, f.check) for f in failed] == [("pg-shard-1", "fences")]
    finally:
        settled.sql(leader, "DROP SCHEMA b000 CASCADE")


def test_up_again_changes_nothing(settled: Site) -> None:
    again = settled.up().changes
    assert [str(c) for c in again.items if c.action != "unchanged"] == []


def test_a_setting_reaches_running_shards_also_one_that_needs_a_restart(
    settled: Site, ledger: Callable[..., Ledger], nothing_lost: Callable[[Ledger], None]
) -> None:
    before = {n: settled.pod(n)["metadata"]["uid"] for n in ("pg-shard-0-0", "pg-shard-0-1")}  # type: ignore[index]
    changed = copy.deepcopy(CONFIG)
    changed["headroom:postgres"]["maxConnections"] = 120
    changed["headroom:postgres"]["override"]["work_mem"] = {"value": "6Mi", "because": "a test"}
    written = ledger(0)
    try:
        with written.writing():
            written.wait_for(50)
            settled.up(changed)
            written.wait_for(100)
        for pod in before:
            assert settled.sql(pod, "SHOW max_connections") == "120"
            assert settled.sql(pod, "SHOW work_mem") == "6MB"
        assert {n: settled.pod(n)["metadata"]["uid"] for n in before} == before, "no pod was replaced"  # type: ignore[index]
        nothing_lost(written)
    finally:
        settled.up()
    assert settled.sql("pg-shard-1-0", "SHOW max_connections") == "100"


def test_a_smaller_volume_is_refused_before_anything_changes(settled: Site) -> None:
    changed = copy.deepcopy(CONFIG)
    del changed["headroom:postgres"]["override"]
    with pytest.raises(InputError, match="PersistentVolumeClaim"):
        settled.up(changed)


def test_a_new_password_reaches_roles_patroni_and_pooler_without_a_restart(
    settled: Site, ledger: Callable[..., Ledger], nothing_lost: Callable[[Ledger], None]
) -> None:
    before = {p["metadata"]["name"]: restarts(p) for p in settled.kubectl.items("pods", NAMESPACE) if running(p)}
    written = ledger(0, deadline_s=10.0)
    with written.writing():
        written.wait_for(50)
        for name in ("postgresReplication", "pgbouncerAuth", "postgresSuperuser"):
            local_secrets.rotate_local(settled.cluster.state / "secrets.json", name)
        settled.up()

        def arrived() -> bool:
            address = (
                f"postgresql://postgres:{settled.password('postgresSuperuser')}@{settled.host('pg-shard-0')}/postgres"
            )
            try:
                psycopg.connect(f"{address}?sslmode=require&connect_timeout=3").close()
            except psycopg.OperationalError:
                return False
            return True

        until(arrived, 180, "the new password is in force")
        written.wait_for(100)
        # PgBouncers that know the new ones alone, while certificates and verifiers have just become others.
        settled.kubectl.run("rollout", "restart", "deployment/pgbouncer", "-n", NAMESPACE)
        settled.kubectl.run("rollout", "status", "deployment/pgbouncer", "-n", NAMESPACE, "--timeout=180s", timeout=200)
        written.wait_for(100)
    assert written.failed == []
    after = {p["metadata"]["name"]: restarts(p) for p in settled.kubectl.items("pods", NAMESPACE) if running(p)}
    assert after.items() >= {name: count for name, count in before.items() if name.startswith("pg-shard")}.items()
    nothing_lost(written)


def running(pod: dict[str, object]) -> bool:
    return pod.get("status", {}).get("phase") == "Running"  # type: ignore[attr-defined]


def restarts(pod: dict[str, object]) -> int:
    return sum(c["restartCount"] for c in pod["status"]["containerStatuses"])  # type: ignore[index]
