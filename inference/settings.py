"""Every setting of the service, read once from the environment.

Names in the environment are the field names in capitals. An empty variable counts as absent, because a Kubernetes
template that has nothing to say writes one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from inference.errors import StartError

REDIS_SCHEMES = tuple(f"{scheme}{mode}" for scheme in ("redis", "rediss") for mode in ("", "+sentinel", "+cluster"))
Positive = Annotated[int, Field(ge=1)]


class Settings(BaseModel):
    """Times carry their unit in the name. Addresses with passwords are secrets: they are never printed or logged."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    host: str = Field("0.0.0.0", description="address to listen on")  # noqa: S104 - a pod's own network namespace
    port: int = Field(8080, ge=0, le=65535, description="port to listen on; 0 takes a free one")

    model_path: Path | None = Field(
        None, description="the ONNX file; by default /model/model.onnx, else a sample in the user's cache folder"
    )
    sample_features: Path | None = Field(
        None, description="CSV of features served without a database; by default features.csv beside the model"
    )

    worker_threads: int = Field(4, ge=1, le=256, description="threads that run the model")
    queue_limit: Positive = Field(
        100, description="requests that may wait for a thread or in a batch; the next one gets 503"
    )
    batch_limit: int = Field(64, ge=1, le=4096, description="most rows the model scores in one call")
    entities_limit: int = Field(1000, ge=1, le=100_000, description="most entities in one POST /predict/batch")
    body_limit_bytes: int = Field(1 << 20, ge=1024, description="largest request body")

    deadline_ms: Positive = Field(1000, description="a request's deadline where it names none")
    deadline_max_ms: Positive = Field(30_000, description="the longest deadline that a request may ask for")

    database_url: SecretStr | None = Field(
        None, description="postgresql://user@pgbouncer:6432/features; the password may come from PGPASSWORD"
    )
    database_connections: Positive = Field(4, description="connections to PgBouncer of this process, over all shards")
    shard_map: Path | None = Field(None, description="the mounted bucket map; without one there is a single shard")

    redis_url: SecretStr | None = Field(
        None, description="redis://host/0, redis+sentinel://h1,h2,h3/master or redis+cluster://h1,h2 (rediss… for TLS)"
    )
    redis_username: str | None = Field(None, description="ACL user, where the address names none")
    redis_password: SecretStr | None = Field(None, description="its password")
    redis_sentinel_username: str | None = Field(None, description="ACL user of the sentinels, if they want one")
    redis_sentinel_password: SecretStr | None = Field(None, description="its password")
    redis_ca_file: Path | None = Field(None, description="CA certificate for rediss addresses")
    redis_timeout_ms: Positive = Field(100, description="longest wait for one Redis command")
    redis_connections: Positive = Field(8, description="commands that run at once, each on its connection")

    cache_ttl_s: float = Field(300, gt=0, description="how long features are kept")
    cache_early_fraction: float = Field(0.1, ge=0, le=1, description="last part of the TTL in which readers refresh")
    cache_entries: Positive = Field(10_000, description="size of the cache in memory, which serves without REDIS_URL")

    drain_s: float = Field(60, ge=0, description="longest time that SIGTERM leaves for what still comes and runs")
    drain_quiet_s: float = Field(1, ge=0, description="exit after SIGTERM once no request came or ran for so long")

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")
    log_format: Literal["auto", "json", "text"] = Field("auto", description="auto: text on a terminal, JSON elsewhere")
    access_log: Literal["all", "failures", "none"] = Field(
        "failures", description="which requests are logged; failures: 503s are summed up in a line a second"
    )

    @field_validator("model_path", "sample_features", "shard_map", "redis_ca_file")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return path and path.expanduser().absolute()

    @field_validator("log_level", "log_format", "access_log", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("database_url")
    @classmethod
    def _database_address(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None:
            return None
        parts = _split(url, ("postgresql", "postgres"))
        if not parts.path.strip("/"):
            raise ValueError("must name a database, such as postgresql://user@pgbouncer:6432/features")
        return url

    @field_validator("redis_url")
    @classmethod
    def _redis_address(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None:
            return None
        parts = _split(url, REDIS_SCHEMES)
        if parts.scheme.endswith("+sentinel") and not parts.path.strip("/"):
            raise ValueError("must name the master, such as redis+sentinel://h1,h2,h3/master")
        return url

    @model_validator(mode="after")
    def _together(self) -> Settings:
        if self.deadline_ms > self.deadline_max_ms:
            raise ValueError(f"DEADLINE_MS ({self.deadline_ms}) is over DEADLINE_MAX_MS ({self.deadline_max_ms})")
        if self.shard_map and not self.database_url:
            raise ValueError("SHARD_MAP is set, but DATABASE_URL is not")
        return self


def from_environment(environment: Mapping[str, str]) -> Settings:
    """The settings that the environment gives.

    Raises StartError (exit code 2) that names every variable that is wrong, its value unless it is a secret, and why.
    """
    given = {field: environment[field.upper()] for field in Settings.model_fields if environment.get(field.upper())}
    try:
        return Settings.model_validate(given)
    except ValidationError as invalid:
        lines = [_line(dict(error), given) for error in invalid.errors(include_url=False, include_context=False)]
    raise StartError(
        "settings that cannot be used:\n" + "\n".join(f"  {line}" for line in lines),
        fix="correct these environment variables; python -m inference --help lists all of them",
        exit_code=2,
    )


def describe() -> str:
    """All settings as lines `NAME  default  what it is`."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"{field.default}"
        rows.append(f"  {name.upper():26}{default:>9}  {field.description}")
    return "\n".join(rows)


def _line(error: dict[str, Any], given: Mapping[str, str]) -> str:
    why = str(error["msg"]).removeprefix("Value error, ")
    if not error["loc"]:
        return why
    field = str(error["loc"][0])
    secret = "SecretStr" in str(Settings.model_fields[field].annotation)
    return f"{field.upper()}{'' if secret else f'={given[field]!r}'}: {why[0].lower()}{why[1:]}"


def _split(url: SecretStr, schemes: tuple[str, ...]) -> Any:
    parts = urlsplit(url.get_secret_value())
    if parts.scheme not in schemes:
        raise ValueError(f"must begin with {' or '.join(f'{s}://' for s in schemes)}")
    if not parts.netloc.rpartition("@")[2]:
        raise ValueError("must name a host")
    return parts
