"""Reads topics as a member of a consumer group, and commits only what is settled, gaps kept.

The event loop's side: it hands out what the thread brings, and keeps the watermarks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from streamproc.connectors.base import Batch, SourceSpec, Verdict
from streamproc.connectors.kafka import settings
from streamproc.connectors.kafka.intake import UNBOUNDED, Intake
from streamproc.connectors.kafka.owed import STALL_S
from streamproc.connectors.kafka.partition import MOST_HELD_BACK, Partition
from streamproc.connectors.kafka.records import Arrival
from streamproc.connectors.kafka.remembered import Remembered
from streamproc.connectors.kafka.room import Room
from streamproc.errors import EndOfStream, NotConnected, RunnerError, SignalError

CLOSE_S = 12.0
"""For the thread to commit and leave. librdkafka takes a session's length at most."""

FIRST_REWIND_S = 0.1
MAX_REWIND_S = 30.0


class KafkaSource:
    """One consumer of one source.

    REJECT and ACCEPT both make an offset committable. REDELIVER rewinds its partition to the
    lowest offset that is not settled, after a delay that grows while nothing moves: what was
    handed out from there on comes again, in order, and the receipts of the first time do not
    count. ``expired`` counts the messages whose ``creation-time`` + ``ttl`` had passed; they
    are settled and never read.
    """

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec
        self._at_most_once = spec.source.qos == 0
        self._intake: Intake | None = None
        self._bridge: _Bridge | None = None
        self._arrivals: deque[Arrival] = deque()
        self._room = Room(spec.prefetch, spec.prefetch_bytes // 2)
        self._waiter: asyncio.Future[None] | None = None
        self._error: RunnerError | None = None
        self._stopped = False
        self._rewinds: dict[tuple[str, int], tuple[int, float]] = {}  # -> (offset, delay)
        self._remembered = Remembered()
        self._rebalances = 0  # of consumers that are gone
        self.expired = 0

    async def open(self) -> None:
        spec = self._spec
        wanted = settings.consumer(spec)
        self._error = None
        self._arrivals.clear()
        self._room = Room(spec.prefetch, max(spec.prefetch_bytes // 2, 1))
        self._bridge = bridge = _Bridge(self)
        self._intake = intake = Intake(
            wanted,
            spec.source.addresses,
            self._room,
            bridge,
            self._remembered,
            from_end=spec.options.consumer_offset_reset == "latest",
            skip_settled=spec.options.skip_settled,
            most=UNBOUNDED if self._at_most_once else spec.prefetch,
        )
        intake.start()
        try:
            await bridge.ready
        except BaseException:
            intake.end()
            self._intake = self._bridge = bridge.source = None
            raise

    async def read(self) -> Batch:
        while True:
            if self._stopped:
                raise EndOfStream("stopped")
            if self._error is not None:
                raise self._error
            if self._intake is None:
                raise NotConnected("not open")
            arrival = self._next()
            if arrival is not None:
                partition = arrival.partition
                return Batch(arrival.payloads, arrival.headers, arrival.offsets, partition)
            await self._sleep(STALL_S if self._intake.owed.is_full else None)

    def settle(
        self,
        origin: Any,
        tokens: Sequence[int],
        verdict: Verdict,
        errors: Mapping[int, SignalError],
    ) -> None:
        partition: Partition = origin
        intake = self._intake
        if partition.gone or intake is None:
            if partition.kept and verdict is not Verdict.REDELIVER:
                partition.settle(list(tokens))
            return
        if verdict is Verdict.REDELIVER:
            self._rewind(intake, partition)
            return
        if partition.settle(list(tokens)):
            intake.settled(partition, len(tokens))
            if partition.is_full and partition.has_room(MOST_HELD_BACK // 2):
                partition.is_full = False
                self._wake()

    def numbers(self) -> Mapping[str, float]:
        """See ``connectors.base.Numbered``."""
        intake, before = self._intake, self._rebalances
        if intake is None:
            return {"rebalances": before, "expired": self.expired}
        behind = intake.behind
        return {
            "lag": behind.messages,
            "lag_most": behind.most,
            "held_back": behind.held_back,
            "rebalances": before + behind.rebalances,
            "expired": self.expired,
        }

    async def stop(self) -> None:
        self._stopped = True
        if self._intake is not None:
            self._intake.stop_reading()
        self._drop_arrivals()
        self._wake()

    async def close(self) -> None:
        intake, bridge = self._intake, self._bridge
        self._intake = self._bridge = None
        if intake is not None and bridge is not None:
            self._rebalances += intake.behind.rebalances
            intake.end()
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await bridge.gone.wait()
            bridge.source = None
        self._drop_arrivals()
        self._wake()

    def _next(self) -> Arrival | None:
        """The first arrival that may be handed out. Those of an epoch that is gone go."""
        arrivals = self._arrivals
        while arrivals:
            arrival = arrivals[0]
            partition = arrival.partition
            if partition.gone or partition.closing:
                self._room.take(arrivals.popleft())
            elif not self._may_owe(arrival):
                return None
            elif self._has_room(arrival):
                self._room.take(arrivals.popleft())
                self._hand_out(arrival)
                if arrival.offsets:
                    return arrival
            else:
                return self._next_of_another(partition)
        return None

    def _next_of_another(self, full: Partition) -> Arrival | None:
        """Look behind the arrivals of partitions that are held back."""
        held = {full}
        for arrival in list(self._arrivals):
            partition = arrival.partition
            if partition in held or partition.gone or partition.closing:
                continue
            if not self._has_room(arrival):
                held.add(partition)
                continue
            if not self._may_owe(arrival):
                return None
            self._arrivals.remove(arrival)
            self._room.take(arrival)
            self._hand_out(arrival)
            if arrival.offsets:
                return arrival
        return None

    def _may_owe(self, arrival: Arrival) -> bool:
        """Whether a crash may repeat this, too."""
        return self._intake is None or self._intake.owed.allows(len(arrival.offsets))

    def _has_room(self, arrival: Arrival) -> bool:
        partition = arrival.partition
        partition.is_full = not partition.has_room(len(arrival.offsets) + len(arrival.done))
        return not partition.is_full

    def _hand_out(self, arrival: Arrival) -> None:
        partition = arrival.partition
        partition.hand_out(arrival.offsets, arrival.done)
        if self._intake is not None:
            self._intake.owed.add(len(arrival.offsets))
        self.expired += arrival.expired
        if self._at_most_once:
            partition.settle(arrival.offsets)
        if (self._at_most_once or arrival.done) and self._intake is not None:
            self._intake.settled(partition, len(arrival.offsets))

    def _rewind(self, intake: Intake, partition: Partition) -> None:
        offset = partition.position
        if self._stopped or self._at_most_once or partition.closing or offset is None:
            return  # left unsettled: whoever reads the partition next gets it
        partition.gone = True
        key = (partition.topic, partition.number)
        before, delay = self._rewinds.get(key, (-1, 0.0))
        delay = min(delay * 2, MAX_REWIND_S) if before == offset else FIRST_REWIND_S
        self._rewinds[key] = (offset, delay)
        intake.rewind(partition, offset, delay)
        self._wake()

    def _drop_arrivals(self) -> None:
        while self._arrivals:
            self._room.take(self._arrivals.popleft())

    async def _sleep(self, seconds: float | None) -> None:
        """Until something happens, or *seconds* have passed."""
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, self._wake)
        try:
            await self._waiter
        finally:
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # From the thread, through the bridge, on the loop.

    def arrived(self, arrivals: list[Arrival]) -> None:
        self._arrivals.extend(arrivals)
        if self._stopped:
            self._drop_arrivals()
        self._wake()

    def close_partitions(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            partition.close()
            self._rewinds.pop((partition.topic, partition.number), None)
        self._wake()

    def committed(self) -> None:
        """There may be room again for what a crash may repeat."""
        self._wake()

    def noted(self, note: str) -> None:
        self._spec.tell(note)

    def failed(self, error: RunnerError) -> None:
        self._error = error
        self._wake()


class _Bridge:
    """Carries the thread's words to the loop. ``source`` is None when nobody listens."""

    def __init__(self, source: KafkaSource) -> None:
        self.source: KafkaSource | None = source
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.gone = asyncio.Event()

    def opened(self) -> None:
        self._call(self._opened)

    def arrived(self, arrivals: list[Arrival]) -> None:
        self._call(self._arrived, arrivals)

    def close_partitions(self, partitions: Sequence[Partition]) -> None:
        self._call(self._close_partitions, partitions)

    def committed(self) -> None:
        self._call(self._committed)

    def noted(self, note: str) -> None:
        self._call(self._noted, note)

    def ended(self, error: RunnerError | None) -> None:
        self._call(self._ended, error)

    def _call(self, does: Callable[..., None], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            self._loop.call_soon_threadsafe(does, *arguments)

    def _opened(self) -> None:
        if not self.ready.done():
            self.ready.set_result(None)

    def _arrived(self, arrivals: list[Arrival]) -> None:
        if self.source is not None:
            self.source.arrived(arrivals)

    def _close_partitions(self, partitions: Sequence[Partition]) -> None:
        if self.source is not None:
            self.source.close_partitions(partitions)

    def _committed(self) -> None:
        if self.source is not None:
            self.source.committed()

    def _noted(self, note: str) -> None:
        if self.source is not None:
            self.source.noted(note)

    def _ended(self, error: RunnerError | None) -> None:
        self.gone.set()
        why = error or NotConnected("closed")
        if not self.ready.done():
            self.ready.set_exception(why)
            self.ready.exception()  # read here: the opener may have given up
        elif error is not None and self.source is not None:
            self.source.failed(error)
