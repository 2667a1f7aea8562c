"""Asking many things at once, none of which may stop the others: an answer, or a failure that is kept."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Generic, ParamSpec, TypeVar

from headroom.errors import HeadroomError
from headroom.ops.doctor.snapshot import ProbeFailure, Unseen

P = ParamSpec("P")
T = TypeVar("T")
_NO_RIGHT = ("forbidden", "unauthorized")


class Asked(Generic[T]):
    """A question under way."""

    def __init__(self, questions: Questions, component: str, subject: str, future: Future[T]) -> None:
        self.subject = subject
        self._questions, self._component, self._future = questions, component, future

    def value(self, default: T) -> T:
        """The answer, waited for; `default` where there is none, and then the failure is kept."""
        try:
            return self._future.result()
        except HeadroomError as error:
            self._questions.refuse(self._component, self.subject, error.message)
        except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
            # An answer in a form that we do not know, from a program of another version.
            self._questions.refuse(self._component, self.subject, f"an answer that is not understood: {error!r}")
        return default


class Questions:
    """Asks in the threads of a pool, and keeps what failed. A right that is missing is no symptom of the stack."""

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self.failures: list[ProbeFailure] = []
        self.unseen: list[Unseen] = []

    def ask(
        self, component: str, subject: str, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> Asked[T]:
        """Begin to ask. `question` bounds its own time."""
        return Asked(self, component, subject, self._pool.submit(question, *args, **kwargs))

    def refuse(self, component: str, subject: str, words: str) -> None:
        """Keep a failure."""
        if any(word in words.lower() for word in _NO_RIGHT):
            self.unseen.append(Unseen(subject, words[:200]))
        else:
            self.failures.append(ProbeFailure(component, subject, words[:300]))
