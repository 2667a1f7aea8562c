"""What may be named how, and every name that follows from a bucket and a region."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import botocore.session

from headroom.errors import InputError

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html. Dots are legal there and refused here:
# the certificate of *.s3.amazonaws.com does not cover a name with a dot, so TLS-only access would fail.
_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_RESERVED_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_SUFFIXES = ("-s3alias", "--ol-s3", "--x-s3", "--table-s3", "-an")
_LOG_SUFFIX = "-access-log"

_OWNER_REPO = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,37}[A-Za-z0-9])?/[A-Za-z0-9._-]{1,100}")
_ENVIRONMENT = re.compile(r"[^\s:*?'\"`][^:*?'\"`]{0,254}")


@dataclass(frozen=True)
class Names:
    """A state bucket, its region, and what is named after them. Make one with `names`, which checks."""

    bucket: str
    region: str
    partition: str

    @property
    def alias(self) -> str:
        """The alias of the bucket's KMS key. One key a bucket, so that a bucket is the wall between teams."""
        return f"alias/headroom-{self.bucket}"

    @property
    def log_bucket(self) -> str:
        """The bucket that receives the access log."""
        return f"{self.bucket}{_LOG_SUFFIX}"

    @property
    def bucket_arn(self) -> str:
        return f"arn:{self.partition}:s3:::{self.bucket}"

    @property
    def log_bucket_arn(self) -> str:
        return f"arn:{self.partition}:s3:::{self.log_bucket}"

    @property
    def backend_url(self) -> str:
        """What `pulumi login` takes."""
        return f"s3://{self.bucket}?region={self.region}"

    @property
    def secrets_provider(self) -> str:
        """What `pulumi stack init --secrets-provider` takes."""
        return f"awskms://{self.alias}?region={self.region}"


@dataclass(frozen=True)
class GitHub:
    """Who in GitHub may take the CI role: a job of `repository` ("owner/repo") that runs in `environment`."""

    repository: str
    environment: str


def names(bucket: str, region: str, *, access_log: bool = False) -> Names:
    """The names of a backend. Raises InputError with the rule that `bucket` or `region` breaks."""
    fix = "choose another --bucket, for example my-company-headroom-state"
    if not _BUCKET.fullmatch(bucket):
        raise InputError(
            f"{bucket!r} cannot name a bucket: 3 to 63 characters, lowercase letters, digits and hyphens, "
            "the first and the last a letter or digit",
            fix=fix,
        )
    if bucket.startswith(_RESERVED_PREFIXES) or bucket.endswith(_RESERVED_SUFFIXES):
        raise InputError(
            f"{bucket!r} cannot name a bucket: S3 keeps the beginnings {', '.join(_RESERVED_PREFIXES)} "
            f"and the endings {', '.join(_RESERVED_SUFFIXES)} for itself",
            fix=fix,
        )
    if access_log and len(bucket) + len(_LOG_SUFFIX) > 63:
        raise InputError(
            f"{bucket!r} is too long for an access log: the log's bucket is named {bucket}{_LOG_SUFFIX}, "
            "and a bucket's name has at most 63 characters",
            fix=f"a --bucket of at most {63 - len(_LOG_SUFFIX)} characters, or --no-access-log",
        )
    return Names(bucket, region, _partition(region))


def github(repository: str, environment: str) -> GitHub:
    """Raises InputError when `repository` is not "owner/repo" or `environment` cannot be an environment's name."""
    if not _OWNER_REPO.fullmatch(repository):
        raise InputError(f"{repository!r} is not a GitHub repository", fix="--github OWNER/REPO")
    if not _ENVIRONMENT.fullmatch(environment):
        raise InputError(
            f"{environment!r} cannot name a GitHub environment: 1 to 255 characters, no quotes, colons, * or ?",
            fix="--environment NAME, as in the repository's Settings, Environments",
        )
    return GitHub(repository, environment)


def _partition(region: str) -> str:
    """The AWS partition (aws, aws-cn, aws-us-gov, …) of a region, from the list that comes with botocore."""
    regions = _regions()
    if region in regions:
        return regions[region]
    asked = region.strip().casefold()
    near = [name for name in sorted(regions) if name.partition("-")[0] == asked.partition("-")[0]]
    near = near or sorted(name for name, place in _places().items() if len(asked) > 2 and asked in place.casefold())
    raise InputError(
        f"{region!r} is not an AWS region with S3",
        fix=f"--region with one of {', '.join(near)}; a newer region needs a newer boto3"
        if near
        else "--region with a region's code, for example eu-central-1 (Frankfurt) or us-east-1 (N. Virginia)",
    )


@cache
def _regions() -> dict[str, str]:
    session = botocore.session.get_session()
    return {
        name: partition
        for partition in session.get_available_partitions()
        for name in session.get_available_regions("s3", partition_name=partition)
    }


def _places() -> dict[str, str]:
    """Where the regions with S3 are, such as `Europe (Frankfurt)`."""
    partitions = botocore.session.get_session().get_data("endpoints")["partitions"]
    return {
        name: str(about.get("description", ""))
        for partition in partitions
        for name, about in partition["regions"].items()
        if name in _regions()
    }
