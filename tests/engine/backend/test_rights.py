"""What the real Pulumi CLI asks of S3 and KMS, against the policies that `headroom backend` prints."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headroom.backend import aws as door
from headroom.backend import names as naming
from headroom.backend import policies, provision
from headroom.backend.policies import Role
from headroom.progress import Silent

pytestmark = pytest.mark.engine
if shutil.which("pulumi") is None or shutil.which("pulumi-language-python") is None:
    pytest.skip("the Pulumi CLI with its Python host is not on PATH", allow_module_level=True)

# S3 asks KMS for these itself when it stores and reads, in the caller's name; moto's S3 does not.
BY_S3 = {"kms:GenerateDataKey"}
# Asked only when a large upload fails.
ON_FAILURE = {"s3:AbortMultipartUpload"}

PROGRAM = """\
import pulumi
pulumi.export("password", pulumi.Config().require_secret("password"))
"""


@pytest.fixture
def program(home: str) -> None:
    Path("Pulumi.yaml").write_text(
        f"name: headroom\nruntime:\n  name: python\n  options:\n    virtualenv: {sys.prefix}\n"
    )
    Path("__main__.py").write_text(PROGRAM)


def allowed(role: Role, names: naming.Names, key_arn: str) -> set[str]:
    policy = policies.policy(role, names, account="123456789012", key_arn=key_arn)
    return {action for statement in policy["Statement"] for action in statement["Action"]}


def test_each_role_may_do_just_what_its_commands_ask(program: None, pulumi: Callable[..., str], aws: Any) -> None:
    names = naming.names("team-state", "eu-west-1")
    key = provision.init(door.connect("eu-west-1"), names, progress=Silent()).key_arn
    s3 = f"{names.backend_url}&endpoint={aws.url.removeprefix('http://')}&disableSSL=true&s3ForcePathStyle=true"
    aws.recorded()

    pulumi("stack", "init", "dev", "--secrets-provider", names.secrets_provider, backend=s3)
    made = aws.recorded()
    pulumi("config", "set", "--secret", "password", "--stack", "dev", stdin="hunter2", backend=s3)
    pulumi("up", "--yes", "--stack", "dev", backend=s3)
    aws.recorded()
    pulumi("up", "--yes", "--stack", "dev", backend=s3)
    deployed = aws.recorded()
    pulumi("preview", "--stack", "dev", backend=s3)
    previewed = aws.recorded()
    pulumi("preview", "--refresh", "--expect-no-changes", "--stack", "dev", backend=s3)
    drift = aws.recorded()
    pulumi("destroy", "--yes", "--stack", "dev", backend=s3)
    pulumi("stack", "rm", "dev", "--yes", backend=s3)
    removed = aws.recorded()

    assert made | deployed | removed == allowed(Role.person, names, key) - BY_S3 - ON_FAILURE
    assert deployed == allowed(Role.ci, names, key) - BY_S3 - ON_FAILURE
    assert previewed == drift == allowed(Role.preview, names, key)
    assert all(object_key.startswith(".pulumi/") for object_key in aws.keys)
