"""The model's own bounded thread pool, and the queue before it.

Requests that wait anyway are scored together; nothing ever waits to be joined. While a thread is free, whatever came in
the same turn of the event loop starts at once. While none is, requests wait in order, and the next free thread takes as
many as the batch limit allows. So batches grow with the load by themselves, and there is no timer to tune.

The queue's limit counts those who share a running batch beside its first, too: they wait for the model as those in the
queue do. So whoever is accepted waits for no more requests than the limit. Were they not counted, it could be twice as
many: a full batch that runs, and a full one of its own.

A request takes its place before its features are fetched. Were it counted only once it has them, any number could wait
for the cache and for the event loop, where nothing but their deadline would bound them.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from inference.errors import DeadlineExceeded, Overloaded
from inference.metrics import Metrics

Out = TypeVar("Out")
Rows = NDArray[Any]


class _Waiting(Generic[Out]):
    __slots__ = ("future", "rows", "until")

    def __init__(self, rows: Rows, until: float, future: asyncio.Future[list[Out]]) -> None:
        self.rows = rows
        self.until = until
        self.future = future


class Batcher(Generic[Out]):
    """Scores rows in at most `threads` threads. Belongs to one event loop, and is not thread-safe."""

    def __init__(
        self,
        predict: Callable[[Rows], list[Out]],
        *,
        threads: int,
        queue_limit: int,
        batch_limit: int,
        metrics: Metrics,
        cores: float | None = None,
    ) -> None:
        """`predict` blocks and gives one result a row. `cores` is what the process may use, by default found out."""
        self._predict = predict
        self._threads = threads
        self._queue_limit = queue_limit
        self._batch_limit = batch_limit
        self._metrics = metrics
        # More lanes than cores would split a batch only to let its parts fight over one core.
        self._lanes = max(1, min(threads, round(usable_cores() if cores is None else cores)))
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="model")
        self._waiting: OrderedDict[_Waiting[Out], None] = OrderedDict()
        self._waiting_rows = 0
        self._running = 0
        # Parts, and their rows, that share a running batch with an earlier one.
        self._sharing = self._sharing_rows = 0
        # Requests, by the parts that the model gets of them, and their rows, that have a place and fetch features.
        self._coming = self._coming_rows = 0
        self._flush_due = False
        metrics.queue_depth.set_function(lambda: self.depth)
        metrics.busy_threads.set_function(lambda: self._running)
        metrics.queue_limit.set(queue_limit)

    @property
    def depth(self) -> int:
        """Requests that wait for a thread. Those that would start in this very turn of the loop do not wait."""
        return len(self._waiting) if self._running >= self._threads else 0

    def check_room(self) -> None:
        """Raises Overloaded when a request that came now could not wait."""
        self._check(self._coming, self._coming_rows)

    @contextmanager
    def place(self, rows: int = 1) -> Iterator[None]:
        """Keep a place in the queue for a request that has yet to fetch what `predict` takes.

        A request of more rows than the batch limit has as many places as `predict` makes parts of it. Raises Overloaded
        when there is no room.
        """
        self.check_room()
        places = max(1, -(-rows // self._batch_limit))
        self._coming += places
        self._coming_rows += rows
        try:
            yield
        finally:
            self._coming -= places
            self._coming_rows -= rows

    async def predict(self, rows: Rows, until: float) -> list[Out]:
        """Results for rows [n, width], in order.

        `until` (`time.monotonic`) is when they are of no use any more: rows still waiting then fail with
        DeadlineExceeded instead of being scored. More rows than the batch limit are queued in parts, so that nobody
        waits for all of them; each part counts as a request that waits, and they are admitted together. Raises
        Overloaded when the queue is full. A caller that is cancelled leaves the queue at once.
        """
        # Not those that are coming: whoever had a place is one of them no more, and must not be told to return now.
        self._check()
        limit = self._batch_limit
        if len(rows) <= limit:
            return await self._one(rows, until)
        starts = range(0, len(rows), limit)
        try:
            async with asyncio.TaskGroup() as group:
                parts = [group.create_task(self._one(rows[at : at + limit], until)) for at in starts]
        except ExceptionGroup as failures:
            # The request fails as its first part did; a group is nothing that an answer can be made of.
            raise failures.exceptions[0] from None
        return [result for part in parts for result in part.result()]

    def close(self) -> None:
        """Stop the threads once they are idle. Whoever still waits is cancelled."""
        for item in list(self._waiting):
            item.future.cancel()
        self._pool.shutdown(wait=False)

    async def _one(self, rows: Rows, until: float) -> list[Out]:
        loop = asyncio.get_running_loop()
        item: _Waiting[Out] = _Waiting(rows, until, loop.create_future())
        self._waiting[item] = None
        self._waiting_rows += len(rows)
        if self._running < self._threads and not self._flush_due:
            # At the end of this turn, not now: what arrived in the same turn shares one call.
            self._flush_due = True
            loop.call_soon(self._flush, loop)
        try:
            return await item.future
        except asyncio.CancelledError:
            if item in self._waiting:
                self._leave(item)
            raise

    def _leave(self, item: _Waiting[Out]) -> None:
        del self._waiting[item]
        self._waiting_rows -= len(item.rows)

    def _check(self, coming: int = 0, coming_rows: int = 0) -> None:
        """Refuse when those ahead that no free thread takes at once fill the queue: their share is that of the rows."""
        ahead = len(self._waiting) + self._sharing + coming
        rows = self._waiting_rows + self._sharing_rows + coming_rows
        left = rows - (self._threads - self._running) * self._batch_limit
        if left > 0 and ahead * left >= self._queue_limit * rows:
            raise Overloaded(f"{ahead} requests are waiting already")

    def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        self._flush_due = False
        while self._waiting and self._running < self._threads:
            if batch := self._take(loop.time()):
                self._running += 1
                self._share(batch, 1)
                self._pool.submit(self._work, loop, batch)

    def _share(self, batch: list[_Waiting[Out]], sign: int) -> None:
        self._sharing += sign * (len(batch) - 1)
        self._sharing_rows += sign * sum(len(item.rows) for item in batch[1:])

    def _take(self, now: float) -> list[_Waiting[Out]]:
        """The next batch: a fair share for every free lane, within the batch limit, without what is too late."""
        free_lanes = max(1, self._lanes - self._running)
        share = min(self._batch_limit, -(-len(self._waiting) // free_lanes))
        batch: list[_Waiting[Out]] = []
        rows = 0
        while self._waiting and rows < share:
            item = next(iter(self._waiting))
            if batch and rows + len(item.rows) > self._batch_limit:
                break
            self._leave(item)
            if item.future.done():  # cancelled in this very turn
                continue
            if item.until <= now:
                item.future.set_exception(DeadlineExceeded("the deadline passed in the queue"))
                continue
            batch.append(item)
            rows += len(item.rows)
        return batch

    def _work(self, loop: asyncio.AbstractEventLoop, batch: list[_Waiting[Out]]) -> None:
        """In a model thread: nothing here touches the loop but the last line."""
        started = perf_counter()
        outcomes: list[list[Out] | Exception] = []
        try:
            if len(batch) > 1:
                results = self._predict(np.concatenate([item.rows for item in batch]))
                at = 0
                for item in batch:
                    outcomes.append(results[at : at + len(item.rows)])
                    at += len(item.rows)
        except Exception:
            # One row that the model refuses must not fail the requests beside it.
            outcomes = []
        if not outcomes:
            outcomes = [self._alone(item.rows) for item in batch]
        loop.call_soon_threadsafe(self._done, loop, batch, outcomes, perf_counter() - started)

    def _alone(self, rows: Rows) -> list[Out] | Exception:
        try:
            return self._predict(rows)
        except Exception as failure:
            return failure

    def _done(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: list[_Waiting[Out]],
        outcomes: list[list[Out] | Exception],
        seconds: float,
    ) -> None:
        self._running -= 1
        self._share(batch, -1)
        rows = 0
        for item, outcome in zip(batch, outcomes, strict=True):
            rows += len(item.rows)
            if item.future.done():
                continue
            if isinstance(outcome, Exception):
                item.future.set_exception(outcome)
            else:
                item.future.set_result(outcome)
        self._metrics.batch_rows.observe(rows)
        self._metrics.model_seconds.observe(seconds)
        if self._waiting:
            self._flush(loop)


def usable_cores() -> float:
    """CPU cores that this process may use: its affinity, and the quota of its cgroup (v2) where there is one."""
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else min(cores, int(quota) / int(period))
