"""A password that changes while the server runs: the new one is taken up, the old one is good until the next start.

The file of a mounted Secret follows it within about a minute, in each pod at another moment, so for that minute both
must open the door.
"""

from __future__ import annotations

from collections.abc import Sequence

from headroom_redis import files
from headroom_redis.process import say
from headroom_redis.resp import ReplyError, connect
from headroom_redis.settings import USERS, Settings


class Rotation:
    """Watches the password files. `accepted` are the passwords of each user, the newest last."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.accepted: dict[str, list[str]] = {user: [settings.password(user)] for user in USERS}
        self._pending = False

    def changed(self) -> bool:
        """Whether there is something to take up."""
        for user, held in self.accepted.items():
            now = self._settings.password(user)
            if now and now != held[-1]:
                self.accepted[user] = [*(each for each in held if each != now), now]
                self._pending = True
        return self._pending

    def apply(self, port: int, commands: Sequence[tuple[str, ...]], users: Sequence[str] | None = None) -> None:
        """Give the server's users (all, or those named) their new passwords, then tell it the one for what it asks of
        others.

        Raises OSError, ReplyError; then it is tried again.
        """
        for password in reversed(self.accepted["admin"]):
            try:
                with connect("127.0.0.1", port, "admin", password) as own:
                    # Not ACL LOAD, which hangs up on everybody whose line changed.
                    for user, held in self.accepted.items():
                        if users is None or user in users:
                            own.call("ACL", "SETUSER", user, f"#{files.hashed(held[-1])}")
                    for command in commands:
                        own.call(*command)
            except ReplyError as error:
                if "WRONGPASS" in str(error):
                    continue
                raise
            self._pending = False
            say("new passwords taken up")
            return
        raise ReplyError("none of the administrator's passwords opens the server")
