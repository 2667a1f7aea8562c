"""The base of every part of a demand: frozen, camelCase outside, and no key that is not known."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel

from headroom.capacity.demand.problem import Problem, closest


def _key(name: str) -> str:
    # A digit does not begin a word: `h2o` stays `h2o`.
    return name if name == "h2o" else to_camel(name)


class Part(BaseModel):
    """A mapping in a stack file. Keys are camelCase there and snake_case here."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=_key, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, cls) or not isinstance(data, dict):
            return data
        known = _keys(cls)
        for key, value in data.items():
            if key not in known:
                name = key if isinstance(key, str) else repr(key)
                # The value is not shown: a misplaced key may hold a password.
                raise Problem("is not a key that is known here", fix=closest(name, known), at=(name,), show=False)
            if value is None:
                raise Problem("has no value", fix="give it one, or take the key away", at=(key,), show=False)
        return data


_KEYS: dict[type[Part], frozenset[str]] = {}


def _keys(part: type[Part]) -> frozenset[str]:
    if part not in _KEYS:
        _KEYS[part] = frozenset(f.alias or n for n, f in part.model_fields.items())
    return _KEYS[part]
