"""What the shard client raises. Errors of the caller's own SQL stay psycopg's."""

from __future__ import annotations


class ShardError(Exception):
    """Base of them all. `shard` is the number of the shard that was asked last."""

    def __init__(self, message: str, *, shard: int) -> None:
        super().__init__(message)
        self.shard = shard


class ShardUnavailable(ShardError):
    """No answer within the caller's deadline. Nothing was written."""


class BucketMoved(ShardUnavailable):
    """Within the deadline no shard that the map names owned the bucket. Nothing was written."""


class OutcomeUnknown(ShardError):
    """A commit was sent and not confirmed: the write may have been applied, or not. It was not sent again."""
