"""Consumes queues, and acknowledges what is settled, as many messages with one frame as can be."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from pamqp import commands
from pamqp.header import ContentHeader

from streamproc.connectors.amqp091 import frames, settings
from streamproc.connectors.amqp091.headers import texts
from streamproc.connectors.amqp091.link import Channel, Link
from streamproc.connectors.base import Batch, SourceSpec, Verdict
from streamproc.errors import EndOfStream, NotConnected, RunnerError, SignalError
from streamproc.kernels.watermark import Watermark

CHANNEL = 1
MOST_PREFETCH = 65_535  # the protocol's


class Amqp091Source:
    """One consumer of each queue of one source, all on one channel.

    A message that is to be redelivered goes back to its queue: others that are prefetched may
    overtake it. Once unsettled, the channel's messages come again after it is closed.
    """

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec
        self._intake: _Intake | None = None
        self._stopped = False

    async def open(self) -> None:
        await self.close()
        spec = self._spec
        wanted = settings.of(spec, settings.name_of(spec))
        link = await Link.open(wanted)
        intake = _Intake(spec.prefetch, spec.prefetch_bytes)
        try:
            await intake.begin(link, spec.source.addresses)
        except BaseException:
            await link.close()
            raise
        self._intake = intake

    async def read(self) -> Batch:
        while True:
            if self._stopped:
                raise EndOfStream("stopped")
            intake = self._intake
            if intake is None:
                raise NotConnected("not open")
            batch = intake.take()
            if batch is not None:
                return batch
            if intake.error is not None:
                raise intake.error
            await intake.arrival()

    def settle(
        self,
        origin: Any,
        tokens: Sequence[int],
        verdict: Verdict,
        errors: Mapping[int, SignalError],
    ) -> None:
        if origin is self._intake and self._intake is not None:
            self._intake.settle(list(tokens), verdict)

    async def stop(self) -> None:
        self._stopped = True
        if self._intake is not None:
            self._intake.stop()

    async def close(self) -> None:
        intake, self._intake = self._intake, None
        if intake is not None:
            await intake.end()


class _Intake(Channel):
    """The channel from its opening to its end: an epoch. Batches carry it as their origin."""

    def __init__(self, prefetch: int, prefetch_bytes: int) -> None:
        super().__init__()
        self.error: RunnerError | None = None
        self._prefetch = prefetch
        self._prefetch_bytes = prefetch_bytes
        self._queues: dict[str, str] = {}  # consumer tag -> queue
        self._watermark = Watermark(1)
        self._payloads: list[bytes] = []
        self._headers: list[dict[str, str]] = []
        self._tags: list[int] = []
        self._size = 0  # bytes that wait to be read
        self._room = asyncio.Event()
        self._room.set()
        self._waiter: asyncio.Future[None] | None = None
        self._out: list[bytes] = []
        self._sender: asyncio.Task[None] | None = None
        self._stopped = False

    async def begin(self, link: Link, queues: Sequence[str]) -> None:
        """Open the channel and consume. Raises Misconfigured with the broker's words."""
        link.when_lost(self.on_close)
        await link.channel(CHANNEL, self)
        for queue in queues:
            await self.call(commands.Queue.Declare(queue=queue, passive=True))
        each = min(max(self._prefetch // len(queues), 1), MOST_PREFETCH)
        await self.call(commands.Basic.Qos(prefetch_count=each))
        for number, queue in enumerate(queues):
            self._queues[str(number)] = queue
            await self.call(commands.Basic.Consume(queue=queue, consumer_tag=str(number)))

    def take(self) -> Batch | None:
        """All that waits, as one batch: the broker sends no more than the prefetch."""
        if not self._tags or self.error is not None:
            return None
        batch = Batch(self._payloads, self._headers, self._tags, self)
        self._payloads, self._headers, self._tags = [], [], []
        self._watermark.add(batch.tokens)
        self._size -= sum(map(len, batch.payloads))
        self._room.set()
        return batch

    async def arrival(self) -> None:
        """Wait until there may be something to take, or an error."""
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def settle(self, tags: list[int], verdict: Verdict) -> None:
        if self.error is not None:
            return
        position = self._watermark.done(tags)
        match verdict:
            case Verdict.ACCEPT:
                self._send(self._acks(tags, position))
            case Verdict.REJECT:
                self._send([frames.nack(CHANNEL, tag, requeue=False) for tag in tags])
            case Verdict.REDELIVER:
                self._send([frames.nack(CHANNEL, tag, requeue=True) for tag in tags])

    def stop(self) -> None:
        """Take no more. What was delivered and not read goes back when the channel ends."""
        self._stopped = True
        self._payloads.clear()
        self._headers.clear()
        self._tags.clear()
        self._room.set()
        if self.error is None:
            self._send([frames.cancel(CHANNEL, tag) for tag in self._queues])
        self._wake()

    async def end(self) -> None:
        """Send what is settled on its way, and close. Bounded in time; never raises."""
        sender = self._sender
        if sender is not None and self.error is None:
            await asyncio.wait([sender], timeout=self.link.close_s)
        self.error = self.error or NotConnected("closed")
        self._room.set()
        self._wake()
        if sender is not None:
            sender.cancel()
        await self.link.close()

    # From the broker.

    def on_deliver(
        self, method: commands.Basic.Deliver, header: ContentHeader, body: bytes
    ) -> None:
        tag = method.delivery_tag
        if self._stopped or tag is None:
            return
        self._payloads.append(body)
        self._headers.append(texts(header, tag))
        self._tags.append(tag)
        self._size += len(body)
        if self._size > self._prefetch_bytes:
            self._room.clear()
        self._wake()

    async def has_room(self) -> None:
        await self._room.wait()

    def on_cancel(self, consumer_tag: str) -> None:
        queue = self._queues.get(consumer_tag, consumer_tag)
        self.on_close(NotConnected(f"the broker ended the consumer of queue {queue!r}"))

    def on_close(self, error: RunnerError) -> None:
        if self.error is None:
            self.error = error
        self.fail(error)
        self._room.set()
        if self._sender is not None:
            self._sender.cancel()
        self._wake()

    # To the broker.

    def _acks(self, tags: list[int], position: int | None) -> list[bytes]:
        """One frame for those below the watermark: all others below it are settled already."""
        if position is None:
            return [frames.ack(CHANNEL, tag, multiple=False) for tag in tags]
        below = [tag for tag in tags if tag < position]
        acks = [frames.ack(CHANNEL, max(below), multiple=len(below) > 1)]
        if len(below) < len(tags):
            acks += [frames.ack(CHANNEL, tag, multiple=False) for tag in tags if tag >= position]
        return acks

    def _send(self, data: list[bytes]) -> None:
        self._out += data
        if self._sender is None or self._sender.done():
            self._sender = asyncio.get_running_loop().create_task(self._send_all())

    async def _send_all(self) -> None:
        while self._out:
            out, self._out = self._out, []
            await self.link.send(b"".join(out))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
