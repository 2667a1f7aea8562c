from __future__ import annotations

import json
import multiprocessing
import stat
from pathlib import Path
from typing import Any

import pytest

from headroom.backend import local_secrets, secrets
from headroom.errors import EnvironmentFailure, InputError

PROD = """\
config:
  headroom:environment: prod
  headroom:services:
    inference: {preset: fastapi, connectionsPerPod: 4}
    inferadb: {preset: inferadb}
  headroom:postgres: {replicationFactor: 2}
  headroom:pgbouncer: {}
  headroom:redis: {mode: cluster}
  headroom:h2o: {demand: {dataset: 60GB}}
"""
EVERY = {
    "postgresSuperuser",
    "postgresReplication",
    "postgresRewind",
    "postgresApp",
    "pgbouncerAuth",
    "redisApp",
    "redisAdmin",
    "redisMonitor",
    "h2oUi",
}


def stack_file(folder: Path, text: str) -> Path:
    file = folder / "Pulumi.prod.yaml"
    file.write_text(text)
    return file


def test_a_full_stack_needs_every_secret_there_is(tmp_path: Path) -> None:
    stack = secrets.read(stack_file(tmp_path, PROD))
    assert set(stack.required) == EVERY == set(secrets.REQUIRED)
    assert stack.present == frozenset()


@pytest.mark.parametrize(
    ("component", "needed"),
    [
        (
            "postgres",  # and PgBouncer before it
            {"postgresSuperuser", "postgresReplication", "postgresRewind", "postgresApp", "pgbouncerAuth"},
        ),
        ("pgbouncer", {"pgbouncerAuth"}),
        ("redis", {"redisApp", "redisAdmin", "redisMonitor"}),
        ("h2o", {"h2oUi"}),
    ],
)
def test_a_component_needs_its_own(tmp_path: Path, component: str, needed: set[str]) -> None:
    assert set(secrets.read(stack_file(tmp_path, f"config: {{headroom:{component}: {{}}}}")).required) == needed


@pytest.mark.parametrize("text", ["", "config:", "config: {}", "config: {headroom:postgres: null}"])
def test_a_stack_without_components_needs_none(tmp_path: Path, text: str) -> None:
    assert secrets.read(stack_file(tmp_path, text)).required == {}


@pytest.mark.parametrize(
    ("name", "rolled"),
    [
        ("postgresApp", ("inference",)),
        ("postgresSuperuser", ()),
        ("redisMonitor", ("redis",)),
        ("h2oUi", ("h2o-cluster",)),
    ],
)
def test_what_rolls_is_who_uses_it(tmp_path: Path, name: str, rolled: tuple[str, ...]) -> None:
    assert secrets.read(stack_file(tmp_path, PROD)).rolls(name) == rolled


def test_services_roll_only_where_there_are_some(tmp_path: Path) -> None:
    bare = secrets.read(stack_file(tmp_path, "config: {headroom:postgres: {}}"))
    assert bare.rolls("postgresApp") == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("config: [", "is not valid YAML"),
        ("config: 3", "config must be an object"),
        ("config: {headroom:secrets: hunter2}", "must be an object, not str"),
        ("config: {headroom:secrets: {secure: v1:abc}}", "is one encrypted value"),
        ("config: {headroom:services: [inference]}", "must be an object, not list"),
    ],
)
def test_a_stack_file_that_is_none_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        secrets.read(stack_file(tmp_path, text))
    assert "hunter2" not in str(caught.value)


def test_passwords_are_long_whole_anywhere_and_never_twice() -> None:
    made = [secrets.generate() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert {len(password) for password in made} == {40}
    assert all(password.isascii() and password.isalnum() for password in made)
    assert len(set("".join(made))) == 62


def path_in(folder: Path) -> Path:
    return folder / "headroom" / "demo" / local_secrets.FILE


def test_local_secrets_are_made_once_and_for_the_user_only(tmp_path: Path) -> None:
    path = path_in(tmp_path)
    first = local_secrets.ensure_local(path, {"postgres", "redis"})
    assert set(first) == {name for name in EVERY if name.startswith(("postgres", "redis"))}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert local_secrets.ensure_local(path, {"postgres", "redis"}) == first


def test_a_component_that_comes_later_adds_its_own_and_keeps_the_rest(tmp_path: Path) -> None:
    first = local_secrets.ensure_local(path_in(tmp_path), {"redis"})
    both = local_secrets.ensure_local(path_in(tmp_path), {"redis", "h2o"})
    assert both == {**first, "h2oUi": both["h2oUi"]}
    assert local_secrets.ensure_local(path_in(tmp_path), {"redis"}) == first


def test_rights_that_somebody_widened_are_taken_back(tmp_path: Path) -> None:
    first = local_secrets.ensure_local(path_in(tmp_path), {"h2o"})
    path_in(tmp_path).chmod(0o644)
    assert local_secrets.ensure_local(path_in(tmp_path), {"h2o"}) == first
    assert stat.S_IMODE(path_in(tmp_path).stat().st_mode) == 0o600


def test_rotating_changes_one_and_no_other(tmp_path: Path) -> None:
    before = local_secrets.ensure_local(path_in(tmp_path), {"redis"})
    local_secrets.rotate_local(path_in(tmp_path), "redisApp")
    after = local_secrets.ensure_local(path_in(tmp_path), {"redis"})
    assert {name for name in before if before[name] != after[name]} == {"redisApp"}
    assert stat.S_IMODE(path_in(tmp_path).stat().st_mode) == 0o600


def test_rotating_what_the_file_lacks_is_refused(tmp_path: Path) -> None:
    local_secrets.ensure_local(path_in(tmp_path), {"redis"})
    with pytest.raises(InputError, match="'h2oUi' is no secret") as caught:
        local_secrets.rotate_local(path_in(tmp_path), "h2oUi")
    assert "redisApp" in caught.value.fix


def test_rotating_for_a_cluster_without_secrets_says_so_and_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cluster demo has no secrets") as caught:
        local_secrets.rotate_local(path_in(tmp_path), "redisApp")
    assert caught.value.fix == "headroom up --name demo, which makes them"
    assert list(tmp_path.iterdir()) == []
    local_secrets.ensure_local(path_in(tmp_path).parents[1] / "mine" / local_secrets.FILE, {"redis"})
    with pytest.raises(InputError) as caught:
        local_secrets.rotate_local(path_in(tmp_path), "redisApp")
    assert "--cluster with one of mine" in caught.value.fix


@pytest.mark.parametrize("text", ["", "{", "[]", '{"redisApp": 3}', '{"redisApp": "hunter2"'])
def test_a_broken_file_is_said_without_quoting_it_and_left_alone(tmp_path: Path, text: str) -> None:
    path_in(tmp_path).parent.mkdir(parents=True)
    path_in(tmp_path).write_text(text)
    with pytest.raises(EnvironmentFailure, match="holds no secrets that can be read") as caught:
        local_secrets.ensure_local(path_in(tmp_path), {"redis"})
    assert "hunter2" not in str(caught.value)
    assert path_in(tmp_path).read_text() == text


def test_a_write_that_fails_leaves_what_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = local_secrets.ensure_local(path_in(tmp_path), {"redis"})

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(EnvironmentFailure, match="No space left"):
        patch.setattr("os.fsync", full)
        local_secrets.rotate_local(path_in(tmp_path), "redisApp")
    assert local_secrets.ensure_local(path_in(tmp_path), {"redis"}) == before
    assert sorted(p.name for p in path_in(tmp_path).parent.iterdir()) == ["secrets.json", "secrets.json.lock"]


def _ensure(path: Path, into: Any) -> None:
    into.put(json.dumps(local_secrets.ensure_local(path, {"postgres", "redis", "h2o"}), sort_keys=True))


def test_many_at_once_agree_on_one_set(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    results: Any = context.SimpleQueue()
    workers = [context.Process(target=_ensure, args=(path_in(tmp_path), results)) for _ in range(6)]
    for worker in workers:
        worker.start()
    seen = {results.get() for _ in workers}
    for worker in workers:
        worker.join()
    assert len(seen) == 1
