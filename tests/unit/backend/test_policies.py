"""Every policy allows exactly what its role calls: all of it passes, and each right is missed when it is taken away."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.core import set_initial_no_auth_action_count

from headroom.backend import aws as door
from headroom.backend import destroy as destruction
from headroom.backend import names as naming
from headroom.backend import policies, provision
from headroom.backend.policies import Role
from headroom.errors import HeadroomError

REGION = "eu-west-1"
BUCKET = "team-state"
ACCOUNT = "123456789012"
STATE = ".pulumi/stacks/headroom/prod.json"


def actions(policy: dict[str, Any]) -> list[str]:
    return sorted({action for statement in policy["Statement"] for action in statement["Action"]})


def without(policy: dict[str, Any], action: str) -> dict[str, Any]:
    less = copy.deepcopy(policy)
    for statement in less["Statement"]:
        statement["Action"] = [a for a in statement["Action"] if a != action]
    return less


def admins_work(gate: Any, names: Any, notes: Any, new_gate: Any) -> None:
    """All that `init` and `check` can come to do: everything made, then everything repaired."""
    boto3.client("kms", region_name=REGION).create_key(Description="somebody else's")
    aws = gate.connect()
    provision.init(aws, names, access_log=True, progress=notes)
    kms, s3 = (boto3.client(service, region_name=REGION) for service in ("kms", "s3"))
    key = kms.describe_key(KeyId=names.alias)["KeyMetadata"]["KeyId"]
    provision.check(aws, names, progress=notes)
    kms.schedule_key_deletion(KeyId=key)
    kms.delete_alias(AliasName=names.alias)
    for bucket in (BUCKET, names.log_bucket):
        s3.put_bucket_ownership_controls(
            Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
        )
    provision.init(aws, names, progress=notes)


def destroyers_work(gate: Any, names: Any, notes: Any, new_gate: Any) -> None:
    provision.init(new_gate().connect(), names, progress=notes)
    boto3.client("s3", region_name=REGION).put_object(Bucket=BUCKET, Key=".pulumi/meta.yaml", Body=b"")
    # A backend whose alias is lost is found by the key's tag.
    boto3.client("kms", region_name=REGION).delete_alias(AliasName=names.alias)
    destruction.destroy(gate.connect(), names, progress=notes)
    provision.init(new_gate().connect(), names, progress=notes)
    destruction.destroy(gate.connect(), names, progress=notes)


WORK: dict[Role, Callable[..., None]] = {Role.admin: admins_work, Role.destroy: destroyers_work}


def own(role: Role, names: naming.Names) -> dict[str, Any]:
    return policies.policy(role, names, account=ACCOUNT, key_arn="", access_log=True)


@pytest.mark.parametrize("role", WORK)
def test_a_policy_allows_what_its_command_calls_and_nothing_else(
    gate: Any, names: Any, notes: Any, new_gate: Any, role: Role
) -> None:
    gate.enforce(own(role, names))
    WORK[role](gate, names, notes, new_gate)
    called = {action for call in gate.calls for action in call.actions}
    assert actions(own(role, names)) == sorted(called)


@pytest.mark.parametrize("role", WORK)
def test_each_right_taken_away_is_missed_by_name(names: Any, notes: Any, new_gate: Any, role: Role) -> None:
    for action in actions(own(role, names)):
        with mock_aws():
            gate = new_gate()
            gate.enforce(without(own(role, names), action))
            with pytest.raises(HeadroomError) as caught:
                WORK[role](gate, names, notes, new_gate)
            # What stands beside a call of another name: a key or bucket made with a tag or a setting at birth.
            beside = {"kms:TagResource": "kms:CreateKey", "s3:PutBucketOwnershipControls": "s3:CreateBucket"}
            assert beside.get(action, action) in caught.value.message
            assert f"--for {role}" in caught.value.fix


@pytest.mark.parametrize("role", WORK)
def test_a_policy_is_of_no_use_on_another_backend(gate: Any, notes: Any, new_gate: Any, names: Any, role: Role) -> None:
    other = naming.names("other-state", REGION)
    gate.enforce(own(role, names))
    provision.init(new_gate().connect(), other, progress=notes)
    work = provision.init if role is Role.admin else destruction.destroy
    with pytest.raises(HeadroomError):
        work(gate.connect(), other, progress=notes)
    key = boto3.client("kms", region_name=REGION).describe_key(KeyId=other.alias)["KeyMetadata"]["KeyId"]
    kms = gate.session.client("kms")
    for attempt in (kms.schedule_key_deletion, kms.enable_key, kms.cancel_key_deletion):
        with pytest.raises(Exception, match="not allowed"):
            attempt(KeyId=key)


def test_the_admin_policy_without_a_log_does_not_reach_the_log(names: Any) -> None:
    policy = policies.policy(Role.admin, names, account=ACCOUNT, key_arn="")
    assert names.log_bucket not in json.dumps(policy)


# What the Pulumi CLI does on S3 and KMS: see headroom/backend/policies.py for where that was read.
Step = Callable[[Any, Any, str], object]


def stack_work(s3: Any, kms: Any, key: str) -> dict[str, Callable[[], object]]:
    """IAM action -> the calls that need it, in the order in which an update makes them."""
    lock = ".pulumi/locks/organization/headroom/prod/1.json"

    def many_parts() -> None:
        upload = s3.create_multipart_upload(Bucket=BUCKET, Key=STATE)["UploadId"]
        s3.abort_multipart_upload(Bucket=BUCKET, Key=STATE, UploadId=upload)

    def write() -> None:
        s3.put_object(Bucket=BUCKET, Key=lock, Body=b"{}")
        s3.copy_object(Bucket=BUCKET, Key=f"{STATE}.bak", CopySource={"Bucket": BUCKET, "Key": STATE})
        s3.put_object(Bucket=BUCKET, Key=STATE, Body=b"{}")

    def read() -> None:
        s3.get_object(Bucket=BUCKET, Key=STATE)
        s3.head_object(Bucket=BUCKET, Key=STATE)

    return {
        "s3:ListBucket": lambda: s3.list_objects_v2(Bucket=BUCKET, Prefix=".pulumi/stacks/"),
        "s3:GetObject": read,
        "s3:PutObject": write,
        "s3:AbortMultipartUpload": many_parts,
        "s3:DeleteObject": lambda: s3.delete_object(Bucket=BUCKET, Key=lock),
        "kms:Encrypt": lambda: kms.encrypt(KeyId=key, Plaintext=b"data key"),
        "kms:Decrypt": lambda: kms.decrypt(CiphertextBlob=DATA_KEY[0], KeyId=key),
        "kms:GenerateDataKey": lambda: kms.generate_data_key(KeyId=key, KeySpec="AES_256"),
    }


DATA_KEY: list[bytes] = []

EVERYTHING = {
    "s3:AbortMultipartUpload",
    "s3:DeleteObject",
    "s3:GetObject",
    "s3:ListBucket",
    "s3:PutObject",
    "kms:Decrypt",
    "kms:Encrypt",
    "kms:GenerateDataKey",
}
ALLOWED = {
    Role.person: EVERYTHING,
    Role.ci: EVERYTHING - {"kms:Encrypt"},
    Role.preview: {"s3:GetObject", "s3:ListBucket", "kms:Decrypt"},
}


def enforced(policy: dict[str, Any], attempts: Callable[[Any, Any], None]) -> None:
    """Run `attempts` as an IAM user that has only `policy`, with moto judging every request by it.

    moto does not know which key a KMS request is about, so for it the policy's statement on the key is about all; that
    no other key is reached is tested by the gate, below.
    """
    policy = copy.deepcopy(policy)
    for statement in policy["Statement"]:
        if ":kms:" in statement["Resource"]:
            statement["Resource"] = "*"
    iam = boto3.client("iam", region_name=REGION)
    iam.create_user(UserName="somebody")
    iam.put_user_policy(UserName="somebody", PolicyName="p", PolicyDocument=json.dumps(policy))
    access = iam.create_access_key(UserName="somebody")["AccessKey"]
    session = boto3.Session(
        region_name=REGION,
        aws_access_key_id=access["AccessKeyId"],
        aws_secret_access_key=access["SecretAccessKey"],
    )
    set_initial_no_auth_action_count(0)(attempts)(session.client("s3"), session.client("kms"))


@pytest.mark.parametrize("role", ALLOWED)
def test_who_works_on_stacks_may_do_that_and_nothing_else_as_moto_judges_it(
    gate: Any, names: Any, notes: Any, role: Role
) -> None:
    key = provision.init(gate.connect(), names, progress=notes).key_arn
    policy = policies.policy(role, names, account=ACCOUNT, key_arn=key)
    assert set(actions(policy)) == ALLOWED[role]
    boto3.client("s3", region_name=REGION).put_object(Bucket=BUCKET, Key=STATE, Body=b"{}")
    DATA_KEY[:] = [boto3.client("kms", region_name=REGION).encrypt(KeyId=key, Plaintext=b"k")["CiphertextBlob"]]
    refused: dict[str, bool] = {}

    def attempts(s3: Any, kms: Any) -> None:
        for action, attempt in stack_work(s3, kms, key).items():
            refused[action] = False
            try:
                attempt()
            except Exception as error:
                assert "Denied" in str(error) or "Forbidden" in str(error) or "not authorized" in str(error), error
                refused[action] = True

    enforced(policy, attempts)
    assert {action for action, no in refused.items() if not no} == ALLOWED[role]


@pytest.mark.parametrize("role", ALLOWED)
def test_a_stack_policy_reaches_nothing_beside_the_states(gate: Any, names: Any, notes: Any, role: Role) -> None:
    key = provision.init(gate.connect(), names, progress=notes).key_arn
    other = boto3.client("kms", region_name=REGION).create_key()["KeyMetadata"]["KeyId"]
    boto3.client("s3", region_name=REGION).put_object(Bucket=BUCKET, Key="beside.txt", Body=b"")
    gate.enforce(policies.policy(role, names, account=ACCOUNT, key_arn=key))
    s3, kms = gate.session.client("s3"), gate.session.client("kms")
    for attempt in (
        lambda: s3.get_object(Bucket=BUCKET, Key="beside.txt"),
        lambda: s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"}),
        lambda: s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": STATE, "VersionId": "1"}]}),
        lambda: s3.delete_bucket(Bucket=BUCKET),
        lambda: kms.encrypt(KeyId=other, Plaintext=b""),
        lambda: kms.schedule_key_deletion(KeyId=key),
    ):
        with pytest.raises(Exception, match="not allowed"):
            attempt()


@pytest.mark.parametrize(
    ("role", "environments"), [(Role.ci, ["prod"]), (Role.preview, ["preview-prod", "drift-prod"])]
)
def test_ci_is_trusted_by_repository_and_environment_without_a_long_lived_key(
    names: Any, role: Role, environments: list[str]
) -> None:
    hub = naming.github("acme/platform", "prod")
    [statement] = policies.trust(role, names, account=ACCOUNT, github=hub)["Statement"]
    issuer = "token.actions.githubusercontent.com"
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Principal"] == {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{issuer}"}
    assert statement["Condition"] == {
        "StringEquals": {
            f"{issuer}:aud": "sts.amazonaws.com",
            f"{issuer}:sub": [f"repo:acme/platform:environment:{name}" for name in environments],
        }
    }


@pytest.mark.parametrize("role", Role)
def test_iam_takes_every_policy(cloud: None, names: Any, role: Role) -> None:
    key = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"
    document = json.dumps(policies.policy(role, names, account=ACCOUNT, key_arn=key, access_log=True))
    iam = boto3.client("iam", region_name=REGION)
    iam.create_policy(PolicyName=role, PolicyDocument=document)
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: a managed policy's characters.
    assert len(document.replace(" ", "")) <= 6144


def test_words_for_a_refusal_name_the_action_as_iam_does() -> None:
    assert door.iam_action("PutBucketEncryption") == "s3:PutEncryptionConfiguration"
    assert door.iam_action("HeadBucket") == "s3:ListBucket"
    assert door.iam_action("CreateAlias") == "kms:CreateAlias"
    assert door.iam_action("GetCallerIdentity") == "sts:GetCallerIdentity"
