"""What a service is told of a store of the stack: where it is, who it is there, and which files tell it more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi

from components.pods import SecretKey


@dataclass(frozen=True)
class Link:
    """`settings` and `secrets` are environment variables, `files` folders that show a ConfigMap; `after` is what must
    be ready first. All of it in the service's own namespace."""

    settings: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, SecretKey] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    after: tuple[pulumi.Resource, ...] = ()

    def __or__(self, other: Link) -> Link:
        """Both."""
        return Link(
            {**self.settings, **other.settings},
            {**self.secrets, **other.secrets},
            {**self.files, **other.files},
            (*self.after, *other.after),
        )
