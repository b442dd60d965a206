"""The one thread of a worker that waits for the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from streamproc.store.environment import StoreError

T = TypeVar("T")


class Writer:
    """Runs jobs one after another; tells the event loop how each went."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "store")
        self._open = 0

    @property
    def idle(self) -> bool:
        """Whether every job is done and told."""
        return self._open == 0

    def submit(self, job: Callable[[], T], then: Callable[[T | StoreError], None]) -> None:
        """Run *job*; call *then* on the loop with what it returned, or with its StoreError."""
        self._open += 1

        def told(future: Future[T]) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                self._loop.call_soon_threadsafe(self._tell, future, then)

        self._thread.submit(job).add_done_callback(told)

    def close(self) -> None:
        """Finish what was submitted; nothing is told any more."""
        self._thread.shutdown(wait=True)

    def _tell(self, future: Future[T], then: Callable[[T | StoreError], None]) -> None:
        self._open -= 1
        error = future.exception()
        if error is None:
            then(future.result())
        elif isinstance(error, StoreError):
            then(error)
        else:
            raise error
