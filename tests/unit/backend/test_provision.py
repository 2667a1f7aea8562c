from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.kms.models import kms_backends

from headroom.backend import names as naming
from headroom.backend import provision
from headroom.errors import EnvironmentFailure, HeadroomError, InputError

REGION = "eu-west-1"
BUCKET = "team-state"
LOG = "team-state-access-log"
ALIAS = "alias/headroom-team-state"


@pytest.fixture
def s3(cloud: None) -> Any:
    return boto3.client("s3", region_name=REGION)


@pytest.fixture
def kms(cloud: None) -> Any:
    return boto3.client("kms", region_name=REGION)


def own_keys(kms: Any) -> list[str]:
    """The keys that are not AWS's own."""
    keys = [kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"] for key in kms.list_keys()["Keys"]]
    return [key["KeyId"] for key in keys if "Pulumi" in key["Description"]]


def what(outcome: provision.Outcome) -> list[str]:
    return [change.what for change in outcome.changes]


def test_it_is_created_as_promised(gate: Any, names: naming.Names, notes: Any, s3: Any, kms: Any) -> None:
    outcome = provision.init(gate.connect(), names, progress=notes)

    assert s3.get_bucket_location(Bucket=BUCKET)["LocationConstraint"] == REGION
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    assert set(s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"].values()) == {True}
    rule = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"][0]
    key = kms.describe_key(KeyId=ALIAS)["KeyMetadata"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key["Arn"]}
    assert kms.get_key_rotation_status(KeyId=key["KeyId"])["KeyRotationEnabled"] is True
    policy = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])
    assert policy["Statement"] == [
        {
            "Sid": "TlsOnly",
            "Effect": "Deny",
            "Principal": {"AWS": "*"},
            "Action": "s3:*",
            "Resource": ["arn:aws:s3:::team-state", "arn:aws:s3:::team-state/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    ]
    rules = s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert [r["NoncurrentVersionExpiration"] for r in rules if "NoncurrentVersionExpiration" in r] == [
        {"NoncurrentDays": 90}
    ]
    # No rule may ever expire a state that is in use.
    assert not any({"Days", "Date"} & r.get("Expiration", {}).keys() for r in rules)
    ownership = s3.get_bucket_ownership_controls(Bucket=BUCKET)["OwnershipControls"]["Rules"]
    assert ownership == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    assert outcome.key_arn == key["Arn"]
    assert not outcome.access_log
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == [BUCKET]


def test_the_region_that_must_not_be_named_works_too(gate: Any, notes: Any) -> None:
    names = naming.names(BUCKET, "us-east-1")
    aws = provision.Aws(
        s3=gate.session.client("s3", region_name="us-east-1"),
        kms=gate.session.client("kms", region_name="us-east-1"),
        account="123456789012",
        principal="me",
    )
    assert provision.init(aws, names, progress=notes).changes
    assert not provision.check(aws, names, progress=notes).changes


def test_what_is_stored_is_encrypted_by_the_key_without_asking(gate: Any, names: Any, notes: Any, s3: Any) -> None:
    outcome = provision.init(gate.connect(), names, progress=notes)
    s3.put_object(Bucket=BUCKET, Key=".pulumi/meta.yaml", Body=b"version: 1")
    head = s3.head_object(Bucket=BUCKET, Key=".pulumi/meta.yaml")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", outcome.key_arn)


def test_a_second_run_changes_nothing_and_says_so(gate: Any, names: Any, notes: Any, kms: Any) -> None:
    first = provision.init(gate.connect(), names, access_log=True, progress=notes)
    assert [str(change) for change in first.changes] == notes.lines
    gate.calls.clear()
    notes.lines.clear()

    second = provision.init(gate.connect(), names, progress=notes)

    assert second == replace(first, changes=())
    assert gate.writes() == []
    assert notes.lines == []
    assert len(own_keys(kms)) == 1


@pytest.mark.parametrize("access_log", [True, None])
def test_a_dry_run_says_what_a_run_does_and_does_nothing(
    gate: Any, names: Any, notes: Any, s3: Any, access_log: bool | None
) -> None:
    dry = provision.init(gate.connect(), names, access_log=access_log, dry_run=True, progress=notes)
    assert gate.writes() == []
    assert s3.list_buckets()["Buckets"] == []

    real = provision.init(gate.connect(), names, access_log=access_log, progress=notes)

    assert [(c.resource, c.what) for c in dry.changes] == [(c.resource, c.what) for c in real.changes]


def test_the_access_log_has_a_bucket_that_only_the_log_service_writes(
    gate: Any, names: Any, notes: Any, s3: Any
) -> None:
    provision.init(gate.connect(), names, access_log=True, progress=notes)

    assert s3.get_bucket_logging(Bucket=BUCKET)["LoggingEnabled"]["TargetBucket"] == LOG
    assert set(s3.get_public_access_block(Bucket=LOG)["PublicAccessBlockConfiguration"].values()) == {True}
    statements = json.loads(s3.get_bucket_policy(Bucket=LOG)["Policy"])["Statement"]
    allow = [s for s in statements if s["Effect"] == "Allow"]
    assert [s["Principal"] for s in allow] == [{"Service": "logging.s3.amazonaws.com"}]
    assert allow[0]["Condition"] == {
        "ArnLike": {"aws:SourceArn": "arn:aws:s3:::team-state"},
        "StringEquals": {"aws:SourceAccount": "123456789012"},
    }
    default = s3.get_bucket_encryption(Bucket=LOG)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert default["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"


def test_the_access_log_stays_until_it_is_stopped_and_its_lines_stay_after(
    gate: Any, names: Any, notes: Any, s3: Any
) -> None:
    provision.init(gate.connect(), names, access_log=True, progress=notes)
    assert provision.init(gate.connect(), names, progress=notes).access_log

    stopped = provision.init(gate.connect(), names, access_log=False, progress=notes)

    assert [str(change) for change in stopped.changes] == [f"bucket {BUCKET}: access log: {LOG} -> not set"]
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=BUCKET)
    assert LOG in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    assert not provision.init(gate.connect(), names, progress=notes).access_log


def no_public_block(s3: Any, kms: Any) -> None:
    s3.delete_public_access_block(Bucket=BUCKET)


def public_block_in_part(s3: Any, kms: Any) -> None:
    s3.put_public_access_block(
        Bucket=BUCKET,
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": True,
            "RestrictPublicBuckets": False,
        },
    )


def public_by_policy(s3: Any, kms: Any) -> None:
    statement = {
        "Sid": "Oops",
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{BUCKET}/*",
    }
    policy = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])
    policy["Statement"].append(statement)
    s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(policy))


def no_policy(s3: Any, kms: Any) -> None:
    s3.delete_bucket_policy(Bucket=BUCKET)


def acls_on(s3: Any, kms: Any) -> None:
    s3.put_bucket_ownership_controls(Bucket=BUCKET, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]})


def acls_unset(s3: Any, kms: Any) -> None:
    s3.delete_bucket_ownership_controls(Bucket=BUCKET)


def no_versions(s3: Any, kms: Any) -> None:
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"})


def other_encryption(s3: Any, kms: Any) -> None:
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    s3.put_bucket_encryption(Bucket=BUCKET, ServerSideEncryptionConfiguration={"Rules": [rule]})


def other_key(s3: Any, kms: Any) -> None:
    arn = kms.create_key(Description="somebody else's")["KeyMetadata"]["Arn"]
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": arn}
    rule = {"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}
    s3.put_bucket_encryption(Bucket=BUCKET, ServerSideEncryptionConfiguration={"Rules": [rule]})


def no_encryption(s3: Any, kms: Any) -> None:
    s3.delete_bucket_encryption(Bucket=BUCKET)


def no_lifecycle(s3: Any, kms: Any) -> None:
    s3.delete_bucket_lifecycle(Bucket=BUCKET)


def states_expire(s3: Any, kms: Any) -> None:
    rule = {"ID": "tidy", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 30}}
    s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": [rule]})


def no_rotation(s3: Any, kms: Any) -> None:
    kms.disable_key_rotation(KeyId=own_keys(kms)[0])


def key_disabled(s3: Any, kms: Any) -> None:
    kms.disable_key(KeyId=own_keys(kms)[0])


def key_about_to_die(s3: Any, kms: Any) -> None:
    kms.schedule_key_deletion(KeyId=own_keys(kms)[0], PendingWindowInDays=7)


def no_alias(s3: Any, kms: Any) -> None:
    kms.delete_alias(AliasName=ALIAS)


def log_elsewhere(s3: Any, kms: Any) -> None:
    s3.put_bucket_logging(Bucket=BUCKET, BucketLoggingStatus={})


def log_for_all(s3: Any, kms: Any) -> None:
    s3.delete_public_access_block(Bucket=LOG)


DRIFTS = {
    no_public_block: "public access blocked",
    public_block_in_part: "public access blocked",
    public_by_policy: "policy",
    no_policy: "policy",
    acls_on: "ACLs off",
    acls_unset: "ACLs off",
    no_versions: "versioning",
    other_encryption: "encryption",
    other_key: "encryption",
    no_encryption: "encryption",
    no_lifecycle: "lifecycle",
    states_expire: "lifecycle",
    no_rotation: "yearly rotation",
    key_disabled: "state",
    key_about_to_die: "state",
    no_alias: "alias",
    log_for_all: "public access blocked",
}


@pytest.mark.parametrize(("drift", "setting"), DRIFTS.items(), ids=lambda v: getattr(v, "__name__", ""))
def test_each_drift_is_reported_then_repaired_and_nothing_else_touched(
    gate: Any, names: Any, notes: Any, s3: Any, kms: Any, *, drift: Callable[[Any, Any], None], setting: str
) -> None:
    before = provision.init(gate.connect(), names, access_log=True, progress=notes)
    s3.put_object(Bucket=BUCKET, Key=".pulumi/stacks/headroom/prod.json", Body=b"{}")
    drift(s3, kms)
    gate.calls.clear()

    found = provision.check(gate.connect(), names, progress=notes)

    assert what(found) == [setting]
    assert gate.writes() == []
    repaired = provision.init(gate.connect(), names, progress=notes)
    assert repaired.changes == found.changes
    assert repaired.key_arn == before.key_arn
    assert len(own_keys(kms)) == 1
    assert provision.check(gate.connect(), names, progress=notes).changes == ()
    assert s3.get_object(Bucket=BUCKET, Key=".pulumi/stacks/headroom/prod.json")["Body"].read() == b"{}"


def test_what_somebody_opened_is_named_before_it_is_closed(
    gate: Any, names: Any, notes: Any, s3: Any, kms: Any
) -> None:
    provision.init(gate.connect(), names, progress=notes)
    no_public_block(s3, kms)
    public_by_policy(s3, kms)

    [block, policy] = provision.init(gate.connect(), names, progress=notes).changes

    assert (block.was, block.now) == ("not set", "by all four switches")
    assert '"Sid": "Oops"' in policy.was
    assert policy.now == "TlsOnly, nothing else"
    statements = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])["Statement"]
    assert [statement["Effect"] for statement in statements] == ["Deny"]


def test_a_missing_backend_is_drift_and_check_makes_nothing(gate: Any, names: Any, notes: Any, s3: Any) -> None:
    found = provision.check(gate.connect(), names, progress=notes)
    assert what(found)[0] == "bucket"
    assert s3.list_buckets()["Buckets"] == []


def test_a_bucket_in_another_region_is_refused_with_that_region(gate: Any, names: Any, notes: Any, s3: Any) -> None:
    us = boto3.client("s3", region_name="us-east-2")
    us.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "us-east-2"})
    with pytest.raises(InputError, match="is in us-east-2, not in eu-west-1") as caught:
        provision.init(gate.connect(), names, progress=notes)
    assert "--region us-east-2" in caught.value.fix
    assert gate.writes() == []


def other_account_takes(bucket: str) -> None:
    credentials = boto3.client("sts", region_name=REGION).assume_role(
        RoleArn="arn:aws:iam::222222222222:role/other", RoleSessionName="other"
    )["Credentials"]
    boto3.client(
        "s3",
        region_name=REGION,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
    ).create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})


def test_a_bucket_of_another_account_is_refused_and_nothing_changed(
    gate: Any, names: Any, notes: Any, kms: Any
) -> None:
    other_account_takes(BUCKET)
    with pytest.raises(EnvironmentFailure, match="another account has the name") as caught:
        provision.init(gate.connect(), names, progress=notes)
    assert caught.value.exit_code == 1
    assert "choose another --bucket" in caught.value.fix
    assert gate.writes() == []
    assert own_keys(kms) == []


def test_a_bucket_that_is_taken_between_looking_and_creating_is_refused(
    gate: Any, names: Any, notes: Any, kms: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_account_takes(BUCKET)
    monkeypatch.setenv("MOTO_S3_ALLOW_CROSSACCOUNT_ACCESS", "true")  # else moto says AccessDenied, as AWS does not
    gate.refuse = lambda call: ("404", "Not Found") if call.operation == "HeadBucket" else None
    with pytest.raises(EnvironmentFailure, match="another account has the name"):
        provision.init(gate.connect(), names, progress=notes)
    assert gate.writes() == ["CreateBucket"]
    assert own_keys(kms) == []


def test_a_log_bucket_of_another_account_is_refused(gate: Any, names: Any, notes: Any) -> None:
    other_account_takes(LOG)
    with pytest.raises(EnvironmentFailure, match=f"bucket {LOG} exists"):
        provision.init(gate.connect(), names, access_log=True, progress=notes)


def test_every_bucket_call_names_the_account_that_must_own_it(gate: Any, names: Any, notes: Any) -> None:
    provision.init(gate.connect(), names, access_log=True, progress=notes)
    owners = {
        c.params.get("ExpectedBucketOwner") for c in gate.calls if c.service == "s3" and c.operation != "CreateBucket"
    }
    assert owners == {"123456789012"}


@pytest.mark.parametrize("key", ["holiday.jpg", "data/2026.csv", "-"])
def test_a_bucket_in_use_for_something_else_is_left_alone(gate: Any, names: Any, notes: Any, s3: Any, key: str) -> None:
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=BUCKET, Key=key, Body=b"")
    with pytest.raises(InputError, match="in use for something else: it holds") as caught:
        provision.init(gate.connect(), names, progress=notes)
    assert key.split("/", maxsplit=1)[0] in caught.value.message
    assert gate.writes() == []


def test_a_bucket_with_states_from_before_is_taken_over(gate: Any, names: Any, notes: Any, s3: Any) -> None:
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=BUCKET, Key=".pulumi/stacks/headroom/dev.json", Body=b"{}")
    assert "bucket" not in what(provision.init(gate.connect(), names, progress=notes))
    assert provision.check(gate.connect(), names, progress=notes).changes == ()


def test_of_several_keys_with_the_tag_one_that_lives_is_taken(
    gate: Any, names: Any, notes: Any, kms: Any, tag: dict[str, str]
) -> None:
    dying, living = (kms.create_key(Tags=[tag])["KeyMetadata"] for _ in range(2))
    kms.schedule_key_deletion(KeyId=dying["KeyId"], PendingWindowInDays=7)
    assert provision.init(gate.connect(), names, progress=notes).key_arn == living["Arn"]
    assert kms.describe_key(KeyId=dying["KeyId"])["KeyMetadata"]["KeyState"] == "PendingDeletion"


def test_a_key_that_shuts_everyone_out_is_not_ours_and_not_in_the_way(
    gate: Any, names: Any, notes: Any, kms: Any
) -> None:
    kms.create_key(Description="somebody else's")
    message = "not authorized to perform: kms:ListResourceTags because no resource-based policy allows it"
    gate.refuse = lambda call: ("AccessDeniedException", message) if call.operation == "ListResourceTags" else None
    provision.init(gate.connect(), names, progress=notes)
    assert len(own_keys(kms)) == 1


def test_a_key_that_cannot_be_brought_back_is_said(
    gate: Any, names: Any, notes: Any, kms: Any, tag: dict[str, str]
) -> None:
    key = kms.create_key(Tags=[tag])["KeyMetadata"]["KeyId"]
    kms_backends["123456789012"][REGION].keys[key].key_state = "PendingImport"
    with pytest.raises(EnvironmentFailure, match="is PendingImport"):
        provision.init(gate.connect(), names, progress=notes)


# A start that makes `init` walk every path it has: a key that was scheduled for deletion and lost its alias, rotation
# off, a foreign key beside it, and a bucket with everything undone.
def ruin(region: str = REGION) -> None:
    s3, kms = (boto3.client(service, region_name=region) for service in ("s3", "kms"))
    kms.create_key(Description="somebody else's")
    for change in (no_public_block, acls_on, no_versions, no_encryption, no_policy, no_lifecycle):
        change(s3, kms)
    for change in (no_rotation, key_about_to_die, no_alias, log_elsewhere):
        change(s3, kms)


def prepare(scenario: str, new_gate: Any, names: Any, notes: Any) -> None:
    boto3.client("kms", region_name=REGION).create_key(Description="somebody else's")
    if scenario == "ruined":
        provision.init(new_gate().connect(), names, access_log=True, progress=notes)
        ruin()


def whole(names: Any, notes: Any, new_gate: Any) -> None:
    """A run without hindrance repairs it, and leaves one key, one alias and no drift."""
    aws = new_gate().connect()
    provision.init(aws, names, access_log=True, progress=notes)
    assert provision.check(aws, names, progress=notes).changes == ()
    kms, s3 = (boto3.client(service, region_name=REGION) for service in ("kms", "s3"))
    assert len(own_keys(kms)) == 1
    assert [a["AliasName"] for a in kms.list_aliases()["Aliases"] if "headroom" in a["AliasName"]] == [ALIAS]
    assert sorted(bucket["Name"] for bucket in s3.list_buckets()["Buckets"]) == [BUCKET, LOG]


def calls_of_a_run(scenario: str, new_gate: Any, names: Any, notes: Any) -> list[Any]:
    with mock_aws():
        prepare(scenario, new_gate, names, notes)
        gate = new_gate()
        provision.init(gate.connect(), names, access_log=True, progress=notes)
        return list(gate.calls)


@pytest.mark.parametrize("scenario", ["fresh", "ruined"])
def test_every_call_denied_in_turn_is_explained_and_the_next_run_repairs(
    scenario: str, new_gate: Any, names: Any, notes: Any
) -> None:
    calls = calls_of_a_run(scenario, new_gate, names, notes)
    # Creating from nothing makes every call but some repairs; of repairing, only what it writes is tried again.
    # GetCallerIdentity needs no right: it cannot be denied.
    turns = [
        turn
        for turn, call in enumerate(calls)
        if call.operation != "GetCallerIdentity" and (scenario == "fresh" or not call.reads)
    ]
    assert len(turns) >= 10
    for turn in turns:
        operation = calls[turn].operation
        with mock_aws():
            prepare(scenario, new_gate, names, notes)
            gate = new_gate()
            gate.deny(lambda _, gate=gate, turn=turn: len(gate.calls) == turn + 1)
            with pytest.raises(HeadroomError) as caught:
                provision.init(gate.connect(), names, access_log=True, progress=notes)
            assert gate.operations()[-1] == operation, "it went on after a refusal"
            assert caught.value.exit_code == 1
            assert gate.calls[-1].actions[0] in caught.value.message
            assert "headroom backend policy --for admin" in caught.value.fix
            whole(names, notes, new_gate)


@pytest.mark.parametrize("scenario", ["fresh", "ruined"])
def test_killed_after_any_change_the_next_run_repairs(scenario: str, new_gate: Any, names: Any, notes: Any) -> None:
    calls = calls_of_a_run(scenario, new_gate, names, notes)
    turns = [turn for turn, call in enumerate(calls, start=1) if not call.reads]
    assert len(turns) >= 10
    for turn in turns:
        with mock_aws():
            prepare(scenario, new_gate, names, notes)
            gate = new_gate()
            gate.crash_after = turn
            with pytest.raises(KeyboardInterrupt):
                provision.init(gate.connect(), names, access_log=True, progress=notes)
            assert gate.calls[-1].operation == calls[turn - 1].operation
            whole(names, notes, new_gate)
