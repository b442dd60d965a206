"""The access token of one client: asked for when it is needed, one request at a time.

A token endpoint that fails is not asked again before a growing wait is over; who asks in the
meantime is told the last failure at once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from streamproc.connectors.http_push.auth.token import Token
from streamproc.errors import DeliveryFailed, RunnerError

FIRST_WAIT_S, MAX_WAIT_S = 1.0, 60.0
DISTRUST_AFTER_S = 10.0
"""A token younger than this that is refused is not the token's fault: none better comes."""

Fetch = Callable[[], Awaitable[tuple[Token | RunnerError, float | None]]]
"""Asks for a token. -> it or why there is none, and the seconds to wait that were asked for."""


class Tokens:
    """``authorize`` is given the header value of each new token."""

    def __init__(self, fetch: Fetch, authorize: Callable[[str], None]) -> None:
        self._fetch = fetch
        self._authorize = authorize
        self._token: Token | None = None
        self._got_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self._waiting: list[Callable[[RunnerError | None], None]] = []
        self._failures = 0  # in a row
        self._error: RunnerError | None = None
        self._ask_at = 0.0  # not before, after a failure

    @property
    def is_ready(self) -> bool:
        """Whether there is a token. Begins to renew one that will end soon."""
        token = self._token
        if token is None:
            return False
        now = asyncio.get_running_loop().time()
        if now < token.renew_at:
            return True
        if now >= self._ask_at:
            self._start()
        return now < token.ends_at

    async def obtain(self) -> None:
        """Have a token. Raises NotConnected or Misconfigured."""
        if self.is_ready:
            return
        told: asyncio.Future[RunnerError | None] = asyncio.get_running_loop().create_future()
        self.ask(lambda error: None if told.done() else told.set_result(error))
        error = await told
        if error is not None:
            raise type(error)(str(error))

    def ask(self, tell: Callable[[RunnerError | None], None]) -> None:
        """Call *tell* once, soon: with None when there is a new token, else why there is none."""
        loop = asyncio.get_running_loop()
        if self._task is None and loop.time() < self._ask_at:
            loop.call_soon(tell, self._error)
            return
        self._waiting.append(tell)
        self._start()

    def refused(self, request: bytes) -> bool:
        """The endpoint answered 401 to *request*. -> whether to try once more.

        A request that went with an older token just goes again; a token that is new is kept.
        """
        token = self._token
        if token is None or f"Bearer {token.value}\r\n".encode() not in request:
            return True
        if asyncio.get_running_loop().time() - self._got_at < DISTRUST_AFTER_S:
            return False
        self._token = None
        return True

    def failure(self, error: RunnerError) -> DeliveryFailed:
        """What a delivery is told that went without a token because of *error*."""
        wait_s = max(0.0, self._ask_at - asyncio.get_running_loop().time())
        return DeliveryFailed(f"no access token: {error}", retry_after_s=wait_s)

    async def close(self) -> None:
        """Give up what is under way. Nobody is told."""
        self._waiting.clear()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def _start(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._renew())

    async def _renew(self) -> None:
        found, asked_s = await self._fetch()
        now = asyncio.get_running_loop().time()
        self._task = None
        if isinstance(found, Token):
            self._token, self._got_at = found, now
            self._failures, self._error, self._ask_at = 0, None, 0.0
            self._authorize(f"Bearer {found.value}")
        else:
            bound = min(MAX_WAIT_S, FIRST_WAIT_S * 2.0 ** min(self._failures, 16))
            jitter = 0.5 + random.random() / 2  # noqa: S311 - spreads clients, keeps no secret
            self._failures += 1
            self._error = found
            self._ask_at = now + max(bound * jitter, asked_s or 0.0)
        waiting, self._waiting = self._waiting, []
        for tell in waiting:
            tell(self._error)
