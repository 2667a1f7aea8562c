"""What can go wrong with a request, each with its HTTP status; and what can go wrong before there is one."""

from __future__ import annotations


class StartError(Exception):
    """The service cannot start. `exit_code` 2: its settings are wrong; 1: the world around it is."""

    def __init__(self, message: str, *, fix: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.exit_code = exit_code

    def __str__(self) -> str:
        return f"{self.message}\n  fix: {self.fix}"


class RequestError(Exception):
    """A request that gets no prediction. `code` is for programs, the message for people.

    Answered as RFC 9457 problem details.
    """

    status = 500
    code = "internal"
    title = "Internal error"
    retry_after_s: int | None = None


class BadRequest(RequestError):
    """The body or a header is not what the API says."""

    status = 422
    code = "bad_request"
    title = "The request is malformed"


class BodyTooLarge(RequestError):
    """More bytes than a request may have."""

    status = 413
    code = "body_too_large"
    title = "The body is too large"


class UnknownEntity(RequestError):
    """There are no features for the entity."""

    status = 404
    code = "unknown_entity"
    title = "There are no features for this entity"


class Overloaded(RequestError):
    """The queue is full: come back later, or ask another pod."""

    status = 503
    code = "overloaded"
    title = "The queue is full"
    retry_after_s = 1


class FeaturesUnavailable(RequestError):
    """The feature store gave no answer in time, and the cache has none."""

    status = 503
    code = "features_unavailable"
    title = "The feature store does not answer"
    retry_after_s = 1


class DeadlineExceeded(RequestError):
    """The caller's deadline passed first."""

    status = 504
    code = "deadline_exceeded"
    title = "The deadline passed"


class ModelFailed(RequestError):
    """The model refused the features: another number of them, or an error inside it."""

    status = 500
    code = "model_failed"
    title = "The model failed"
