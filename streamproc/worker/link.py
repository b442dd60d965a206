"""Keeps one end of a connector open: the only place that knows how to try again.

The first tries come within a second, then further apart up to a cap, for ever. What a person
must mend (``Misconfigured``) is tried slowly and said so. Each try has a deadline.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from streamproc.control import ClientState, LinkReport
from streamproc.errors import Misconfigured, NotConnected, RunnerError

FIRST_DELAY_S = 0.1
MAX_DELAY_S = 30.0
MISCONFIGURED_DELAY_S = 10.0
OPEN_DEADLINE_S = 60.0


def delay_s(tries: int, misconfigured: bool, jitter: float) -> float:
    """Wait before try number *tries* + 1; *jitter* is a random number in [0, 1)."""
    first = MISCONFIGURED_DELAY_S if misconfigured else FIRST_DELAY_S
    longest = max(MAX_DELAY_S, first)
    return min(longest, first * 2.0 ** min(tries, 16)) * (0.5 + 0.5 * jitter)


class Link:
    """The state of one end, and the loop that opens it.

    ``changed`` is called after each change of ``report()``.
    """

    def __init__(
        self, name: str, connect: Callable[[], Awaitable[None]], changed: Callable[[], None]
    ) -> None:
        self.name = name
        self._connect = connect
        self._changed = changed
        self._state: ClientState = "opening"
        self._since = time.time()
        self._error: str | None = None
        self._next_try: float | None = None

    @property
    def state(self) -> ClientState:
        return self._state

    def report(self) -> LinkReport:
        """What an operator should see of this link."""
        return LinkReport(self.name, self._state, self._since, self._error, self._next_try)

    def become(self, state: ClientState, error: RunnerError | None = None) -> None:
        """Note a change that others have seen: lost, draining, ended."""
        self._note(state, error, None)

    async def open(self) -> None:
        """Try until it is open. Cancel to give up."""
        tries = 0
        while True:
            try:
                async with asyncio.timeout(OPEN_DEADLINE_S):
                    await self._connect()
            except TimeoutError:
                error: RunnerError = NotConnected(f"no connection within {OPEN_DEADLINE_S:.0f} s")
            except RunnerError as failure:
                error = failure
            else:
                self._note("open", None, None)
                return
            misconfigured = isinstance(error, Misconfigured)
            wait_s = delay_s(tries, misconfigured, random.random())  # noqa: S311 - jitter
            tries += 1
            self._note("misconfigured" if misconfigured else "failed", error, time.time() + wait_s)
            await asyncio.sleep(wait_s)

    def _note(self, state: ClientState, error: RunnerError | None, next_try: float | None) -> None:
        if state != self._state:
            self._state = state
            self._since = time.time()
        self._error = None if error is None else str(error)
        self._next_try = next_try
        self._changed()
