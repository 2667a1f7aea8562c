"""Take a backend away, never while a stack lives in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from headroom.backend import bucket as buckets
from headroom.backend import key as keys
from headroom.backend.aws import Aws, explained
from headroom.backend.bucket import STATE_PREFIX, Bucket
from headroom.backend.names import Names
from headroom.backend.setting import Change, made
from headroom.errors import EnvironmentFailure, InputError
from headroom.progress import Progress, step

_STATES = f"{STATE_PREFIX}stacks/"
_LOCKS = f"{STATE_PREFIX}locks/"


@dataclass(frozen=True)
class Contents:
    """What a state bucket holds: stacks ("project/stack", or "stack" of an old layout), keys of locks, other keys."""

    stacks: tuple[str, ...]
    locks: tuple[str, ...]
    others: tuple[str, ...]


def contents(bucket: Bucket) -> Contents:
    """List the current objects of a bucket."""
    keys_ = [
        entry["Key"]
        for page in bucket.aws.s3.get_paginator("list_objects_v2").paginate(
            Bucket=bucket.name, ExpectedBucketOwner=bucket.aws.account
        )
        for entry in page.get("Contents", [])
    ]
    return Contents(
        tuple(sorted(filter(None, map(_stack, keys_)))),
        tuple(key for key in keys_ if key.startswith(_LOCKS)),
        tuple(key for key in keys_ if not key.startswith(STATE_PREFIX)),
    )


def destroy(aws: Aws, names: Names, *, dry_run: bool = False, progress: Progress) -> tuple[Change, ...]:
    """Delete the bucket with every old version in it, the alias, and (after keys.DELETION_DAYS days) the key.

    Safe to run again, also after a run that stopped. The bucket of the access log stays. Returns what was deleted.

    Raises EnvironmentFailure while there are stacks or locks, InputError when the bucket holds something else.
    """
    changes: list[Change] = []

    def delete(resource: str, what: str, was: str, now: str) -> None:
        changes.append(made(Change(resource, what, was, now), progress))

    with explained(aws.principal, role="destroy"):
        bucket = buckets.state_bucket(aws, names, role="destroy")
        with step(progress, f"looking at {bucket.label}"):
            there = bucket.exists()
            if there:
                _refuse_in_use(bucket, contents(bucket))
            key = keys.find(aws, names)
        if there:
            with step(progress, f"deleting {bucket.label}"):
                count = _delete_versions(bucket, dry_run=dry_run, progress=progress)
                if not dry_run:
                    bucket.call("delete_bucket")
                delete(bucket.label, "bucket", f"{count} old versions and delete markers", "deleted")
        label = f"key {names.alias}"
        # Scheduled before the alias goes: a run that stops in between finds the key again by the alias.
        if key is not None and key.state != "PendingDeletion":
            if not dry_run:
                aws.kms.schedule_key_deletion(KeyId=key.id, PendingWindowInDays=keys.DELETION_DAYS)
            delete(label, "key", key.state, f"deleted in {keys.DELETION_DAYS} days; until then init brings it back")
        if key is not None and key.aliased:
            if not dry_run:
                aws.kms.delete_alias(AliasName=names.alias)
            delete(label, "alias", names.alias, "deleted")
    return tuple(changes)


def _stack(key: str) -> str | None:
    """The stack whose state a key is, by the layout of Pulumi's own storage: .pulumi/stacks/[project/]stack.json,
    also compressed; .bak and tags beside it are no states (pkg/backend/diy/store.go in pulumi/pulumi)."""
    if not key.startswith(_STATES):
        return None
    name = key.removeprefix(_STATES)
    for compressed in (".gz", ".zst"):
        name = name.removesuffix(compressed)
    for kind in (".json", ".yaml", ".yml"):
        if name.endswith(kind):
            return name.removesuffix(kind)
    return None


def _refuse_in_use(bucket: Bucket, held: Contents) -> None:
    if held.others:
        raise InputError(
            f"{bucket.label} holds what is not Pulumi's: {', '.join(held.others[:3])}. Nothing was deleted",
            fix="is it the right --bucket? Move these objects away first",
        )
    if held.stacks:
        raise EnvironmentFailure(
            f"{bucket.label} holds the state of {', '.join(held.stacks)}: what they deployed could not be changed or "
            "removed any more. Nothing was deleted",
            fix="for each, `headroom down` and `pulumi stack rm`; or `headroom backend migrate` and then "
            "`pulumi stack rm --force --preserve-config` here",
        )
    if held.locks:
        raise EnvironmentFailure(
            f"{bucket.label} holds locks: {', '.join(held.locks[:3])}. Somebody may be at work. Nothing was deleted",
            fix="wait, or `pulumi cancel` if that work is dead",
        )


def _delete_versions(bucket: Bucket, *, dry_run: bool, progress: Progress) -> int:
    """Delete every version and delete marker; returns how many there were."""
    if dry_run:
        pages = bucket.aws.s3.get_paginator("list_object_versions").paginate(
            Bucket=bucket.name, ExpectedBucketOwner=bucket.aws.account
        )
        return sum(len(_versions(page)) for page in pages)
    count = 0
    # The first page again and again: what was deleted is not in it any more.
    while batch := _versions(bucket.call("list_object_versions")):
        errors = bucket.call("delete_objects", Delete={"Objects": batch, "Quiet": True}).get("Errors", [])
        if errors:
            raise EnvironmentFailure(
                f"{bucket.label}: {errors[0]['Key']} could not be deleted: {errors[0].get('Message', '')}",
                fix="attach the policy that `headroom backend policy --for destroy` prints, then run the same "
                "command again: it goes on where it stopped",
            )
        count += len(batch)
        progress.detail(f"{count} versions")
    return count


def _versions(page: dict[str, Any]) -> list[dict[str, str]]:
    listed: list[dict[str, Any]] = page.get("Versions", []) + page.get("DeleteMarkers", [])
    return [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in listed]
