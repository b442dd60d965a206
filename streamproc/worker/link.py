"""Keeps one end of a connector open: the only place that knows how to try again.

The first tries come within a second, then further apart up to a cap, for ever. What a person
must mend (``Misconfigured``) is tried slowly and said so. Opening and letting go each have a
deadline. A link that opens and is lost again at once is not opened in a tight loop: short
lives count like failed tries. Names are resolved by connectors, anew at each ``open``.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from streamproc.control import ClientState, LinkReport
from streamproc.errors import Misconfigured, NotConnected, RunnerError
from streamproc.telemetry import events as tell

FIRST_DELAY_S = 0.1
MAX_DELAY_S = 30.0
MISCONFIGURED_DELAY_S = 10.0
OPEN_DEADLINE_S = 60.0
CLOSE_DEADLINE_S = 20.0
STEADY_S = 10.0  # a link that was open for longer is opened again at once


def delay_s(tries: int, misconfigured: bool, jitter: float) -> float:
    """Wait before try number *tries* + 1; *jitter* is a random number in [0, 1)."""
    first = MISCONFIGURED_DELAY_S if misconfigured else FIRST_DELAY_S
    longest = max(MAX_DELAY_S, first)
    return min(longest, first * 2.0 ** min(tries, 16)) * (0.5 + 0.5 * jitter)


class Link:
    """The state of one end, and the loop that opens it.

    ``connect`` and ``close`` are the connector's. ``changed`` is called after each change of
    ``report()``.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Awaitable[None]],
        close: Callable[[], Awaitable[None]],
        changed: Callable[[], None],
    ) -> None:
        self.name = name
        self._connect = connect
        self._close = close
        self._changed = changed
        self._state: ClientState = "opening"
        self._since = time.time()
        self._error: RunnerError | None = None
        self._next_try: float | None = None
        self._opened = 0.0  # when, on the loop's clock
        self._short_lives = 0  # in a row

    @property
    def state(self) -> ClientState:
        return self._state

    def report(self) -> LinkReport:
        """What an operator should see of this link."""
        error = None if self._error is None else str(self._error)
        return LinkReport(self.name, self._state, self._since, error, self._next_try)

    def become(
        self, state: ClientState, error: RunnerError | None = None, until: float | None = None
    ) -> None:
        """Note a change that others have decided: draining, ended, held."""
        self._note(state, error, until)

    def lost(self, error: RunnerError) -> None:
        """It was open, and is no more."""
        lived_s = asyncio.get_running_loop().time() - self._opened
        self._short_lives = 0 if lived_s >= STEADY_S else self._short_lives + 1
        self._note(_state_after(error), error, None)

    async def open(self) -> None:
        """Try until it is open. Cancel to give up."""
        if self._short_lives and self._error is not None:
            await self._wait(self._short_lives - 1, self._error)
        tries = 0
        while True:
            try:
                async with asyncio.timeout(OPEN_DEADLINE_S):
                    await self._connect()
            except TimeoutError:
                error: RunnerError = NotConnected(f"no connection within {OPEN_DEADLINE_S:.0f} s")
                await self.let_go()
            except RunnerError as failure:
                error = failure
            else:
                self._opened = asyncio.get_running_loop().time()
                self._note("open", None, None)
                return
            await self._wait(tries, error)
            tries += 1

    async def let_go(self) -> None:
        """Close the connector's end, which promises to be quick about it."""
        try:
            async with asyncio.timeout(CLOSE_DEADLINE_S):
                await self._close()
        except TimeoutError as error:
            tell.failed_unexpectedly(f"close of {self.name}", error)

    async def _wait(self, tries: int, error: RunnerError) -> None:
        """Let time pass before the next try, as *error* suggests."""
        misconfigured = isinstance(error, Misconfigured)
        wait_s = delay_s(tries, misconfigured, random.random())  # noqa: S311 - jitter
        self._note(_state_after(error), error, time.time() + wait_s)
        await asyncio.sleep(wait_s)
        self._note(self._state, error, None)  # it is being tried

    def _note(self, state: ClientState, error: RunnerError | None, next_try: float | None) -> None:
        if state != self._state:
            self._state = state
            self._since = time.time()
        self._error = error
        self._next_try = next_try
        self._changed()


def _state_after(error: RunnerError) -> ClientState:
    return "misconfigured" if isinstance(error, Misconfigured) else "failed"
