"""The least-privilege IAM policies of a backend, one a role. Who holds one can do that role's work and nothing else.

What the Pulumi CLI calls was read in its source. Its storage (pulumi/pulumi: pkg/backend/diy/backend.go, bucket.go,
lock.go, meta.go, state.go) opens the bucket through gocloud.dev/blob/s3blob and uses List (ListObjectsV2), ReadAll
(GetObject), Exists (HeadObject, allowed by s3:GetObject), Copy (CopyObject: s3:GetObject and s3:PutObject), WriteAll
(the SDK's upload manager: PutObject, and for states over 5 MiB a multipart upload, aborted when it fails) and Delete
(DeleteObject). It never asks HeadBucket, GetBucketLocation or for a version. A preview takes no lock and writes
nothing. Everything lies under `.pulumi/`.

A bucket encrypted by a KMS key needs kms:GenerateDataKey to write and kms:Decrypt to read and to upload in parts:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html.

The secrets provider `awskms://` (pkg/secrets/cloud/manager.go, through gocloud.dev/secrets/awskms) encrypts one data
key a stack with kms:Encrypt when the stack is made or its provider changes, and decrypts it with kms:Decrypt at every
use; secrets themselves are encrypted locally with that data key. It never asks DescribeKey.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from headroom.backend.bucket import STATE_PREFIX
from headroom.backend.key import TAG
from headroom.backend.names import GitHub, Names

Policy = dict[str, Any]

_GITHUB_ISSUER = "token.actions.githubusercontent.com"

_READ_BUCKET = (
    "s3:GetBucketLogging",
    "s3:GetBucketOwnershipControls",
    "s3:GetBucketPolicy",
    "s3:GetBucketPublicAccessBlock",
    "s3:GetBucketVersioning",
    "s3:GetEncryptionConfiguration",
    "s3:GetLifecycleConfiguration",
    "s3:ListBucket",
)
_WRITE_BUCKET = (
    "s3:CreateBucket",
    "s3:PutBucketLogging",
    "s3:PutBucketOwnershipControls",
    "s3:PutBucketPolicy",
    "s3:PutBucketPublicAccessBlock",
    "s3:PutBucketVersioning",
    "s3:PutEncryptionConfiguration",
    "s3:PutLifecycleConfiguration",
)
# The log's bucket is neither versioned nor logged itself.
_NOT_OF_A_LOG = frozenset(
    {"s3:GetBucketLogging", "s3:PutBucketLogging", "s3:GetBucketVersioning", "s3:PutBucketVersioning"}
)


class Role(StrEnum):
    """admin: init and check. destroy: destroy. person: works on stacks. ci: deploys. preview: previews, reads only."""

    admin = "admin"
    person = "person"
    ci = "ci"
    preview = "preview"
    destroy = "destroy"


def policy(role: Role, names: Names, *, account: str, key_arn: str, access_log: bool = False) -> Policy:
    """The policy document of a role. `account` is the 12 digits of the backend's account."""
    match role:
        case Role.admin:
            return _document(*_admin(names, account, access_log=access_log))
        case Role.destroy:
            return _document(*_destroy(names, account))
        case Role.person:
            # Encrypt: a person makes stacks (`pulumi stack init`, `headroom backend migrate`), CI deploys them.
            return _document(*_write_states(names), _use_key(key_arn, "Decrypt", "Encrypt", "GenerateDataKey"))
        case Role.ci:
            return _document(*_write_states(names), _use_key(key_arn, "Decrypt", "GenerateDataKey"))
        case Role.preview:
            return _document(*_read_states(names, "s3:GetObject"), _use_key(key_arn, "Decrypt"))


def trust(role: Role, names: Names, *, account: str, github: GitHub) -> Policy:
    """The trust policy of a role that GitHub Actions takes by OpenID Connect, without a long-lived key.

    A job in an environment says so in its token, and an environment can demand reviewers: ci is trusted to jobs of the
    environment, preview to those of `preview-<environment>` (pull requests) and `drift-<environment>` (nightly checks).
    The claims: https://docs.github.com/en/actions/reference/security/oidc.
    """
    if role not in {Role.ci, Role.preview}:
        raise ValueError(f"{role} is not a role of CI")
    prefixes = ("preview-", "drift-") if role is Role.preview else ("",)
    subjects = [f"repo:{github.repository}:environment:{prefix}{github.environment}" for prefix in prefixes]
    return _document(
        {
            "Sid": "GitHubActions",
            "Effect": "Allow",
            "Principal": {"Federated": f"arn:{names.partition}:iam::{account}:oidc-provider/{_GITHUB_ISSUER}"},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {
                "StringEquals": {
                    f"{_GITHUB_ISSUER}:aud": "sts.amazonaws.com",
                    f"{_GITHUB_ISSUER}:sub": subjects,
                }
            },
        }
    )


def _document(*statements: Policy) -> Policy:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _allow(sid: str, actions: tuple[str, ...], resource: str | list[str], **condition: dict[str, str]) -> Policy:
    statement: Policy = {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": resource}
    return {**statement, "Condition": condition} if condition else statement


def _read_states(names: Names, *actions: str) -> tuple[Policy, ...]:
    return (
        _allow("ListStates", ("s3:ListBucket",), names.bucket_arn),
        _allow("States", actions, f"{names.bucket_arn}/{STATE_PREFIX}*"),
    )


def _write_states(names: Names) -> tuple[Policy, ...]:
    return _read_states(names, "s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject")


def _use_key(key_arn: str, *operations: str) -> Policy:
    return _allow("Key", tuple(f"kms:{operation}" for operation in operations), key_arn)


def _own_key(names: Names, account: str, alias_action: str, *operations: str) -> tuple[Policy, ...]:
    """`operations` and `alias_action` on the key that carries the bucket's tag, and what finding it takes.

    Naming a key by an alias asks for the right on both: https://docs.aws.amazon.com/kms/latest/developerguide/alias-access.html.
    """
    here = f"arn:{names.partition}:kms:{names.region}:{account}"
    actions = tuple(f"kms:{operation}" for operation in sorted([*operations, alias_action]))
    return (
        _allow("FindKey", ("kms:ListAliases", "kms:ListKeys", "kms:ListResourceTags"), "*"),
        _allow("OwnKey", actions, f"{here}:key/*", StringEquals={f"aws:ResourceTag/{TAG}": names.bucket}),
        _allow("Alias", (f"kms:{alias_action}",), f"{here}:{names.alias}"),
    )


def _admin(names: Names, account: str, *, access_log: bool) -> list[Policy]:
    # kms:TagResource: a key that is made with a tag needs it beside kms:CreateKey.
    new_key = ("kms:CreateKey", "kms:TagResource")
    repairs = ("CancelKeyDeletion", "DescribeKey", "EnableKey", "EnableKeyRotation", "GetKeyRotationStatus")
    statements = [
        _allow("Bucket", tuple(sorted(_READ_BUCKET + _WRITE_BUCKET)), names.bucket_arn),
        *_own_key(names, account, "CreateAlias", *repairs),
        _allow("NewKey", new_key, "*", StringEquals={f"aws:RequestTag/{TAG}": names.bucket}),
    ]
    if access_log:
        actions = sorted(set(_READ_BUCKET + _WRITE_BUCKET) - _NOT_OF_A_LOG)
        statements.append(_allow("AccessLog", tuple(actions), names.log_bucket_arn))
    return statements


def _destroy(names: Names, account: str) -> list[Policy]:
    return [
        _allow("Bucket", ("s3:DeleteBucket", "s3:ListBucket", "s3:ListBucketVersions"), names.bucket_arn),
        _allow("Versions", ("s3:DeleteObjectVersion",), f"{names.bucket_arn}/*"),
        *_own_key(names, account, "DeleteAlias", "DescribeKey", "ScheduleKeyDeletion"),
    ]
