"""An AWS of moto's, and a gate before it that records every call and can refuse some."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache, cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import botocore.session
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from moto import mock_aws
from moto.s3.models import FakeBucket

from headroom.backend import aws as door
from headroom.backend import names as naming
from headroom.backend.key import TAG

REGION = "eu-west-1"
BUCKET = "team-state"


@pytest.fixture(autouse=True)
def _no_real_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    # As in AWS, one account does not see into another's buckets.
    monkeypatch.setenv("MOTO_S3_ALLOW_CROSSACCOUNT_ACCESS", "false")


# What costs most here is not what is tested: reading AWS's models, making clients, RSA keys that nobody uses.
_MODELS = botocore.session.Session().get_component("data_loader")
_client = cache(boto3.client)
_rsa_key = cache(rsa.generate_private_key)


@pytest.fixture(autouse=True)
def _made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(botocore.session, "create_loader", lambda *_: _MODELS)
    monkeypatch.setattr(boto3, "client", _client)
    monkeypatch.setattr(rsa, "generate_private_key", _rsa_key)


@pytest.fixture(autouse=True)
def _moto_minds_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """moto does not evaluate `aws:SecureTransport` and lets a TLS-only policy deny everybody. What boto3 sends is
    HTTPS, so leave such statements out when moto asks a bucket's policy."""
    ask = FakeBucket.get_permission

    def over_tls(bucket: FakeBucket, action: str, resource: str) -> Any:
        if bucket.policy is None:
            return ask(bucket, action, resource)
        policy = json.loads(bucket.policy)
        policy["Statement"] = [s for s in policy["Statement"] if "Bool" not in s.get("Condition", {})]
        view = SimpleNamespace(policy=json.dumps(policy).encode())
        return ask(view, action, resource)

    monkeypatch.setattr(FakeBucket, "get_permission", over_tls)


@dataclass
class Notes:
    """A listener of progress that remembers what stays on the screen."""

    lines: list[str] = field(default_factory=list)

    def begin(self, text: str) -> None: ...
    def detail(self, text: str) -> None: ...
    def end(self, text: str, *, ok: bool) -> None: ...
    def note(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def notes() -> Notes:
    return Notes()


@dataclass(frozen=True)
class Call:
    """One API call: service, operation, and the parameters that it was made with."""

    service: str
    operation: str
    params: dict[str, Any]

    @property
    def actions(self) -> list[str]:
        """The IAM actions that it needs."""
        return [action for action, _ in NEEDS[self.operation]]

    @property
    def reads(self) -> bool:
        return self.operation.startswith(("Get", "List", "Describe", "Head"))


# What each operation needs, from the Service Authorization Reference (the pages of Amazon S3 and AWS KMS); written here
# a second time, independently of the program. Objects and keys are (action, kind of resource).
NEEDS: dict[str, list[tuple[str, str]]] = {
    "HeadBucket": [("s3:ListBucket", "bucket")],
    "ListObjectsV2": [("s3:ListBucket", "bucket")],
    "ListObjectVersions": [("s3:ListBucketVersions", "bucket")],
    "CreateBucket": [("s3:CreateBucket", "bucket"), ("s3:PutBucketOwnershipControls", "bucket")],
    "DeleteBucket": [("s3:DeleteBucket", "bucket")],
    "GetPublicAccessBlock": [("s3:GetBucketPublicAccessBlock", "bucket")],
    "PutPublicAccessBlock": [("s3:PutBucketPublicAccessBlock", "bucket")],
    "GetBucketOwnershipControls": [("s3:GetBucketOwnershipControls", "bucket")],
    "PutBucketOwnershipControls": [("s3:PutBucketOwnershipControls", "bucket")],
    "GetBucketVersioning": [("s3:GetBucketVersioning", "bucket")],
    "PutBucketVersioning": [("s3:PutBucketVersioning", "bucket")],
    "GetBucketEncryption": [("s3:GetEncryptionConfiguration", "bucket")],
    "PutBucketEncryption": [("s3:PutEncryptionConfiguration", "bucket")],
    "GetBucketPolicy": [("s3:GetBucketPolicy", "bucket")],
    "PutBucketPolicy": [("s3:PutBucketPolicy", "bucket")],
    "GetBucketLifecycleConfiguration": [("s3:GetLifecycleConfiguration", "bucket")],
    "PutBucketLifecycleConfiguration": [("s3:PutLifecycleConfiguration", "bucket")],
    "GetBucketLogging": [("s3:GetBucketLogging", "bucket")],
    "PutBucketLogging": [("s3:PutBucketLogging", "bucket")],
    "DeleteObjects": [("s3:DeleteObjectVersion", "objects")],
    "PutObject": [("s3:PutObject", "object")],
    "GetObject": [("s3:GetObject", "object")],
    "HeadObject": [("s3:GetObject", "object")],
    "DeleteObject": [("s3:DeleteObject", "object")],
    "CopyObject": [("s3:GetObject", "source"), ("s3:PutObject", "object")],
    "CreateMultipartUpload": [("s3:PutObject", "object")],
    "UploadPart": [("s3:PutObject", "object")],
    "CompleteMultipartUpload": [("s3:PutObject", "object")],
    "AbortMultipartUpload": [("s3:AbortMultipartUpload", "object")],
    "ListAliases": [("kms:ListAliases", "*")],
    "ListKeys": [("kms:ListKeys", "*")],
    "CreateKey": [("kms:CreateKey", "*"), ("kms:TagResource", "*")],
    "CreateAlias": [("kms:CreateAlias", "key"), ("kms:CreateAlias", "alias")],
    "DeleteAlias": [("kms:DeleteAlias", "aliased key"), ("kms:DeleteAlias", "alias")],
    **{
        operation: [(f"kms:{operation}", "key")]
        for operation in (
            "CancelKeyDeletion",
            "Decrypt",
            "DescribeKey",
            "EnableKey",
            "EnableKeyRotation",
            "Encrypt",
            "GenerateDataKey",
            "GetKeyRotationStatus",
            "ListResourceTags",
            "ScheduleKeyDeletion",
        )
    },
    "GetCallerIdentity": [],
}

Refusal = tuple[str, str]
Rule = Callable[[Call], Refusal | None]


class Gate:
    """A boto3 session whose calls are recorded in `calls`; `refuse` may answer one with (error code, message), and
    `crash_after` is how many calls are made before the program is killed (after the call took effect)."""

    def __init__(self) -> None:
        self.session = boto3.Session(region_name=REGION)
        self.calls: list[Call] = []
        self.refuse: Rule = lambda _: None
        self.crash_after: int | None = None
        self._params: dict[str, Any] = {}
        self._kms = boto3.client("kms", region_name=REGION)
        self.session.events.register("before-parameter-build", self._remember)
        self.session.events.register("before-call", self._before)
        self.session.events.register("after-call", self._after)

    @cached_property
    def _door(self) -> door.Aws:
        return door.connect(REGION, session=self.session)

    def connect(self) -> door.Aws:
        return self._door

    def operations(self) -> list[str]:
        return [call.operation for call in self.calls]

    def writes(self) -> list[str]:
        return [call.operation for call in self.calls if not call.reads]

    def deny(self, denied: Callable[[Call], bool]) -> None:
        """From now on, refuse the calls that `denied` names as AWS refuses who has no right."""

        def rule(call: Call) -> Refusal | None:
            if not denied(call):
                return None
            # A HEAD has no body, so no reason: https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html.
            return ("403", "Forbidden") if call.operation == "HeadBucket" else ("AccessDeniedException", "not allowed")

        self.refuse = rule

    def enforce(self, *policies: dict[str, Any]) -> None:
        """From now on, refuse what these IAM policies do not allow."""
        self.deny(
            lambda call: (
                not all(
                    self._allowed(policies, action, *self._resource(kind, call.params))
                    for action, kind in NEEDS[call.operation]
                )
            )
        )

    def _resource(self, kind: str, params: dict[str, Any]) -> tuple[str, dict[str, str]]:
        alias_arn = f"arn:aws:kms:{REGION}:123456789012:{params.get('AliasName')}"
        requested = {f"aws:RequestTag/{tag['TagKey']}": tag["TagValue"] for tag in params.get("Tags", [])}
        bucket = f"arn:aws:s3:::{params.get('Bucket')}"
        found: dict[str, Callable[[], tuple[str, dict[str, str]]]] = {
            "bucket": lambda: (bucket, {}),
            "objects": lambda: (f"{bucket}/{params['Delete']['Objects'][0]['Key']}", {}),
            "object": lambda: (f"{bucket}/{params['Key']}", {}),
            "source": lambda: (f"arn:aws:s3:::{params['CopySource']['Bucket']}/{params['CopySource']['Key']}", {}),
            "alias": lambda: (alias_arn, {}),
            "*": lambda: ("*", requested),
        }
        return found[kind]() if kind in found else self._key(kind, params)

    def _key(self, kind: str, params: dict[str, Any]) -> tuple[str, dict[str, str]]:
        key = params.get("KeyId") or params.get("TargetKeyId")
        if kind == "aliased key":
            key = next(
                a["TargetKeyId"] for a in self._kms.list_aliases()["Aliases"] if a["AliasName"] == params["AliasName"]
            )
        arn = self._kms.describe_key(KeyId=key)["KeyMetadata"]["Arn"]
        tags = self._kms.list_resource_tags(KeyId=key)["Tags"]
        return arn, {f"aws:ResourceTag/{tag['TagKey']}": tag["TagValue"] for tag in tags}

    @staticmethod
    def _allowed(policies: tuple[dict[str, Any], ...], action: str, resource: str, context: dict[str, str]) -> bool:
        """What IAM would say of Allow statements with StringEquals."""
        return any(
            action in statement["Action"]
            and fnmatchcase(resource, statement["Resource"])
            and all(context.get(k) == v for k, v in statement.get("Condition", {}).get("StringEquals", {}).items())
            for policy in policies
            for statement in policy["Statement"]
        )

    def _remember(self, params: dict[str, Any], **_: Any) -> None:
        self._params = dict(params)

    def _before(self, model: Any, **_: Any) -> tuple[Any, dict[str, Any]] | None:
        call = Call(model.service_model.service_name, model.name, self._params)
        self.calls.append(call)
        refusal = self.refuse(call)
        if refusal is None:
            return None
        error = {"Error": {"Code": refusal[0], "Message": refusal[1]}}
        return SimpleNamespace(status_code=403), {**error, "ResponseMetadata": {"HTTPStatusCode": 403}}

    def _after(self, **_: Any) -> None:
        if self.crash_after is not None and len(self.calls) >= self.crash_after:
            raise KeyboardInterrupt


@pytest.fixture
def cloud() -> Iterator[None]:
    """An empty AWS account, 123456789012."""
    with mock_aws():
        yield


@pytest.fixture
def gate(cloud: None) -> Gate:
    return Gate()


@pytest.fixture
def new_gate() -> Callable[[], Gate]:
    """Makes gates inside an AWS that the test starts itself."""
    return Gate


@pytest.fixture
def names() -> naming.Names:
    return naming.names(BUCKET, REGION)


@pytest.fixture
def tag() -> dict[str, str]:
    return {"TagKey": TAG, "TagValue": BUCKET}
