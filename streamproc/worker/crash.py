"""What becomes of an exception that nobody expected: the worker ends, and is started again.

Such an exception is a bug of ours. Going on with a broken part would be silent; ending loses
nothing, since what is unsettled comes again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from typing import Any

from streamproc.telemetry import events as tell

EXIT_CRASHED = 70


def watch(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run *coroutine* as a task whose failure ends the worker."""
    task = asyncio.get_running_loop().create_task(coroutine)
    task.add_done_callback(_look)
    return task


def install() -> None:
    """Do the same for what the event loop calls."""
    asyncio.get_running_loop().set_exception_handler(_handle)


def _look(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _end(error)


def _handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if isinstance(error, OSError):  # a peer that went away between two calls
        return
    _end(error or RuntimeError(str(context.get("message"))))


def _end(error: BaseException) -> None:
    tell.failed_unexpectedly("worker", error)
    os._exit(EXIT_CRASHED)
