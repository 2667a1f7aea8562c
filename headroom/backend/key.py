"""The KMS key of a state bucket: found by its alias, or by its tag when it has none yet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from botocore.exceptions import ClientError

from headroom.backend.aws import Aws, code, denied
from headroom.backend.names import Names
from headroom.backend.setting import Change, Setting, converge, made
from headroom.errors import EnvironmentFailure
from headroom.progress import Progress

TAG = "headroom:state-bucket"
DELETION_DAYS = 30
NEW = "(the new key)"


@dataclass(frozen=True)
class Key:
    """A key that exists: its id, ARN, state (Enabled, Disabled, PendingDeletion, …), and whether the alias names it."""

    id: str
    arn: str
    state: str
    aliased: bool


def find(aws: Aws, names: Names) -> Key | None:
    """The bucket's key, or None.

    A key made by a run that stopped before it could give the alias is found by its tag. That looks at every key of
    the region, so it is done only when the alias is not there.
    """
    target = next(
        (
            alias.get("TargetKeyId")
            # Not DescribeKey of the alias: to a caller whose rights depend on the key's tag, an alias that is not
            # there and one that he may not see look the same.
            for page in aws.kms.get_paginator("list_aliases").paginate()
            for alias in page["Aliases"]
            if alias["AliasName"] == names.alias
        ),
        None,
    )
    if target is not None:
        return _key(aws.kms.describe_key(KeyId=target)["KeyMetadata"], aliased=True)
    tag = {"TagKey": TAG, "TagValue": names.bucket}
    found = [
        _key(aws.kms.describe_key(KeyId=entry["KeyId"])["KeyMetadata"], aliased=False)
        for page in aws.kms.get_paginator("list_keys").paginate()
        for entry in page["Keys"]
        if tag in _tags(aws, entry["KeyId"])
    ]
    # A key that waits for deletion is taken last: a later one has replaced it.
    found.sort(key=lambda key: (key.state == "PendingDeletion", key.id))
    return found[0] if found else None


def ensure(aws: Aws, names: Names, *, dry_run: bool, progress: Progress) -> tuple[str, list[Change]]:
    """Create the key or repair it. Returns its ARN (NEW when a dry run would create it) and what changed."""
    label = f"key {names.alias}"
    changes: list[Change] = []
    key = find(aws, names)
    if key is None:
        arn = NEW
        if not dry_run:
            key = _create(aws, names)
            arn = key.arn
        changes.append(made(Change(label, "key", "not there", arn), progress))
    exists = key is not None
    key = key or Key(NEW, NEW, "Enabled", aliased=False)
    changes += converge(_settings(aws, names, key, label), exists=exists, dry_run=dry_run, progress=progress)
    return key.arn, changes


def _settings(aws: Aws, names: Names, key: Key, label: str) -> list[Setting]:
    def enable() -> None:
        if key.state == "PendingDeletion":
            aws.kms.cancel_key_deletion(KeyId=key.id)
        elif key.state != "Disabled":
            raise EnvironmentFailure(
                f"{label} is {key.state}: it cannot be enabled from here",
                fix=f"look at {key.arn} in the KMS console, or use another --bucket",
            )
        aws.kms.enable_key(KeyId=key.id)

    # The state first: KMS gives no alias to a key that waits for deletion.
    return [
        Setting(label, "state", "Enabled", lambda: key.state, enable, "Enabled", at_birth="Enabled"),
        Setting(
            label,
            "alias",
            names.alias,
            lambda: names.alias if key.aliased else None,
            lambda: aws.kms.create_alias(AliasName=names.alias, TargetKeyId=key.id),
            names.alias,
        ),
        Setting(
            label,
            "yearly rotation",
            "on",
            lambda: "on" if aws.kms.get_key_rotation_status(KeyId=key.id)["KeyRotationEnabled"] else "off",
            lambda: aws.kms.enable_key_rotation(KeyId=key.id),
            "on",
            at_birth="off",
        ),
    ]


def _create(aws: Aws, names: Names) -> Key:
    # No key policy of our own: KMS's default one hands the decision to the account's IAM policies, which `policies`
    # prints. The tag is given at birth, so that a run which stops here leaves a key that the next run finds.
    metadata = aws.kms.create_key(
        Description=f"Pulumi state and secrets of {names.bucket}",
        Tags=[{"TagKey": TAG, "TagValue": names.bucket}],
    )["KeyMetadata"]
    return replace(_key(metadata, aliased=False), state="Enabled")


def _key(metadata: dict[str, Any], *, aliased: bool) -> Key:
    return Key(metadata["KeyId"], metadata["Arn"], metadata["KeyState"], aliased)


def _tags(aws: Aws, key_id: str) -> list[dict[str, str]]:
    try:
        tags: list[dict[str, str]] = aws.kms.list_resource_tags(KeyId=key_id)["Tags"]
    except ClientError as error:
        # A key whose own policy shuts everyone out, and the keys that AWS manages, are not ours.
        message = str(error.response.get("Error", {}).get("Message", ""))
        if code(error) == "NotFoundException" or (denied(error) and "resource-based policy" in message):
            return []
        raise
    return tags
