"""The channel that consumes, from its opening to its end: what came, what is settled."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from streamproc.connectors.amqp091 import methods
from streamproc.connectors.amqp091.channel import Channel
from streamproc.connectors.amqp091.link import Link
from streamproc.connectors.base import Batch, Verdict
from streamproc.errors import NotConnected, RunnerError
from streamproc.kernels.amqp091 import Delivered
from streamproc.kernels.watermark import Watermark

CHANNEL = 1
MOST_PREFETCH = 65_535  # the protocol's
LOOKS = 20  # at the age of the oldest message, in the time that it may have


class Intake(Channel):
    """An epoch: batches carry it as their origin.

    ``most_age_s``: how long a message may be unsettled until it goes back to its queue, before
    the broker ends the channel for it; 0: for ever. ``tell``: takes what a person should read.
    """

    def __init__(
        self,
        prefetch: int,
        prefetch_bytes: int,
        most_age_s: float,
        tell: Callable[[str], None],
    ) -> None:
        super().__init__()
        self.error: RunnerError | None = None
        self.waiting_bytes = 0  # that wait to be read
        self._loop = asyncio.get_running_loop()
        self._prefetch = prefetch
        self._prefetch_bytes = prefetch_bytes
        self._most_age_s = most_age_s
        self._say = tell
        self._queues: dict[str, str] = {}  # consumer tag -> queue
        self._watermark = Watermark(1)
        self._payloads: list[bytes] = []
        self._headers: list[dict[str, str]] = []
        self._tags: list[int] = []
        self._came: deque[tuple[int, float]] = deque()  # last tag of a read, and when
        self._given_back = 0  # no message up to this tag is ours any more
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    async def begin(self, link: Link, queues: Sequence[str]) -> None:
        """Open the channel and consume. Raises Misconfigured with the broker's words."""
        await link.channel(CHANNEL, self)
        for queue in queues:
            passively: tuple[Any, ...] = (0, queue, True, False, False, False, False, {})
            await self.call(methods.QUEUE_DECLARE_OK, methods.QUEUE_DECLARE, *passively)
        each = min(max(self._prefetch // len(queues), 1), MOST_PREFETCH)
        await self.call(methods.BASIC_QOS_OK, methods.BASIC_QOS, 0, each, False)
        for number, queue in enumerate(queues):
            tag = str(number)
            self._queues[tag] = queue
            plainly: tuple[Any, ...] = (0, queue, tag, False, False, False, False, {})
            await self.call(methods.BASIC_CONSUME_OK, methods.BASIC_CONSUME, *plainly)
        if self._most_age_s:
            self._look_later()

    def batch(self) -> Batch | None:
        """All that waits: the broker sends no more than the prefetch."""
        if not self._tags or self.error is not None:
            return None
        batch = Batch(self._payloads, self._headers, self._tags, self)
        self._forget_waiting()
        self._watermark.add(batch.tokens)
        self.link.read(True)
        return batch

    async def arrival(self) -> None:
        """Wait until there may be something to take, or an error."""
        self._waiter = self._loop.create_future()
        await self._waiter

    def settle(self, tags: list[int], verdict: Verdict) -> None:
        if self.error is not None:
            return
        if self._given_back:
            tags = [tag for tag in tags if tag > self._given_back]
            if not tags:
                return
        position = self._watermark.done(tags)
        match verdict:
            case Verdict.ACCEPT:
                self.link.send(self._acks(tags, position))
            case Verdict.REJECT:
                self.link.send(methods.nack(CHANNEL, tags, requeue=False))
            case Verdict.REDELIVER:
                self.link.send(methods.nack(CHANNEL, tags, requeue=True))

    def stop(self) -> None:
        """Take no more. What was delivered and not read goes back when the channel ends."""
        self._stopped = True
        self._forget_waiting()
        if self.error is None:
            for tag in self._queues:
                self.link.send(methods.frame(CHANNEL, methods.BASIC_CANCEL, tag, True))
            self.link.read(True)
        self._wake()

    async def close(self) -> None:
        """Send what is settled on its way, and let go. Bounded in time; never raises."""
        self.on_close(NotConnected("closed"))
        await self.link.close()

    # From the broker.

    def on_delivered(self, delivered: Delivered) -> None:
        if self._stopped or self.error is not None:
            return
        if delivered.spoiled:
            self._refuse(delivered.spoiled)
        if not delivered.tags:
            return
        if self._tags:
            self._payloads += delivered.payloads
            self._headers += delivered.headers
            self._tags += delivered.tags
        else:
            self._payloads = delivered.payloads
            self._headers = delivered.headers
            self._tags = delivered.tags
        self._note(self._tags[-1])
        self.waiting_bytes += delivered.size
        if self.waiting_bytes > self._prefetch_bytes:
            self.link.read(False)
        self._wake()

    def on_cancel(self, consumer_tag: str) -> None:
        queue = self._queues.get(consumer_tag, consumer_tag)
        self.on_close(NotConnected(f"the broker ended the consumer of queue {queue!r}"))

    def on_close(self, error: RunnerError) -> None:
        if self.error is None:
            self.error = error
        if self._timer is not None:
            self._timer.cancel()
        self._wake()

    # To the broker.

    def _acks(self, tags: list[int], position: int | None) -> bytes:
        """One frame for those below the watermark: all others below it are settled already."""
        if position is None:
            below, above = [], tags
        else:
            below = [tag for tag in tags if tag < position]
            above = [] if len(below) == len(tags) else [tag for tag in tags if tag >= position]
        acks = [methods.ack(CHANNEL, tag, multiple=False) for tag in above]
        if below:
            acks.append(methods.ack(CHANNEL, max(below), multiple=len(below) > 1))
        return b"".join(acks)

    def _note(self, tag: int) -> None:
        """When the last of a read came, or a little earlier: few times are kept."""
        if self._most_age_s:
            came, now = self._came, self._loop.time()
            if came and now - came[-1][1] < self._most_age_s / LOOKS:
                now = came.pop()[1]
            came.append((tag, now))

    def _refuse(self, spoiled: list[tuple[int, str]]) -> None:
        """No flow could tell whose they are: the queue's dead letters get them."""
        self.link.send(methods.nack(CHANNEL, [tag for tag, _ in spoiled], requeue=False))
        self._say(f"refused {len(spoiled)} messages, whose headers cannot be read: {spoiled[0][1]}")

    def _look_later(self) -> None:
        self._timer = self._loop.call_later(self._most_age_s / LOOKS, self._look)

    def _look(self) -> None:
        """Give back what is about to be too old for the broker, which would end the channel."""
        self._look_later()
        came, oldest = self._came, self._watermark.oldest
        if oldest is None:
            oldest = self._tags[0] if self._tags else None
        while came and (oldest is None or came[0][0] < oldest):
            came.popleft()
        bound = 0
        while came and self._loop.time() - came[0][1] > self._most_age_s:
            bound = came.popleft()[0]
        if bound and oldest is not None:
            self._give_back(oldest, bound)

    def _give_back(self, first: int, last: int) -> None:
        """All of *first* to *last* that are not settled: they come again, and the flow's word on
        these is not waited for."""
        tags = []
        for tag in range(first, last + 1):
            before = self._watermark.open
            self._watermark.done([tag])
            if self._watermark.open < before:
                tags.append(tag)
        unread = [at for at, tag in enumerate(self._tags) if tag <= last]
        if unread:
            tags += self._tags[: len(unread)]
            self.waiting_bytes -= sum(map(len, self._payloads[: len(unread)]))
            for waiting in (self._payloads, self._headers, self._tags):
                del waiting[: len(unread)]
            self.link.read(True)
        self._given_back = last
        if tags:
            self.link.send(methods.nack(CHANNEL, tags, requeue=True))
            self._say(
                f"gave {len(tags)} messages back to their queue, unsettled for "
                f"{self._most_age_s:g} s: they may be delivered twice"
            )

    def _forget_waiting(self) -> None:
        self._payloads, self._headers, self._tags = [], [], []
        self.waiting_bytes = 0

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
