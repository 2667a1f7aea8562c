"""What of a stack file is encrypted, and what must be: its passwords (`headroom:secrets`), and nothing else.

Any other value ends in clear text in a ConfigMap or a pod template, whatever mark it had in the stack file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from headroom.capacity.demand.problem import PREFIX, path
from headroom.errors import InputError

SECRETS = "secrets"


def check_file(stack: str, name: str, config: Mapping[str, Any]) -> None:
    """Check the `config` of the stack file `name`, where an encrypted value is `{secure: …}`. Raises InputError."""
    own = {key.removeprefix(PREFIX): value for key, value in config.items() if key.startswith(PREFIX)}
    passwords = own.pop(SECRETS, {})
    check(stack, name, encrypted=_encrypted(own, ()), clear=_clear(passwords))


def check(stack: str, where: str, *, encrypted: Iterable[str], clear: Iterable[str]) -> None:
    """Refuse what is `encrypted` and must not be, and what is in `clear` text and must not be; both are full paths.

    Raises InputError, which holds no values.
    """
    encrypted, clear = sorted(encrypted), list(clear)
    if encrypted:
        raise InputError(
            f"{where}: {', '.join(encrypted)} holds an encrypted value, and it would be in clear text on the cluster; "
            f"only {PREFIX}{SECRETS} may be encrypted",
            fix="take it out, put it into a Secret in the service's namespace, and name that Secret: "
            "headroom:services.NAME.existingSecret makes each of its keys an environment variable",
        )
    if clear:
        raise InputError(
            f"{where}: {', '.join(clear)} is not encrypted; a stack file holds secrets as {{secure: …}} only",
            fix=f"remove it, then headroom secrets init --stack {stack} (to keep a value in use: pulumi config set "
            f"--stack {stack} --secret --path {clear[0]}); what was in a commit needs headroom secrets rotate",
        )


def _encrypted(value: Any, at: tuple[str | int, ...]) -> Iterator[str]:
    if _is_encrypted(value):
        yield path(at)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _encrypted(inner, (*at, str(key)))
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from _encrypted(inner, (*at, place))


def _clear(passwords: Any) -> list[str]:
    if _is_encrypted(passwords):
        return []
    if isinstance(passwords, Mapping):
        return [path((SECRETS, str(name))) for name, held in passwords.items() if not _is_encrypted(held)]
    return [path((SECRETS,))]


def _is_encrypted(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {"secure"} and isinstance(value["secure"], str)
