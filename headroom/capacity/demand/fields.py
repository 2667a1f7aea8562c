"""The kinds of value that a stack file holds: numbers with their bounds, quantities with their units, names.

Each reads what a person writes and refuses the rest with the rule in words. What becomes a Kubernetes name, an
environment variable or an annotation is checked here, so that nothing crafted travels further.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from headroom.capacity import quantities
from headroom.capacity.demand.problem import Problem
from headroom.capacity.quantities import KI, MI, PI, figure

Read = Callable[[object], Any]


def bounded(read: Read, least: Decimal | int, most: Decimal | int, unit: str = "", fix: str = "") -> BeforeValidator:
    """A validator that reads a quantity and keeps it between two bounds, both allowed."""

    def check(raw: object) -> Any:
        try:
            value = read(raw)
        except ValueError as error:
            raise Problem(str(error), fix=fix) from error
        if value < least:
            raise Problem(f"must be at least {figure(least, 9)}{unit}", fix=fix)
        if value > most:
            raise Problem(f"must be at most {figure(most)}{unit}", fix=fix)
        return value

    return BeforeValidator(check)


TINY = Decimal("0.000001")

Rate = Annotated[Decimal, bounded(quantities.number, TINY, 10**12, fix="a positive number, for example 1000")]
"""Events per second (or per hour where the key says so), above zero."""
RateOrZero = Annotated[Decimal, bounded(quantities.number, 0, 10**12, fix="a number, 0 or more")]
Growth = Annotated[Decimal, bounded(quantities.number, 0, 100, fix="0.2 means 20 % a year")]
Margin = Annotated[Decimal, bounded(quantities.number, 1, 100, fix="1.5 leaves half as much again")]
Variation = Annotated[Decimal, bounded(quantities.number, 0, 10, fix="0 is constant, 1 exponential; measure it")]
Weight = Annotated[Decimal, bounded(quantities.number, 0, 1, fix="0.1 means a tenth")]
Price = Annotated[Decimal, bounded(quantities.number, 0, 10**6, fix="US dollars, for example 0.035")]

Replicas = Annotated[int, bounded(quantities.whole, 1, 100_000, fix="a whole number of pods, 1 or more")]
Count = Annotated[int, bounded(quantities.whole, 0, 10**9, fix="a whole number, 0 or more")]
Positive = Annotated[int, bounded(quantities.whole, 1, 10**9, fix="a whole number, 1 or more")]
Threads = Annotated[int, bounded(quantities.whole, 1, 1024, fix="threads of one pod")]
Percent = Annotated[int, bounded(quantities.whole, 1, 100, fix="percent, for example 70")]

Cpu = Annotated[Decimal, bounded(quantities.cores, Decimal("0.001"), 1024, " cores", 'cores, for example "2" or 500m')]
Memory = Annotated[int, bounded(quantities.octets, 4 * MI, 64 * PI, " bytes", "for example 512Mi or 2Gi")]
Dataset = Annotated[int, bounded(quantities.octets, KI, 1024 * PI, " bytes", "for example 60GB or 10TB")]
Duration = Annotated[Decimal, bounded(quantities.seconds, TINY, 366 * 86400, " s", "for example 8ms or 90s")]


def whole_seconds(raw: object) -> int:
    value = quantities.seconds(raw)
    if value != value.to_integral_value():
        raise ValueError("must be whole seconds")
    return int(value)


Pause = Annotated[int, bounded(whole_seconds, 0, 86400, " s", "whole seconds, for example 60s")]
"""A duration that Kubernetes takes in whole seconds."""
Stabilization = Annotated[int, bounded(whole_seconds, 0, 3600, " s", "whole seconds, for example 60s")]
"""An autoscaler's stabilization window; Kubernetes takes an hour at most."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", re.ASCII)
_SERVICE = re.compile(r"[a-z](?:[a-z0-9-]*[a-z0-9])?", re.ASCII)
_SUBDOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*", re.ASCII)
_ENV = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_QUALIFIED = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?", re.ASCII)
_REPOSITORY = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]{1,5})?/)?"
    r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*",
    re.ASCII,
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}", re.ASCII)
_URL = re.compile(r"https?://[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]{0,200})?", re.ASCII)
_S3 = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/[A-Za-z0-9._/-]{0,200})?", re.ASCII)
_CRON_FIELD = re.compile(r"[0-9A-Za-z*,/-]{1,40}", re.ASCII)
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}", re.ASCII)

SYSTEM_NAMESPACES = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})


def text(raw: object, most: int = 253) -> str:
    """Text without control characters, of a bounded length."""
    if not isinstance(raw, str):
        raise Problem("must be text", fix="put it in quotes")
    if _CONTROL.search(raw):
        raise Problem("must not hold control characters or line breaks", fix="remove them")
    if len(raw) > most:
        raise Problem(f"must be at most {most} characters long, and has {len(raw):,}", fix="shorten it", show=False)
    return raw


def matching(pattern: re.Pattern[str], most: int, rule: str, fix: str = "") -> BeforeValidator:
    def check(raw: object) -> str:
        if not pattern.fullmatch(text(raw, most)):
            raise Problem(rule, fix=fix)
        return str(raw)

    return BeforeValidator(check)


def _reason(raw: object) -> str:
    if not text(raw, 500).strip():
        raise Problem("must say why, in words", fix='for example because: "launch day"')
    return str(raw).strip()


def _namespace(raw: object) -> str:
    name = text(raw, 63)
    if not _LABEL.fullmatch(name):
        raise Problem(NAME_RULE, fix="for example ml-platform")
    if name in SYSTEM_NAMESPACES or name.startswith("kube-"):
        raise Problem("belongs to Kubernetes itself", fix="choose a namespace of your own, for example ml-platform")
    return name


def _image(raw: object) -> str:
    reference = text(raw, 512)
    rest, at, digest = reference.partition("@")
    slash = rest.rfind("/")
    colon = rest.find(":", slash + 1)
    name, tag = (rest[:colon], rest[colon + 1 :]) if colon >= 0 else (rest, "")
    if (
        not _REPOSITORY.fullmatch(name)
        or (at and not _DIGEST.fullmatch(digest))
        or (colon >= 0 and not _TAG.fullmatch(tag))
    ):
        raise Problem("is not an image reference", fix="for example registry.example/inference:1.0.0")
    if tag == "latest":
        raise Problem("the tag `latest` names something else every day", fix="name a version or a digest (@sha256:…)")
    if not tag and not digest:
        raise Problem("has neither a tag nor a digest", fix=f"for example {name[:80]}:1.0.0")
    return reference


def _env_value(raw: object) -> str:
    if isinstance(raw, bool):
        return str(raw).lower()
    if isinstance(raw, Decimal):
        # Whoever hands a stack file on as JSON keeps the number, not how it was written: 1.10 arrives as 1.1.
        if format(raw, "f") != format(Decimal(repr(float(raw))).normalize(), "f"):
            raise Problem("may lose how it is written", fix="put it in quotes", show=False)
        return format(raw, "f")
    if isinstance(raw, int | float):
        return str(raw)
    if not isinstance(raw, str):
        raise Problem("must be text", fix="put it in quotes", show=False)
    if _CONTROL.search(raw.replace("\n", "").replace("\t", "")):
        raise Problem("must not hold control characters", fix="remove them", show=False)
    if len(raw) > 32_768:
        raise Problem(f"must be at most 32,768 characters long, and has {len(raw):,}", show=False)
    return raw


def _annotation_key(raw: object) -> str:
    key = text(raw, 317)
    prefix, slash, name = key.rpartition("/")
    if (
        (slash and (not _SUBDOMAIN.fullmatch(prefix) or len(prefix) > 253))
        or not _QUALIFIED.fullmatch(name)
        or len(name) > 63
    ):
        raise Problem("is not an annotation's name", fix="for example example.com/name")
    return key


def _cron(raw: object) -> str:
    fields = text(raw, 120).split()
    if len(fields) != 5 or not all(_CRON_FIELD.fullmatch(f) for f in fields):
        raise Problem("must be five cron fields", fix='for example "0 8 * * 1-5" (minute hour day month weekday)')
    return " ".join(fields)


def _network(raw: object) -> str:
    try:
        return str(ipaddress.ip_network(text(raw, 50)))
    except ValueError as error:
        raise Problem(f"is not a network: {error}", fix="for example 10.0.0.0/28, or 10.0.0.1/32") from error


def _flag(raw: object) -> bool:
    if isinstance(raw, bool):
        return raw
    if raw in ("true", "false"):
        return raw == "true"
    raise Problem("must be true or false")


NAME_RULE = "must be a DNS label: lower-case letters, digits and dashes, at most 63"
Flag = Annotated[bool, BeforeValidator(_flag)]
Text = Annotated[str, BeforeValidator(text)]
Reason = Annotated[str, BeforeValidator(_reason)]
Network = Annotated[str, BeforeValidator(_network)]
"""Addresses in CIDR notation."""
Networks = Annotated[tuple[Network, ...], Field(max_length=20)]
Namespace = Annotated[str, BeforeValidator(_namespace)]
ServiceKey = Annotated[
    str,
    matching(
        _SERVICE,
        40,
        "must be lower-case letters, digits and dashes, start with a letter, at most 40",
        "for example api-v2",
    ),
]
ObjectName = Annotated[
    str, matching(_SUBDOMAIN, 253, "must be the name of a Kubernetes object: lower-case letters, digits, dashes, dots")
]
EnvName = Annotated[
    str,
    matching(_ENV, 256, "must be letters, digits and underscores, not starting with a digit", "for example LOG_LEVEL"),
]
EnvValue = Annotated[str, BeforeValidator(_env_value)]
AnnotationKey = Annotated[str, BeforeValidator(_annotation_key)]
AnnotationValue = Annotated[str, BeforeValidator(lambda raw: text(raw, 4096))]
LabelValue = Annotated[
    str, matching(_QUALIFIED, 63, "must be at most 63 letters, digits, dots, dashes and underscores")
]
Image = Annotated[str, BeforeValidator(_image)]
Url = Annotated[str, matching(_URL, 512, "must be an http(s) address", "for example http://prometheus.monitoring:9090")]
S3Prefix = Annotated[str, matching(_S3, 300, "must be an S3 address", "for example s3://bucket/h2o")]
Cron = Annotated[str, BeforeValidator(_cron)]
TimeZone = Annotated[str, matching(_ZONE, 64, "must be a time zone's name", "for example Europe/Berlin")]

Environment = Literal["local", "dev", "staging", "prod"]
