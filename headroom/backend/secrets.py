"""The passwords that a stack needs: which, for what, and how they get into its config without being seen.

They are one config object, `headroom:secrets`, each value encrypted by itself:

    headroom:secrets:
      postgresApp: {secure: v1:…}
"""

from __future__ import annotations

import secrets as random
import string
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from headroom import stackfile
from headroom.backend.pulumi_cli import PulumiCli
from headroom.capacity.parts import PartName
from headroom.errors import InputError
from headroom.progress import Progress, step

CONFIG_KEY = "headroom:secrets"

# Letters and digits only: whole in a URL, a config file, a shell and an ACL line. 40 of 62 are 238 bits.
_ALPHABET = string.ascii_letters + string.digits
_LENGTH = 40


@dataclass(frozen=True)
class SecretSpec:
    """A password: the `component` that needs it, what it is `used_for`, and whose pods roll when it changes.

    `rolls` are the component's own workloads; most take a new password while they run. `clients` names the store whose
    services log in with it: their pods roll, since they read it when they start.
    """

    component: PartName
    used_for: str
    rolls: tuple[str, ...] = ()
    clients: Literal["postgres", "redis", ""] = ""


REQUIRED: dict[str, SecretSpec] = {
    "postgresSuperuser": SecretSpec("postgres", "administration of every shard"),
    "postgresReplication": SecretSpec("postgres", "replicas following their primary"),
    "postgresRewind": SecretSpec("postgres", "a former primary rejoining (pg_rewind)"),
    "postgresApp": SecretSpec("postgres", "the services' role, `features`", clients="postgres"),
    "pgbouncerAuth": SecretSpec("pgbouncer", "PgBouncer looking passwords up (auth_query)"),
    "redisApp": SecretSpec("redis", "the services' user", ("redis",), clients="redis"),
    "redisAdmin": SecretSpec("redis", "administration, replication and failover", ("redis",)),
    "redisMonitor": SecretSpec("redis", "the metrics exporter's user", ("redis",)),
    "h2oUi": SecretSpec("h2o", "the login of H2O's web page and API", ("h2o-cluster",)),
}


@dataclass(frozen=True)
class Stack:
    """What a stack file says about secrets: the components in it, the services linked to each store, and the names of
    the secrets that are set."""

    components: frozenset[str]
    clients: Mapping[str, tuple[str, ...]]
    present: frozenset[str]

    @property
    def required(self) -> dict[str, SecretSpec]:
        """What this stack needs, of REQUIRED."""
        return required(self.components)

    def rolls(self, name: str) -> tuple[str, ...]:
        """The workloads whose pods roll when the secret `name` changes."""
        spec = REQUIRED[name]
        return (*spec.rolls, *self.clients.get(spec.clients, ()))


def required(components: Set[str]) -> dict[str, SecretSpec]:
    """The secrets that a stack with these components needs."""
    return {name: spec for name, spec in REQUIRED.items() if spec.component in components}


def read(stack_file: Path) -> Stack:
    """Look into a stack file. Raises InputError when it cannot be read or its secrets are not an object."""
    document = stackfile.document(stack_file)
    config = _mapping(document, "config", stack_file)
    present = _mapping(config, CONFIG_KEY, stack_file)
    if "secure" in present:
        raise InputError(
            f"{stack_file.name}: {CONFIG_KEY} is one encrypted value; each secret must be encrypted by itself",
            fix=f"pulumi config rm {CONFIG_KEY}, then headroom secrets init",
        )
    services = _mapping(config, "headroom:services", stack_file)
    components = {spec.component for spec in REQUIRED.values() if config.get(f"headroom:{spec.component}") is not None}
    return Stack(
        # PgBouncer stands before PostgreSQL also where the stack file leaves it at its defaults.
        components=frozenset(components | ({"pgbouncer"} if "postgres" in components else set())),
        clients=_clients(services, config.get("headroom:namespace")),
        present=frozenset(present),
    )


def init(stack: str, stack_file: Path, cli: PulumiCli, *, dry_run: bool, progress: Progress) -> tuple[str, ...]:
    """Generate the secrets that `stack` needs and does not have; returns their names. Those it has stay as they are.

    Safe to run again, also after a run that stopped. Raises EnvironmentFailure with Pulumi's words.
    """
    found = read(stack_file)
    missing = tuple(name for name in found.required if name not in found.present)
    if not dry_run:
        for name in missing:
            with step(progress, f"generating {name} ({REQUIRED[name].used_for})"):
                _set(cli, stack, name)
    return missing


def rotate(
    name: str, stack: str, stack_file: Path, cli: PulumiCli, *, dry_run: bool, progress: Progress
) -> tuple[str, ...]:
    """Give the secret `name` a new value; returns the workloads whose pods roll at the next `headroom up`.

    Raises InputError for a secret that the stack does not have.
    """
    found = read(stack_file)
    check_name(name, found.required)
    if name not in found.present:
        raise InputError(f"{stack} has no secret {name} yet", fix=f"headroom secrets init --stack {stack}")
    if not dry_run:
        with step(progress, f"rotating {name}"):
            _set(cli, stack, name)
    return found.rolls(name)


def check_name(name: str, known: Mapping[str, SecretSpec]) -> None:
    """Raises InputError naming the secrets there are when `name` is none of them."""
    if name not in known:
        raise InputError(f"{name!r} is no secret of this stack", fix=f"one of {', '.join(known) or '(it needs none)'}")


def _clients(services: Mapping[str, Any], namespace: Any) -> dict[str, tuple[str, ...]]:
    """The services that each store is linked to: only those in its own namespace can see its Secrets."""
    near = {
        name: service
        for name, service in services.items()
        if isinstance(service, Mapping) and service.get("namespace", namespace) == namespace
    }
    return {
        "postgres": tuple(n for n, s in near.items() if s.get("connectionsPerPod", s.get("preset") != "inferadb")),
        "redis": tuple(n for n, s in near.items() if s.get("preset") == "fastapi"),
    }


def generate() -> str:
    """A new password."""
    return "".join(random.choice(_ALPHABET) for _ in range(_LENGTH))


def _set(cli: PulumiCli, stack: str, name: str) -> None:
    # Without a value in its arguments and without a terminal, the CLI reads it from standard input.
    cli.run("config", "set", "--stack", stack, "--secret", "--path", f"{CONFIG_KEY}.{name}", stdin=generate())


def _mapping(of: Any, key: str, file: Path) -> Mapping[str, Any]:
    value = of.get(key) if isinstance(of, Mapping) else None
    if value is not None and not isinstance(value, Mapping):
        raise InputError(f"{file.name}: {key} must be an object, not {type(value).__name__}", fix="correct the file")
    return value or {}
