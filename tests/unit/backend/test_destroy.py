from __future__ import annotations

from typing import Any

import boto3
import pytest
from moto import mock_aws

from headroom.backend import destroy as destruction
from headroom.backend import provision
from headroom.errors import EnvironmentFailure, HeadroomError, InputError

REGION = "eu-west-1"
BUCKET = "team-state"


def s3() -> Any:
    return boto3.client("s3", region_name=REGION)


def kms() -> Any:
    return boto3.client("kms", region_name=REGION)


def put(*keys: str) -> None:
    for key in keys:
        s3().put_object(Bucket=BUCKET, Key=key, Body=b"{}")


def used_and_emptied() -> None:
    """What `pulumi stack rm` leaves: old versions, delete markers, a backup and the metadata."""
    put(".pulumi/meta.yaml", ".pulumi/stacks/headroom/dev.json", ".pulumi/stacks/headroom/dev.json.bak")
    put(".pulumi/stacks/headroom/dev.json")
    s3().delete_object(Bucket=BUCKET, Key=".pulumi/stacks/headroom/dev.json")


def gone(arn: str) -> None:
    assert BUCKET not in [bucket["Name"] for bucket in s3().list_buckets()["Buckets"]]
    assert kms().describe_key(KeyId=arn)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    assert not [a for a in kms().list_aliases()["Aliases"] if "headroom" in a["AliasName"]]


@pytest.mark.parametrize(
    ("key", "stack"),
    [
        (".pulumi/stacks/headroom/prod.json", "headroom/prod"),
        (".pulumi/stacks/headroom/prod.json.gz", "headroom/prod"),
        (".pulumi/stacks/headroom/prod.json.zst", "headroom/prod"),
        (".pulumi/stacks/old.json", "old"),
        (".pulumi/stacks/headroom/prod.yaml", "headroom/prod"),
    ],
)
def test_it_refuses_while_a_state_exists(gate: Any, names: Any, notes: Any, key: str, stack: str) -> None:
    provision.init(gate.connect(), names, progress=notes)
    put(key)
    gate.calls.clear()
    with pytest.raises(EnvironmentFailure, match=f"holds the state of {stack}:") as caught:
        destruction.destroy(gate.connect(), names, progress=notes)
    assert "pulumi stack rm" in caught.value.fix
    assert gate.writes() == []


def test_it_refuses_while_somebody_is_at_work(gate: Any, names: Any, notes: Any) -> None:
    provision.init(gate.connect(), names, progress=notes)
    put(".pulumi/locks/organization/headroom/prod/1b2c.json")
    with pytest.raises(EnvironmentFailure, match="holds locks"):
        destruction.destroy(gate.connect(), names, progress=notes)


def test_it_refuses_a_bucket_that_holds_something_else(gate: Any, names: Any, notes: Any) -> None:
    provision.init(gate.connect(), names, progress=notes)
    put("holiday.jpg")
    with pytest.raises(InputError, match=r"not Pulumi's: holiday\.jpg"):
        destruction.destroy(gate.connect(), names, progress=notes)


def test_an_emptied_backend_goes_with_its_old_versions(gate: Any, names: Any, notes: Any) -> None:
    arn = provision.init(gate.connect(), names, access_log=True, progress=notes).key_arn
    used_and_emptied()
    gate.calls.clear()

    dry = destruction.destroy(gate.connect(), names, dry_run=True, progress=notes)
    assert gate.writes() == []

    changes = destruction.destroy(gate.connect(), names, progress=notes)

    assert changes == dry
    assert [(c.resource, c.what) for c in changes] == [
        ("bucket team-state", "bucket"),
        ("key alias/headroom-team-state", "key"),
        ("key alias/headroom-team-state", "alias"),
    ]
    assert changes[0].was == "5 old versions and delete markers"
    gone(arn)
    # The log outlives what it is about.
    assert [bucket["Name"] for bucket in s3().list_buckets()["Buckets"]] == ["team-state-access-log"]
    assert destruction.destroy(gate.connect(), names, progress=notes) == ()


def test_what_is_destroyed_can_be_made_again_with_the_same_key(gate: Any, names: Any, notes: Any) -> None:
    arn = provision.init(gate.connect(), names, progress=notes).key_arn
    destruction.destroy(gate.connect(), names, progress=notes)
    assert provision.init(gate.connect(), names, progress=notes).key_arn == arn
    assert provision.check(gate.connect(), names, progress=notes).changes == ()


def test_many_versions_go_page_by_page(gate: Any, names: Any, notes: Any) -> None:
    arn = provision.init(gate.connect(), names, progress=notes).key_arn
    put(*[".pulumi/meta.yaml"] * 5)
    aws = gate.connect()
    aws.s3.meta.events.register(
        "before-parameter-build.s3.ListObjectVersions", lambda params, **_: params.update(MaxKeys=2)
    )
    [bucket, *_] = destruction.destroy(aws, names, progress=notes)
    assert bucket.was == "5 old versions and delete markers"
    assert gate.operations().count("DeleteObjects") == 3
    gone(arn)


def test_a_version_that_will_not_go_is_named(gate: Any, names: Any, notes: Any) -> None:
    provision.init(gate.connect(), names, progress=notes)
    put(".pulumi/meta.yaml")
    errors = {"Errors": [{"Key": ".pulumi/meta.yaml", "Code": "AccessDenied", "Message": "Access Denied"}]}
    aws = gate.connect()
    aws.s3.meta.events.register("after-call.s3.DeleteObjects", lambda parsed, **_: parsed.update(errors))
    with pytest.raises(EnvironmentFailure, match=r"\.pulumi/meta\.yaml could not be deleted: Access Denied"):
        destruction.destroy(aws, names, progress=notes)


def test_every_call_denied_or_killed_in_turn_the_next_run_ends_it(new_gate: Any, names: Any, notes: Any) -> None:
    def prepared() -> Any:
        arn = provision.init(new_gate().connect(), names, progress=notes).key_arn
        used_and_emptied()
        return arn, new_gate()

    with mock_aws():
        _, gate = prepared()
        destruction.destroy(gate.connect(), names, progress=notes)
        calls = list(gate.calls)
    assert {"DeleteObjects", "DeleteBucket", "ScheduleKeyDeletion", "DeleteAlias"} <= {c.operation for c in calls}

    for turn, call in enumerate(calls):
        if call.operation == "GetCallerIdentity":
            continue
        with mock_aws():
            arn, gate = prepared()
            gate.deny(lambda _, gate=gate, turn=turn: len(gate.calls) == turn + 1)
            with pytest.raises(HeadroomError) as caught:
                destruction.destroy(gate.connect(), names, progress=notes)
            assert gate.calls[-1].actions[0] in caught.value.message
            destruction.destroy(new_gate().connect(), names, progress=notes)
            gone(arn)
        if not call.reads:
            with mock_aws():
                arn, gate = prepared()
                gate.crash_after = turn + 1
                with pytest.raises(KeyboardInterrupt):
                    destruction.destroy(gate.connect(), names, progress=notes)
                destruction.destroy(new_gate().connect(), names, progress=notes)
                gone(arn)
