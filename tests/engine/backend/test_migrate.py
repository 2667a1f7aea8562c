"""The real Pulumi CLI, with S3 and KMS of moto behind it: a stack moves there and back, and secrets are set."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headroom.backend import aws as door
from headroom.backend import migrate as migration
from headroom.backend import names as naming
from headroom.backend import provision, pulumi_cli, secrets
from headroom.errors import EnvironmentFailure
from headroom.progress import Silent

pytestmark = pytest.mark.engine
if shutil.which("pulumi") is None:
    pytest.skip("the Pulumi CLI is not on PATH", allow_module_level=True)

STACK_FILE = """\
# Who asks may change this.
config:
  headroom:environment: dev
  headroom:redis: {mode: cluster}
"""
SECRET = "4dabf18193072939515e22adb298388d"
SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"


@pytest.fixture
def project(home: str) -> None:
    """A stack's files."""
    Path("Pulumi.yaml").write_text("name: headroom\nruntime: python\n")
    Path("Pulumi.dev.yaml").write_text(STACK_FILE)


def with_a_secret(exported: dict[str, Any]) -> dict[str, Any]:
    """The state of a stack that has deployed something: a component, and a secret among its outputs."""
    stack = "urn:pulumi:dev::headroom::pulumi:pulumi:Stack::headroom-dev"
    secret = {SECRET: SECRET_SIGNATURE, "plaintext": json.dumps("hunter2")}
    exported["deployment"]["resources"] = [
        {"urn": stack, "custom": False, "type": "pulumi:pulumi:Stack", "outputs": {"password": secret}},
        {
            "urn": "urn:pulumi:dev::headroom::app:Redis::redis",
            "custom": False,
            "type": "app:Redis",
            "parent": stack,
            "outputs": {"port": 6379},
        },
    ]
    return exported


def content(pulumi: Callable[..., str], backend: str) -> dict[str, Any]:
    exported = json.loads(pulumi("stack", "export", "--stack", "dev", "--show-secrets", backend=backend))
    return {r["urn"]: r.get("outputs") for r in exported["deployment"]["resources"]}


@pytest.fixture
def deployed(project: None, pulumi: Callable[..., str]) -> dict[str, Any]:
    pulumi("stack", "init", "dev", "--secrets-provider", "passphrase")
    secrets.init("dev", Path("Pulumi.dev.yaml"), pulumi_cli.find(Path.cwd()), dry_run=False, progress=Silent())
    exported = json.loads(pulumi("stack", "export", "--stack", "dev"))
    pulumi("stack", "import", "--stack", "dev", stdin=json.dumps(with_a_secret(exported)))
    return content(pulumi, os.environ["PULUMI_BACKEND_URL"])


def test_secrets_are_encrypted_in_the_stack_file_and_whole_in_the_program(
    pulumi: Callable[..., str], deployed: dict[str, Any]
) -> None:
    shown = json.loads(pulumi("config", "--stack", "dev", "--show-secrets", "--json"))["headroom:secrets"]
    values = shown["objectValue"]
    assert set(values) == {"redisApp", "redisAdmin", "redisMonitor"}
    text = Path("Pulumi.dev.yaml").read_text()
    assert all(len(value) == 40 and value not in text for value in values.values())
    assert text.count("secure:") == 3
    rolled = secrets.rotate(
        "redisApp", "dev", Path("Pulumi.dev.yaml"), pulumi_cli.find(Path.cwd()), dry_run=False, progress=Silent()
    )
    after = json.loads(pulumi("config", "--stack", "dev", "--show-secrets", "--json"))["headroom:secrets"][
        "objectValue"
    ]
    assert rolled == ("redis",)
    assert {name for name in values if values[name] != after[name]} == {"redisApp"}


def test_a_stack_moves_to_s3_and_kms_and_back_and_nothing_differs(
    pulumi: Callable[..., str], deployed: dict[str, Any], aws: Any, home: str, tmp_path: Path
) -> None:
    names = naming.names("team-state", "eu-west-1")
    provision.init(door.connect("eu-west-1"), names, progress=Silent())
    # moto answers on one address for all buckets, which is the path style.
    s3 = f"{names.backend_url}&endpoint={aws.url.removeprefix('http://')}&disableSSL=true&s3ForcePathStyle=true"
    config = json.loads(pulumi("config", "--stack", "dev", "--show-secrets", "--json"))

    moved = migration.migrate("dev", source=None, target=s3, secrets_provider=names.secrets_provider, progress=Silent())

    assert moved.resources == 2
    assert content(pulumi, s3) == deployed
    assert json.loads(pulumi("config", "--stack", "dev", "--show-secrets", "--json", backend=s3)) == config
    text = Path("Pulumi.dev.yaml").read_text()
    assert "secretsprovider: awskms://" in text
    assert text.startswith("# Who asks may change this.")
    assert content(pulumi, home) == deployed

    (tmp_path / "second").mkdir()
    back = f"file://{tmp_path / 'second'}"
    migration.migrate("dev", source=s3, target=back, secrets_provider="passphrase", progress=Silent())

    assert content(pulumi, back) == deployed
    assert json.loads(pulumi("config", "--stack", "dev", "--show-secrets", "--json", backend=back)) == config
    assert "awskms" not in Path("Pulumi.dev.yaml").read_text()


def test_a_bucket_that_is_not_there_leaves_everything_as_it_was(
    pulumi: Callable[..., str], deployed: dict[str, Any], aws: Any, home: str
) -> None:
    before = Path("Pulumi.dev.yaml").read_text()
    s3 = (
        f"s3://nobody?region=eu-west-1&endpoint={aws.url.removeprefix('http://')}&disableSSL=true&s3ForcePathStyle=true"
    )
    with pytest.raises(EnvironmentFailure):
        migration.migrate("dev", source=None, target=s3, secrets_provider="passphrase", progress=Silent())
    assert Path("Pulumi.dev.yaml").read_text() == before
    assert content(pulumi, home) == deployed
