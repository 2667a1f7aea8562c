"""The folder that the guard shares with its node's container: an order one way, the process's state the other.

`order` holds the token to run, or `-` for none. `process` holds the last token that was run, and `running` or `ended`.
A token is run once; another start takes another token.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from headroom_h2o.settings import REST_PORT

NONE = "-"


@dataclass(frozen=True)
class Shared:
    """The folder, usually /run/h2o."""

    folder: Path

    def order(self, token: str | None) -> None:
        """Have exactly this token run."""
        self._write("order", f"{token or NONE}\n")

    def flatfile(self, addresses: list[str]) -> None:
        """The cloud's addresses, for discovery by file."""
        self._write("flatfile", "".join(f"{a}:{REST_PORT}\n" for a in sorted(addresses)))

    def login(self, user: str, password: str) -> None:
        """What H2O checks logins against; hashed, as whoever may use H2O may read any file of its container."""
        digest = hashlib.md5(password.encode(), usedforsecurity=False).hexdigest()  # what Jetty knows beside DES
        self._write("realm.properties", f"{user}: MD5:{digest}\n")

    def running(self) -> str | None:
        """The token that runs now, as far as the node's container says."""
        try:
            token, state = (self.folder / "process").read_text(encoding="utf-8").split()
        except (OSError, ValueError):
            return None
        return token if state == "running" else None

    def remember(self, token: str, together: frozenset[str]) -> None:
        """What a guard that starts again must know to leave a healthy cloud alone."""
        self._write("guard", json.dumps({"token": token, "together": sorted(together)}))

    def recall(self) -> tuple[str, frozenset[str]] | None:
        """What was remembered, if it still runs."""
        try:
            found = json.loads((self.folder / "guard").read_text(encoding="utf-8"))
            token, together = str(found["token"]), frozenset(found["together"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return (token, together) if together and token == self.running() else None

    def _write(self, name: str, text: str) -> None:
        new = self.folder / f"{name}.new"
        new.touch(mode=0o600)
        new.write_text(text, encoding="utf-8")
        new.replace(self.folder / name)
