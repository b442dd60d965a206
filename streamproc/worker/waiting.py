"""Waiting for a condition that many small steps bring about, with a deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

POLL_S = 0.02


async def until(condition: Callable[[], bool], deadline: float) -> bool:
    """Wait for *condition*, until *deadline* (monotonic seconds) at most. -> whether it holds.

    Looks again and again: only for the end of things, where nothing is in a hurry.
    """
    while not (holds := condition()) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(POLL_S)
    return holds
