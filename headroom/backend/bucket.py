"""The state bucket and the bucket of its access log: what each of their settings must be."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from headroom.backend.aws import Aws, code, denied
from headroom.backend.names import Names
from headroom.backend.setting import Setting, absent, words
from headroom.errors import EnvironmentFailure, InputError

NONCURRENT_DAYS = 90
ACCESS_LOG_DAYS = 90
UPLOAD_DAYS = 7
STATE_PREFIX = ".pulumi/"

_PUBLIC_BLOCK = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}
_OWNERSHIP = "BucketOwnerEnforced"


@dataclass(frozen=True)
class Bucket:
    """A bucket of ours by name and ARN; `role` is whose policy allows what we do to it. Every call names the account
    that must own it, so that a bucket which changes hands between two calls is refused by S3 itself."""

    aws: Aws
    name: str
    arn: str
    region: str
    role: str = "admin"

    @property
    def label(self) -> str:
        return f"bucket {self.name}"

    def call(self, operation: str, **arguments: Any) -> Any:
        """An S3 operation on this bucket."""
        return getattr(self.aws.s3, operation)(Bucket=self.name, ExpectedBucketOwner=self.aws.account, **arguments)

    def exists(self) -> bool:
        """Whether it is there and ours. Raises EnvironmentFailure when another account has it, InputError when it is
        in another region."""
        try:
            found = self.call("head_bucket")
        except ClientError as error:
            if code(error) in {"404", "NoSuchBucket", "NotFound"}:
                return False
            if denied(error):
                raise self._foreign() from error
            raise
        region = found.get("BucketRegion") or self.region
        if region != self.region:
            raise InputError(
                f"{self.label} is in {region}, not in {self.region}", fix=f"--region {region}, or another --bucket"
            )
        return True

    def create(self) -> None:
        """Create it, private from its first moment. Raises EnvironmentFailure when another account has the name."""
        # us-east-1 is the one region that must not be named: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html
        where = {} if self.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": self.region}}
        try:
            self.aws.s3.create_bucket(Bucket=self.name, ObjectOwnership=_OWNERSHIP, **where)
        except ClientError as error:
            if code(error) == "BucketAlreadyExists":
                raise self._foreign() from error
            if code(error) != "BucketAlreadyOwnedByYou":
                raise

    def _foreign(self) -> EnvironmentFailure:
        return EnvironmentFailure(
            f"{self.label} exists, and S3 does not let account {self.aws.account} look at it: another account has the "
            f"name, or {self.aws.principal} may not s3:ListBucket. Nothing was changed",
            fix="choose another --bucket (names are shared by all of AWS); if it is yours, use that account's "
            f"--profile and attach the policy that `headroom backend policy --for {self.role}` prints",
        )


def state_bucket(aws: Aws, names: Names, role: str = "admin") -> Bucket:
    return Bucket(aws, names.bucket, names.bucket_arn, names.region, role)


def log_bucket(aws: Aws, names: Names) -> Bucket:
    return Bucket(aws, names.log_bucket, names.log_bucket_arn, names.region)


def private(bucket: Bucket) -> list[Setting]:
    """Nobody outside the account gets in, whatever ACL or policy someone adds. Set first of all."""
    return [
        Setting(
            bucket.label,
            "public access blocked",
            _PUBLIC_BLOCK,
            lambda: absent(
                lambda: bucket.call("get_public_access_block")["PublicAccessBlockConfiguration"],
                "NoSuchPublicAccessBlockConfiguration",
            ),
            lambda: bucket.call("put_public_access_block", PublicAccessBlockConfiguration=_PUBLIC_BLOCK),
            "by all four switches",
        ),
        Setting(
            bucket.label,
            "ACLs off",
            _OWNERSHIP,
            lambda: absent(
                lambda: bucket.call("get_bucket_ownership_controls")["OwnershipControls"]["Rules"][0][
                    "ObjectOwnership"
                ],
                "OwnershipControlsNotFoundError",
            ),
            lambda: bucket.call(
                "put_bucket_ownership_controls", OwnershipControls={"Rules": [{"ObjectOwnership": _OWNERSHIP}]}
            ),
            _OWNERSHIP,
            at_birth=_OWNERSHIP,
        ),
    ]


def durable(bucket: Bucket, key_arn: str) -> list[Setting]:
    """Nothing is lost (every version kept NONCURRENT_DAYS) and nothing is readable without the key."""
    encryption = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key_arn, "BucketKeyEnabled": True}
    return [
        Setting(
            bucket.label,
            "versioning",
            "Enabled",
            lambda: bucket.call("get_bucket_versioning").get("Status"),
            lambda: bucket.call("put_bucket_versioning", VersioningConfiguration={"Status": "Enabled"}),
            "Enabled",
        ),
        _encryption(bucket, encryption),
        _policy(bucket, [_tls_only(bucket)]),
        _lifecycle(
            bucket,
            f"old versions kept {NONCURRENT_DAYS} days, unfinished uploads {UPLOAD_DAYS}",
            [
                {
                    "ID": "old-versions",
                    "NoncurrentVersionExpiration": {"NoncurrentDays": NONCURRENT_DAYS},
                    "Expiration": {"ExpiredObjectDeleteMarker": True},
                },
                _uploads_rule(),
            ],
        ),
    ]


def receives_log(log: Bucket, source: Bucket) -> list[Setting]:
    """The log's bucket: S3's log service may write to it, for this source only, and lines go after ACCESS_LOG_DAYS.

    SSE-S3, because S3 does not deliver access logs to a bucket encrypted by a KMS key:
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html.
    """
    deliver = {
        "Sid": "AccessLogDelivery",
        "Effect": "Allow",
        "Principal": {"Service": "logging.s3.amazonaws.com"},
        "Action": "s3:PutObject",
        "Resource": f"{log.arn}/*",
        "Condition": {"ArnLike": {"aws:SourceArn": source.arn}, "StringEquals": {"aws:SourceAccount": log.aws.account}},
    }
    return [
        _encryption(log, {"SSEAlgorithm": "AES256", "KMSMasterKeyID": None, "BucketKeyEnabled": False}),
        _policy(log, [_tls_only(log), deliver]),
        _lifecycle(
            log,
            f"lines kept {ACCESS_LOG_DAYS} days, unfinished uploads {UPLOAD_DAYS}",
            [{"ID": "old-lines", "Expiration": {"Days": ACCESS_LOG_DAYS}}, _uploads_rule()],
        ),
    ]


def log_target(source: Bucket) -> str | None:
    """The bucket that `source` writes its access log to, or None."""
    enabled = source.call("get_bucket_logging").get("LoggingEnabled") or {}
    target = enabled.get("TargetBucket")
    return None if target is None else str(target)


def logging(source: Bucket, target: str | None) -> Setting:
    """The access log of `source` goes to the bucket `target`; None: nowhere."""
    wanted = {"TargetBucket": target, "TargetPrefix": f"{source.name}/"}
    status: dict[str, Any] = {"LoggingEnabled": wanted} if target else {}
    return Setting(
        source.label,
        "access log",
        target,
        partial(log_target, source),
        lambda: source.call("put_bucket_logging", BucketLoggingStatus=status),
        words(target),
    )


def other_objects(bucket: Bucket) -> list[str]:
    """Keys of a few objects that are not Pulumi's (not under STATE_PREFIX). Reads one page, which is enough to know:
    S3 lists in order of the key, and few keys sort before ".pulumi/"."""
    page = bucket.call("list_objects_v2", Delimiter="/", MaxKeys=10)
    keys = [entry["Key"] for entry in page.get("Contents", [])]
    folders = [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
    return [key for key in keys + folders if key != STATE_PREFIX]


def _tls_only(bucket: Bucket) -> dict[str, Any]:
    return {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": {"AWS": "*"},
        "Action": "s3:*",
        "Resource": [bucket.arn, f"{bucket.arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def _uploads_rule() -> dict[str, Any]:
    return {
        "ID": "unfinished-uploads",
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": UPLOAD_DAYS},
    }


def _encryption(bucket: Bucket, wanted: dict[str, Any]) -> Setting:
    def read() -> dict[str, Any]:
        rule = bucket.call("get_bucket_encryption")["ServerSideEncryptionConfiguration"]["Rules"][0]
        default = rule.get("ApplyServerSideEncryptionByDefault", {})
        return {
            "SSEAlgorithm": default.get("SSEAlgorithm"),
            "KMSMasterKeyID": default.get("KMSMasterKeyID"),
            "BucketKeyEnabled": bool(rule.get("BucketKeyEnabled")),
        }

    default = {name: wanted[name] for name in ("SSEAlgorithm", "KMSMasterKeyID") if wanted[name]}
    rule = {"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": wanted["BucketKeyEnabled"]}
    return Setting(
        bucket.label,
        "encryption",
        wanted,
        lambda: absent(read, "ServerSideEncryptionConfigurationNotFoundError"),
        lambda: bucket.call("put_bucket_encryption", ServerSideEncryptionConfiguration={"Rules": [rule]}),
        " with ".join(default.values()),
    )


def _policy(bucket: Bucket, statements: list[dict[str, Any]]) -> Setting:
    """The policy is ours alone: a statement that someone added is drift, because it may let strangers in."""
    policy = {"Version": "2012-10-17", "Statement": statements}
    return Setting(
        bucket.label,
        "policy",
        policy,
        lambda: absent(lambda: json.loads(bucket.call("get_bucket_policy")["Policy"]), "NoSuchBucketPolicy"),
        lambda: bucket.call("put_bucket_policy", Policy=json.dumps(policy)),
        f"{' and '.join(statement['Sid'] for statement in statements)}, nothing else",
    )


def _lifecycle(bucket: Bucket, shown: str, rules: list[dict[str, Any]]) -> Setting:
    """The rules are ours alone: a rule that someone added may expire states that are in use."""
    wanted = sorted(({"Status": "Enabled", "Filter": {}, **rule} for rule in rules), key=lambda rule: str(rule["ID"]))

    def read() -> list[dict[str, Any]]:
        present = bucket.call("get_bucket_lifecycle_configuration").get("Rules", [])
        # S3 gives "every object" back as an empty filter or as an empty prefix.
        return sorted(
            (
                {**rule, "Filter": {} if rule.get("Filter") == {"Prefix": ""} else rule.get("Filter")}
                for rule in present
            ),
            key=lambda rule: str(rule.get("ID")),
        )

    return Setting(
        bucket.label,
        "lifecycle",
        wanted,
        lambda: absent(read, "NoSuchLifecycleConfiguration"),
        lambda: bucket.call(
            "put_bucket_lifecycle_configuration",
            LifecycleConfiguration={"Rules": [{**rule, "Filter": {"Prefix": ""}} for rule in wanted]},
        ),
        shown,
    )
