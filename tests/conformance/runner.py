"""The least that runs a connector: opens it again when it is lost, and keeps count."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from streamproc.connectors.base import Batch, Source, Target, Verdict
from streamproc.errors import NotConnected, RunnerError
from streamproc.kernels.delivery import Delivery
from tests.conformance.brokers import DEADLINE_S, Message


async def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait until *condition* holds; fail after DEADLINE_S."""
    ends = asyncio.get_running_loop().time() + DEADLINE_S
    while not condition():
        assert asyncio.get_running_loop().time() < ends, f"did not happen: {what}"
        await asyncio.sleep(0.005)


async def soon(awaitable: Any) -> Any:
    """Its result, within DEADLINE_S."""
    async with asyncio.timeout(DEADLINE_S):
        return await awaitable


async def opened(end: Source | Target) -> None:
    """Open it, trying again as long as the peer is away."""
    ends = asyncio.get_running_loop().time() + DEADLINE_S
    while True:
        try:
            await soon(end.open())
        except NotConnected:
            assert asyncio.get_running_loop().time() < ends, "the peer did not come back"
            await asyncio.sleep(0.05)
        else:
            return


class Reader:
    """Reads a source. ``messages`` is all that was read, ``open`` what is not settled."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.messages: list[Message] = []
        self.open: list[tuple[Any, int]] = []

    async def read(self) -> Batch:
        """One batch, opening the source again when it is lost."""
        while True:
            try:
                batch: Batch = await soon(self.source.read())
            except NotConnected:
                await opened(self.source)
            else:
                break
        assert batch.payloads, "a batch has at least one message"
        assert len(batch.payloads) == len(batch.headers) == len(batch.tokens)
        assert len(set(batch.tokens)) == len(batch.tokens)
        for payload, headers, token in zip(*batch[:3], strict=True):
            self.messages.append(Message(payload, headers))
            self.open.append((batch.origin, token))
        return batch

    async def read_until(self, payloads: Sequence[bytes]) -> None:
        """Until each of *payloads* was read at least once."""
        while set(payloads) - {message.payload for message in self.messages}:
            await self.read()

    def settle(self, verdict: Verdict = Verdict.ACCEPT, *, only: int | None = None) -> None:
        """Everything that is open, or the one at index *only*."""
        chosen = self.open if only is None else [self.open[only]]
        for origin, token in list(chosen):
            self.source.settle(origin, [token], verdict, {})
            self.open.remove((origin, token))


class Tally:
    """Receipts. Holds a target to its word: one receipt for each delivery, then ``lost``.

    A receipt comes from the event loop, which would only log an assertion that fails there:
    what is wrong is kept in ``violations``, for ``check``.
    """

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.expected: set[int] = set()
        self.done: list[Delivery] = []
        self.refused: list[tuple[Delivery, RunnerError]] = []
        self.losses: list[RunnerError] = []
        self._written: dict[int, Delivery] = {}  # keeps them alive, so that ids stay theirs

    def write(self, target: Target, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self._written[id(delivery)] = delivery
            self.expected.add(id(delivery))
        target.write(deliveries)

    def delivered(self, deliveries: Sequence[Delivery]) -> None:
        self._take(deliveries)
        self.done.extend(deliveries)

    def failed(self, deliveries: Sequence[Delivery], error: RunnerError) -> None:
        self._take(deliveries)
        self.refused.extend((delivery, error) for delivery in deliveries)

    def lost(self, error: RunnerError) -> None:
        if self.expected:
            self.violations.append(f"lost with {len(self.expected)} deliveries open")
        self.losses.append(error)

    def check(self) -> None:
        """Fail if the target broke its word."""
        assert not self.violations

    async def all_in(self) -> None:
        """Until every delivery has its receipt."""
        await eventually(lambda: not self.expected, "a receipt for every delivery")
        self.check()

    def _take(self, deliveries: Sequence[Delivery]) -> None:
        if not deliveries:
            self.violations.append("an empty receipt says nothing")
        for delivery in deliveries:
            if id(delivery) not in self.expected:
                self.violations.append(f"a second receipt for {delivery!r}")
            self.expected.discard(id(delivery))
