"""Settings from the environment, and what wrong ones get."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inference.errors import StartError
from inference.settings import Settings, describe, from_environment


def test_defaults_and_given() -> None:
    assert from_environment({}) == Settings.model_validate({})
    found = from_environment({"WORKER_THREADS": "8", "LOG_LEVEL": "INFO", "DATABASE_URL": "", "OTHER": "x"})
    assert found.worker_threads == 8
    assert found.log_level == "info"
    assert found.database_url is None
    with pytest.raises(ValueError, match="frozen"):
        found.worker_threads = 1


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("WORKER_THREADS", "0", "WORKER_THREADS='0': input should be greater than or equal to 1"),
        ("WORKER_THREADS", "four", "WORKER_THREADS='four': input should be a valid integer"),
        ("QUEUE_LIMIT", "-1", "QUEUE_LIMIT='-1'"),
        ("PORT", "70000", "PORT='70000'"),
        ("CACHE_EARLY_FRACTION", "1.5", "CACHE_EARLY_FRACTION='1.5'"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL='loud'"),
        ("DEADLINE_MS", "60000", "DEADLINE_MS (60000) is over DEADLINE_MAX_MS (30000)"),
        ("SHARD_MAP", "/map.json", "SHARD_MAP is set, but DATABASE_URL is not"),
        ("DATABASE_URL", "mysql://app:hunter2@db/features", "DATABASE_URL: must begin with postgresql://"),
        ("DATABASE_URL", "postgresql://app:hunter2@db", "DATABASE_URL: must name a database"),
        ("REDIS_URL", "redis+sentinel://:hunter2@h1,h2", "REDIS_URL: must name the master"),
        ("REDIS_URL", "http://hunter2@h1", "REDIS_URL: must begin with redis://"),
        ("REDIS_URL", "redis://:hunter2@/0", "REDIS_URL: must name a host"),
    ],
)
def test_wrong_settings_are_named_without_their_secrets(name: str, value: str, said: str) -> None:
    with pytest.raises(StartError) as caught:
        from_environment({name: value})
    assert said in str(caught.value)
    assert caught.value.exit_code == 2
    assert "hunter2" not in str(caught.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(StartError) as caught:
        from_environment({"PORT": "x", "QUEUE_LIMIT": "y"})
    assert "PORT='x'" in str(caught.value)
    assert "QUEUE_LIMIT='y'" in str(caught.value)


def test_every_setting_is_described() -> None:
    for field in Settings.model_fields:
        assert field.upper() in describe()


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "inference"]
    kept = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.run(command, env={**kept, **environment}, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("environment", "code", "said"),
    [
        ({"WORKER_THREADS": "none"}, 2, "WORKER_THREADS='none'"),
        ({"MODEL_PATH": __file__}, 1, "cannot be loaded"),
        ({"MODEL_PATH": "/nowhere/mine.onnx"}, 1, "there is no model at /nowhere/mine.onnx"),
        (
            {"MODEL_PATH": "/nowhere/model.onnx", "DATABASE_URL": "postgresql://h/d"},
            1,
            "set MODEL_PATH to the ONNX file",
        ),
    ],
)
def test_the_process_says_it_in_one_message(environment: dict[str, str], code: int, said: str) -> None:
    ended = run(**environment)
    assert ended.returncode == code
    assert said in ended.stderr
    assert "fix: " in ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout


def test_a_map_that_cannot_be_read(sample: Path, tmp_path: Path) -> None:
    broken = tmp_path / "map.json"
    broken.write_text('{"version": 1, "shards": 2, "buckets": [0, 1]}')
    for path, said in ((broken, "2 buckets instead of 256"), (tmp_path / "none", "No such file")):
        ended = run(MODEL_PATH=str(sample / "model.onnx"), DATABASE_URL="postgresql://h/d", SHARD_MAP=str(path))
        assert ended.returncode == 2
        assert said in ended.stderr
