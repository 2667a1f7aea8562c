"""The door to AWS: who we are there, the clients, and AWS's refusals in words for people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from botocore import exceptions
from botocore.config import Config

from headroom.errors import EnvironmentFailure, HeadroomError, InputError

# Operation -> the IAM action that allows it, where the two differ in name; from
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html.
_S3_ACTIONS = {
    "HeadBucket": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "DeleteObjects": "DeleteObjectVersion",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
}
_KMS_OPERATIONS = frozenset(
    {
        "CancelKeyDeletion",
        "CreateAlias",
        "CreateKey",
        "DeleteAlias",
        "DescribeKey",
        "EnableKey",
        "EnableKeyRotation",
        "GetKeyRotationStatus",
        "ListAliases",
        "ListKeys",
        "ListResourceTags",
        "ScheduleKeyDeletion",
    }
)
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "403", "Forbidden", "UnauthorizedOperation"})
_BAD_CREDENTIALS = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidToken",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_LOGIN = "aws sso login, aws configure, or --profile NAME; `aws sts get-caller-identity` must answer"


@dataclass(frozen=True)
class Aws:
    """Clients in one region, and the caller: account (12 digits) and principal (an ARN)."""

    s3: Any
    kms: Any
    account: str
    principal: str


def connect(region: str, profile: str | None = None, *, session: boto3.Session | None = None) -> Aws:
    """Open the door and ask AWS who we are. Changes nothing.

    Raises InputError for a profile that does not exist, EnvironmentFailure when there are no credentials, they are
    refused, or AWS cannot be reached.
    """
    with explained():
        session = session or boto3.Session(profile_name=profile, region_name=region)
        config = Config(retries={"mode": "standard", "max_attempts": 5}, connect_timeout=10, read_timeout=30)
        caller = session.client("sts", region_name=region, config=config).get_caller_identity()
        return Aws(
            s3=session.client("s3", region_name=region, config=config),
            kms=session.client("kms", region_name=region, config=config),
            account=caller["Account"],
            principal=caller["Arn"],
        )


def iam_action(operation: str) -> str:
    """The IAM action that allows an operation: s3:PutEncryptionConfiguration for PutBucketEncryption."""
    if operation in _KMS_OPERATIONS:
        return f"kms:{operation}"
    if operation == "GetCallerIdentity":
        return f"sts:{operation}"
    return f"s3:{_S3_ACTIONS.get(operation, operation)}"


def code(error: exceptions.ClientError) -> str:
    """The error code that AWS gave, for example NoSuchBucketPolicy."""
    return str(error.response.get("Error", {}).get("Code", ""))


def denied(error: exceptions.ClientError) -> bool:
    """Whether AWS said that the caller may not do this."""
    return code(error) in _DENIED


@contextmanager
def explained(principal: str = "the caller", role: str = "admin") -> Iterator[None]:
    """Turn what botocore raises inside into a HeadroomError. `role` is whose policy allows what we do here."""
    try:
        yield
    except exceptions.ClientError as error:
        raise _refusal(error, principal, role) from error
    except exceptions.ProfileNotFound as error:
        raise InputError(str(error), fix="`aws configure list-profiles` names the profiles there are") from error
    except exceptions.EndpointConnectionError as error:
        raise _unreachable(error) from error
    except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
        raise _unreachable(error) from error
    except (
        exceptions.NoCredentialsError,
        exceptions.PartialCredentialsError,
        exceptions.CredentialRetrievalError,
        exceptions.TokenRetrievalError,
        exceptions.SSOError,
        exceptions.InvalidConfigError,
    ) as error:
        raise EnvironmentFailure(f"AWS credentials: {error}", fix=_LOGIN) from error


def _unreachable(error: Exception) -> EnvironmentFailure:
    return EnvironmentFailure(
        f"AWS cannot be reached: {error}", fix="check the network, HTTPS_PROXY and AWS_ENDPOINT_URL, then run it again"
    )


def _refusal(error: exceptions.ClientError, principal: str, role: str) -> HeadroomError:
    action = iam_action(error.operation_name)
    message = str(error.response.get("Error", {}).get("Message", "")) or code(error)
    if code(error) in _BAD_CREDENTIALS:
        return EnvironmentFailure(f"AWS refused the credentials: {message}", fix=_LOGIN)
    if denied(error):
        return EnvironmentFailure(
            f"{principal} may not {action} ({error.operation_name}): {message}",
            fix=f"attach the policy that `headroom backend policy --for {role}` prints, then run the same command "
            "again: it goes on where it stopped",
        )
    return EnvironmentFailure(
        f"AWS refused {error.operation_name}: {message} ({code(error)})",
        fix="run the same command again: it goes on where it stopped",
    )
