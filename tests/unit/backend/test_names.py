from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headroom.backend import names as naming
from headroom.errors import InputError


@pytest.mark.parametrize(
    "bucket",
    [
        "ab",
        "a" * 64,
        "Team-State",
        "team_state",
        "team.state",
        "-team",
        "team-",
        "team state",
        "team/state",
        "",
        "xn--team",
        "sthree-team",
        "team-s3alias",
        "team--ol-s3",
        "équipe-state",
        "team\n",
    ],
)
def test_a_bucket_that_s3_would_refuse_is_refused_with_the_rule(bucket: str) -> None:
    with pytest.raises(InputError, match="cannot name a bucket: ") as caught:
        naming.names(bucket, "eu-west-1")
    assert caught.value.exit_code == 2
    assert "--bucket" in caught.value.fix


@pytest.mark.parametrize(
    ("region", "helps"),
    [
        ("eu-west-9", "one of eu-"),
        ("EU-WEST-1", "eu-west-1"),
        ("eu-west-1 ", "eu-west-1"),
        ("us-east-1a", "us-east-1"),
        ("frankfurt", "one of eu-central-1;"),
        ("Ireland", "one of eu-west-1;"),
        ("tokyo", "one of ap-northeast-1;"),
        ("", "for example eu-central-1 (Frankfurt)"),
        ("atlantis", "for example eu-central-1 (Frankfurt)"),
    ],
)
def test_a_region_that_is_none_is_refused_with_what_helps(region: str, helps: str) -> None:
    with pytest.raises(InputError, match="is not an AWS region") as caught:
        naming.names("team-state", region)
    assert caught.value.fix.startswith("--region with ")
    assert helps in caught.value.fix


def test_the_regions_named_are_near_the_one_asked_for() -> None:
    with pytest.raises(InputError) as caught:
        naming.names("team-state", "eu-west-9")
    assert "eu-west-1" in caught.value.fix
    assert "us-east-1" not in caught.value.fix


@given(st.text(alphabet="abz09-", min_size=3, max_size=63))
def test_every_bucket_that_is_taken_gives_names_that_aws_takes(bucket: str) -> None:
    try:
        names = naming.names(bucket, "eu-west-1")
    except InputError:
        assert bucket[0] == "-" or bucket[-1] == "-" or bucket.endswith(("-an",)) or bucket.startswith("xn--")
        return
    # https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateAlias.html
    assert names.alias.startswith("alias/")
    assert not names.alias.startswith("alias/aws/")
    assert len(names.alias) <= 256


def test_what_follows_from_a_bucket() -> None:
    names = naming.names("team-state", "eu-west-1")
    assert names.backend_url == "s3://team-state?region=eu-west-1"
    assert names.secrets_provider == "awskms://alias/headroom-team-state?region=eu-west-1"
    assert names.bucket_arn == "arn:aws:s3:::team-state"


@pytest.mark.parametrize(("region", "partition"), [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")])
def test_arns_are_of_the_partition_that_the_region_is_in(region: str, partition: str) -> None:
    assert naming.names("team-state", region).bucket_arn == f"arn:{partition}:s3:::team-state"


def test_a_bucket_too_long_for_its_log_is_refused_only_with_a_log() -> None:
    bucket = "b" * 60
    assert naming.names(bucket, "eu-west-1").bucket == bucket
    with pytest.raises(InputError, match="too long for an access log"):
        naming.names(bucket, "eu-west-1", access_log=True)


@pytest.mark.parametrize("repository", ["repo", "a/b/c", "-a/b", "a/", "/b", "a b/c", "a/*", ""])
def test_what_is_no_github_repository_is_refused(repository: str) -> None:
    with pytest.raises(InputError, match="not a GitHub repository"):
        naming.github(repository, "prod")


@pytest.mark.parametrize("environment", ["", "*", "prod*", "a:b", "'prod'", " prod"])
def test_an_environment_that_could_widen_the_trust_is_refused(environment: str) -> None:
    with pytest.raises(InputError, match="cannot name a GitHub environment"):
        naming.github("acme/platform", environment)
