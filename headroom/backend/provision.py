"""Create a backend or repair it (`init`), and say how it differs from that (`check`). One walk does both."""

from __future__ import annotations

from dataclasses import dataclass

from headroom.backend import bucket as buckets
from headroom.backend import key as keys
from headroom.backend.aws import Aws, explained
from headroom.backend.bucket import Bucket
from headroom.backend.names import Names
from headroom.backend.setting import Change, Setting, converge, made
from headroom.errors import InputError
from headroom.progress import Progress, step


@dataclass(frozen=True)
class Outcome:
    """What changed (or would), the key's ARN, and whether an access log is kept."""

    changes: tuple[Change, ...]
    key_arn: str
    access_log: bool


def init(
    aws: Aws, names: Names, *, access_log: bool | None = None, dry_run: bool = False, progress: Progress
) -> Outcome:
    """Create the bucket and the key, or repair what differs. Safe to run again, also after a run that stopped.

    access_log: True keeps one, False stops it (the log's bucket stays), None leaves that as it is.
    dry_run: read only; the changes are those that would be made.

    Raises EnvironmentFailure (no permission, a bucket of another account) or InputError (another region, a bucket
    that holds something else) before anything is changed where that can be known.
    """
    with explained(aws.principal):
        bucket = buckets.state_bucket(aws, names)
        with step(progress, f"looking at {bucket.label}"):
            exists = bucket.exists()
            _refuse_other_use(bucket, exists=exists)
            target = buckets.log_target(bucket) if exists else None
        wants_log = access_log if access_log is not None else target == names.log_bucket

        changes: list[Change] = []
        with step(progress, f"{bucket.label}: private"):
            changes += _bucket(bucket, buckets.private(bucket), exists, dry_run, progress)
        with step(progress, f"key {names.alias}"):
            key_arn, key_changes = keys.ensure(aws, names, dry_run=dry_run, progress=progress)
            changes += key_changes
        there = exists or not dry_run
        with step(progress, f"{bucket.label}: encrypted, versioned, TLS only"):
            changes += converge(buckets.durable(bucket, key_arn), exists=there, dry_run=dry_run, progress=progress)
        if wants_log:
            with step(progress, f"access log in {names.log_bucket}"):
                log = buckets.log_bucket(aws, names)
                settings = [*buckets.private(log), *buckets.receives_log(log, bucket)]
                changes += _bucket(log, settings, log.exists(), dry_run, progress)
                changes += converge(
                    [buckets.logging(bucket, log.name)], exists=there, dry_run=dry_run, progress=progress
                )
        elif access_log is False:
            changes += converge([buckets.logging(bucket, None)], exists=there, dry_run=dry_run, progress=progress)
    return Outcome(tuple(changes), key_arn, wants_log)


def check(aws: Aws, names: Names, *, progress: Progress) -> Outcome:
    """What `init` would change. Reads only; no changes means that the backend is as `init` makes it."""
    return init(aws, names, dry_run=True, progress=progress)


def _bucket(bucket: Bucket, settings: list[Setting], exists: bool, dry_run: bool, progress: Progress) -> list[Change]:
    changes = []
    if not exists:
        if not dry_run:
            bucket.create()
        changes.append(made(Change(bucket.label, "bucket", "not there", f"created in {bucket.region}"), progress))
    return changes + converge(settings, exists=exists or not dry_run, dry_run=dry_run, progress=progress)


def _refuse_other_use(bucket: Bucket, *, exists: bool) -> None:
    """A bucket that holds other things has a policy and lifecycle of its own, which we would overwrite."""
    others = buckets.other_objects(bucket) if exists else []
    if others:
        raise InputError(
            f"{bucket.label} is in use for something else: it holds {', '.join(sorted(others)[:3])}. Nothing was "
            "changed",
            fix="choose another --bucket: a state bucket holds states only",
        )
