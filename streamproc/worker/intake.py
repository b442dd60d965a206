"""One consumer of a source: reads batches, hands them to the flow, settles what is done.

Back-pressure is here: while the window is full the source is not read. A message is settled
when all its receipts are in; with qos 0 at once, and the window then only bounds memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from streamproc.connectors.base import Acknowledging, Batch, Numbered, Source, Verdict
from streamproc.errors import EndOfStream, RunnerError, SignalError
from streamproc.kernels.settlement import Entry, Window
from streamproc.protocol.acks import Aggregate
from streamproc.telemetry import events as tell
from streamproc.telemetry import metrics
from streamproc.telemetry.slots import Block, Slot
from streamproc.worker.acks import Asked
from streamproc.worker.crash import watch
from streamproc.worker.link import Link
from streamproc.worker.poison import Place

PARKING_FULL_WAIT_S = 5.0
SLICE = 128
"""Messages that go down the path together at most: what they are made into still is in the
processor's cache when the next step wants it."""
TURN = 1024
"""Messages taken before everybody else on the loop has a turn. Fewer would make small requests
of what targets write: Kafka's cost by the request, too."""

Process = Callable[[Batch, list[Entry], Window], None]


@dataclass(frozen=True)
class IntakeMetrics:
    """Slots of one source; shared by its consumers in this worker."""

    received: Slot
    received_bytes: Slot
    settled_accept: Slot
    settled_reject: Slot
    returned: Slot
    in_flight: Slot
    bytes_in_flight: Slot

    @classmethod
    def of(cls, block: Block, connection: str, source: str) -> IntakeMetrics:
        """The slots of *source* (its index) of *connection*."""
        labels = {"connection": connection, "source": source}
        return cls(
            received=block.counter(metrics.MESSAGES_RECEIVED, **labels),
            received_bytes=block.counter(metrics.MESSAGE_BYTES_RECEIVED, **labels),
            settled_accept=block.counter(metrics.MESSAGES_SETTLED, verdict="accept", **labels),
            settled_reject=block.counter(metrics.MESSAGES_SETTLED, verdict="reject", **labels),
            returned=block.counter(metrics.MESSAGES_RETURNED, **labels),
            in_flight=block.gauge(metrics.MESSAGES_IN_FLIGHT, **labels),
            bytes_in_flight=block.gauge(metrics.BYTES_IN_FLIGHT, **labels),
        )


class Intake:
    """``process`` is the flow: it must release every entry it is given, and never raise."""

    def __init__(
        self,
        connection: str,
        source_index: str,
        name: str,
        source: Source,
        process: Process,
        *,
        max_messages: int,
        max_bytes: int,
        at_once: bool,
        metrics: IntakeMetrics,
        changed: Callable[[], None],
        place: Place | None = None,
    ) -> None:
        self.process = process
        self._connection = connection
        self._source_index = source_index
        self._source = source
        self._at_once = at_once
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self.window = Window(max_messages, max_bytes, self._done, at_once)
        self._room = asyncio.Event()
        self.link = Link(name, source.open, source.close, changed)
        self._place = place or Place(name)
        self._stopping = False
        self._stopper: asyncio.Task[None] | None = None
        self._told_bytes = 0
        self._task = watch(self._run())

    def stop(self) -> None:
        """Take no more messages; what is in the window goes its way."""
        if not self._stopping:
            self._stopping = True
            if self.link.state == "open":
                self._stopper = self._loop.create_task(self._source.stop())
            else:
                self._task.cancel()  # nothing is open: give up trying
            self.link.become("draining")
            self._room.set()

    @property
    def connection(self) -> str:
        return self._connection

    @property
    def source(self) -> str:
        """Its index in the connection, as a label."""
        return self._source_index

    def numbers(self) -> Mapping[str, float]:
        """What the source says of itself."""
        return self._source.numbers() if isinstance(self._source, Numbered) else NO_NUMBERS

    @property
    def drained(self) -> bool:
        """It was stopped, takes nothing more - a batch may have come since - and nothing of it
        is under way.
        """
        return self._task.done() and self.window.messages == 0

    async def close(self) -> None:
        """Let go of the source. What is left unsettled the broker sends again."""
        self.stop()
        for task in (self._task, self._stopper):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError, RunnerError):
                    await task
        self._settle()
        self._forget()
        await self.link.let_go()

    async def _run(self) -> None:
        while not self._stopping:
            await self.link.open()
            taken = 0
            try:
                while True:
                    await self._wait_for_room()
                    batch = await self._source.read()
                    taken += self._take(batch)
                    if taken >= TURN:  # to read what is there already does not wait
                        taken = 0
                        await asyncio.sleep(0)
            except EndOfStream:
                break
            except RunnerError as error:
                self._forget()
                self.link.lost(error)
                await self.link.let_go()
        if not self._stopping:
            self.link.become("ended")

    async def _wait_for_room(self) -> None:
        while self.window.full and not self._stopping:
            self._room.clear()
            await self._room.wait()

    def _take(self, batch: Batch) -> int:
        """-> how many messages."""
        meters, window = self._metrics, self.window
        before = window.message_bytes
        entries = window.admit(batch.origin, batch.tokens, batch.payloads, time.monotonic())
        count = len(entries)
        meters.received.add(count)
        meters.received_bytes.add(window.message_bytes - before)
        if self._at_once:
            self._source.settle(batch.origin, batch.tokens, Verdict.ACCEPT, NO_ERRORS)
            meters.settled_accept.add(count)
        else:
            meters.in_flight.add(count)
        place = self._place
        if place.suspect is None:
            place.enter()
            if count <= SLICE:
                self.process(batch, entries, window)
            else:
                self._take_in_slices(batch, entries)
            place.leave()
        else:
            self._take_singly(batch, entries)
        self._tell_bytes()
        return count

    def _take_in_slices(self, batch: Batch, entries: list[Entry]) -> None:
        payloads, headers, tokens, origin = batch
        for first in range(0, len(entries), SLICE):
            part = slice(first, first + SLICE)
            self.process(
                Batch(payloads[part], headers[part], tokens[part], origin),
                entries[part],
                self.window,
            )

    def _take_singly(self, batch: Batch, entries: list[Entry]) -> None:
        """One of them may be what workers die of."""
        for entry, payload, headers in zip(entries, batch.payloads, batch.headers, strict=True):
            if self._place.admits(payload, headers):
                one = Batch([payload], [headers], [entry.token], batch.origin)
                self.process(one, [entry], self.window)
                self._place.went_well()
            else:
                self._park(entry, payload, headers)

    def _park(self, entry: Entry, payload: bytes, headers: dict[str, str]) -> None:
        """It is settled once it is safe."""

        def parked(count: int) -> None:
            if count:
                self.window.release([entry])
            else:
                self._loop.call_later(PARKING_FULL_WAIT_S, self._park, entry, payload, headers)

        assert self._place.park is not None
        self._place.park(payload, headers, parked)

    def _done(self) -> None:
        self._loop.call_soon(self._settle)

    def _settle(self) -> None:
        meters = self._metrics
        for origin, tokens, outcomes in self.window.take():
            accepted = tokens
            if outcomes:
                accepted = self._settle_singly(origin, tokens, outcomes)
            if accepted:
                self._source.settle(origin, accepted, Verdict.ACCEPT, NO_ERRORS)
                meters.settled_accept.add(len(accepted))
            meters.in_flight.add(-len(tokens))
        self._tell_bytes()
        if not self.window.full:
            self._room.set()

    def _settle_singly(
        self, origin: object, tokens: list[int], outcomes: Mapping[int, SignalError | Asked]
    ) -> list[int]:
        """Settle those of *tokens* that are not simply done. -> the others, in order."""
        errors = {t: found for t, found in outcomes.items() if isinstance(found, SignalError)}
        verdicts: dict[int, Verdict] = dict.fromkeys(errors, Verdict.REJECT)
        results: dict[int, Aggregate] = {}
        for token, asked in outcomes.items():
            if not isinstance(asked, SignalError):
                result = results[token] = asked.result()
                verdicts[token] = asked.verdict(result)
        if results and isinstance(self._source, Acknowledging):
            self._source.acknowledge(results)
        accepted, refused, again = (
            [token for token in tokens if verdicts.get(token, Verdict.ACCEPT) is verdict]
            for verdict in (Verdict.ACCEPT, Verdict.REJECT, Verdict.REDELIVER)
        )
        if refused:
            self._source.settle(origin, refused, Verdict.REJECT, errors)
            self._metrics.settled_reject.add(len(refused))
        if again:
            self._source.settle(origin, again, Verdict.REDELIVER, NO_ERRORS)
            self._metrics.returned.add(len(again))
        failed = [
            found for token, found in results.items() if verdicts[token] is not Verdict.ACCEPT
        ]
        if failed:
            tell.acknowledgement_failed(
                self._connection, self._source_index, failed[0].value(), len(failed), len(again)
            )
        return accepted

    def _forget(self) -> None:
        count = self.window.forget()
        if count:
            self._metrics.returned.add(count)
            self._metrics.in_flight.add(-count)
            tell.message_returned(self._connection, self._source_index, count)

    def _tell_bytes(self) -> None:
        now = self.window.message_bytes
        self._metrics.bytes_in_flight.add(now - self._told_bytes)
        self._told_bytes = now


NO_ERRORS: dict[int, SignalError] = {}
NO_NUMBERS: dict[str, float] = {}
