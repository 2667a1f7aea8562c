"""The two kinds of failure a person meets, and the exit code of each.

Everything raised on purpose is one of these; the command line prints it as one message without a traceback.
"""

from __future__ import annotations


class HeadroomError(Exception):
    """A failure with words for the person who reads it: what was asked, why it cannot be, what to change."""

    exit_code = 1

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message}\n  fix: {self.fix}" if self.fix else self.message


class InputError(HeadroomError):
    """What was asked for is wrong or cannot work (a stack file, an option). Exit 2; nothing was touched."""

    exit_code = 2


class EnvironmentFailure(HeadroomError):
    """The world around us said no (no cluster, no root, a port taken, a download refused). Exit 1."""

    exit_code = 1
