"""How far a load has come, kept where a crash does not reach it.

A load is the same one when the file's content, the stack and the namespace (by its uid: a deleted one took its data
along) are. Rows are upserts, so what is written twice does no harm: the journal saves time, and nothing rests on it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from headroom.errors import EnvironmentFailure
from headroom.local import paths

FOLDER = ".feature-loads"
"""No cluster can be called so."""


@dataclass(frozen=True)
class Journal:
    """The file of one load."""

    path: Path

    @classmethod
    def of(cls, *identity: str) -> Journal:
        """The journal of a load, by all that makes it that load."""
        name = hashlib.sha256("\0".join(identity).encode()).hexdigest()[:24]
        return cls(paths.clusters() / FOLDER / f"{name}.json")

    def rows(self) -> int:
        """Rows from the start that are in the shards; 0 for a load that is new, or whose journal cannot be read."""
        try:
            done = json.loads(self.path.read_text())["rows"]
        except (OSError, ValueError, KeyError, TypeError):
            return 0
        return done if isinstance(done, int) and done > 0 else 0

    def write(self, rows: int) -> None:
        """Note that many rows, whole or not at all. Raises EnvironmentFailure."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
            with os.fdopen(handle, "w") as file:
                json.dump({"rows": rows}, file)
            Path(name).replace(self.path)
        except OSError as error:
            raise EnvironmentFailure(
                f"cannot note how far the load has come: {error}", fix=f"make {self.path.parent} yours and writable"
            ) from error

    def forget(self) -> None:
        """The load is done, or begins anew."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
