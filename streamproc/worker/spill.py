"""The durable queue in front of a target that is slow or away.

While a target does not keep up, what waits for it goes to disk, in order, and has its receipt
with that: the source goes on, and so do the other targets that it feeds. While anything is
on disk, all that comes goes behind it. It is read back, in order, as the target takes
messages again, and deleted when its delivery is confirmed: a crash repeats, and loses nothing.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from streamproc.kernels.delivery import Delivery
from streamproc.kernels.settlement import Ticket
from streamproc.store.environment import StoreError
from streamproc.store.queue import Entry, Queue
from streamproc.worker.waiting import until
from streamproc.worker.writer import Writer

APPEND_AT_ONCE = 1000  # deliveries of one commit
READ_AT_ONCE = 500
FULL_WAIT_S = 1.0


class SpillBook(Protocol):
    """Who is told what became of deliveries on their way through the disk."""

    def spilled(self, deliveries: list[Delivery]) -> None:
        """They are durable here: give their receipts."""

    def drained(self, outcome: str, count: int) -> None:
        """*count* of them are delivered, or parked, and deleted."""

    def spill_failed(self, error: StoreError) -> None:
        """The disk does not take them; they wait in memory."""


class Spill:
    """``take`` is the way in; ``out`` brings deliveries, maybe none, to the lanes, which then
    ``feed`` it with room. Owns ``Ticket((spill, client), number)``s.
    """

    def __init__(
        self,
        client: str,
        queue: Queue,
        writer: Writer,
        book: SpillBook,
        out: Callable[[list[Delivery]], None],
        later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._client = client
        self._queue = queue
        self._writer = writer
        self._book = book
        self._out = out
        self._later = later
        self._pending: deque[Delivery] = deque()  # not on disk yet
        self._staying: set[Delivery] = set()  # of these, those that the lanes keep
        self._appending = False
        self._reading = False
        self._position = 1 if queue.count else queue.next  # number of the next entry to read
        self._in_lanes: set[int] = set()
        self._confirmed: list[int] = []  # to be deleted
        self._gone: set[int] = set()  # these, and those being deleted
        self._deleting = False
        self._closed = False

    @property
    def active(self) -> bool:
        """Whether new deliveries must go behind what is here."""
        return bool(self._pending) or self._position < self._queue.next

    @property
    def unwritten(self) -> bool:
        """Whether something waits to be brought to disk."""
        return bool(self._pending)

    @property
    def in_lanes(self) -> int:
        """Entries on disk that are on their way all the same."""
        return len(self._in_lanes)

    @property
    def depth(self) -> int:
        """Entries on disk."""
        return self._queue.count

    @property
    def size_bytes(self) -> int:
        return self._queue.size_bytes

    def begin(self, shed: list[Delivery], staying: list[Delivery]) -> None:
        """Bring to disk all that the lanes hold, so that it is before what comes.

        *shed*: no longer in the lanes. *staying*: still there, in flight or to be written
        again. What is on disk already is read again, or left where it is.
        """
        self.back("", [d.owner.number for d in shed if self._owns(d)])
        fresh = [d for d in shed if not self._owns(d)]
        kept = [d for d in staying if not self._owns(d)]
        self._staying.update(kept)
        self.take(sorted(fresh + kept, key=_by_place))

    def take(self, deliveries: list[Delivery]) -> None:
        """Bring *deliveries* to disk, behind all that is here."""
        now = time.monotonic()
        for delivery in deliveries:
            if delivery.born == 0.0:
                delivery.born = now
        self._pending.extend(deliveries)
        self._append()

    def feed(self, room: int) -> None:
        """The lanes can do with *room* more. Those that were delivered, and are on disk still,
        count: a crash would repeat them, and is to repeat no more than the lanes hold.
        """
        room -= len(self._gone)
        if room <= 0 or self._reading or self._closed or self._position >= self._queue.next:
            return
        self._reading = True
        start, most = self._position, min(room, READ_AT_ONCE)
        self._writer.submit(
            lambda: self._queue.read(start, most), lambda found: self._read(start, found)
        )

    async def close(self, deadline: float) -> list[Delivery]:
        """Let another worker have the queue. -> what was not brought to disk, in order.

        What is being written is awaited, until *deadline* (monotonic seconds).
        """
        self._closed = True
        await until(lambda: not (self._appending or self._reading or self._deleting), deadline)
        left = list(self._pending)
        self._pending.clear()
        confirmed, self._confirmed = self._confirmed, []
        self._writer.submit(lambda: self._close(confirmed), lambda _: None)
        return left

    # What the lanes' receipts say (Ticket owners; see worker/tally.py).

    def receipts(self, client: str, numbers: list[int]) -> None:
        self._confirm("delivered", numbers)

    def parked(self, client: str, numbers: list[int], cause: str) -> None:
        self._confirm("parked", numbers)

    def spilled(self, client: str, numbers: list[int]) -> None:
        """Shed again on their way out: they are on disk still, and are read again."""
        self.back(client, numbers)

    def back(self, client: str, numbers: list[int]) -> None:
        """The lanes let them go: they are on disk still."""
        self._in_lanes.difference_update(numbers)
        self._position = min([self._position, *numbers])

    def _confirm(self, outcome: str, numbers: list[int]) -> None:
        self._in_lanes.difference_update(numbers)
        self._gone.update(numbers)
        self._confirmed += numbers
        self._book.drained(outcome, len(numbers))
        self._delete()

    # The disk.

    def _append(self) -> None:
        if self._appending or not self._pending or self._closed:
            return
        self._appending = True
        batch = [self._pending[i] for i in range(min(len(self._pending), APPEND_AT_ONCE))]
        since = time.time() - time.monotonic()
        entries = [
            Entry(d.target, d.key, d.address, d.headers, d.payload, d.attempts, since + d.born)
            for d in batch
        ]

        def done(taken: int | StoreError) -> None:
            self._appending = False
            if isinstance(taken, StoreError):
                self._book.spill_failed(taken)
                self._later(FULL_WAIT_S, self._append)
                return
            for _ in range(taken):
                self._pending.popleft()
            self._kept(batch[:taken], self._queue.next - taken)
            self._append()
            self._look_again()

        self._writer.submit(lambda: self._queue.append(entries), done)

    def _kept(self, batch: list[Delivery], first: int) -> None:
        """*batch* is on disk, numbered from *first* on: its owners have their receipts."""
        arrived = []  # in the meantime, from the lanes
        owned = []
        for number, delivery in enumerate(batch, first):
            if delivery not in self._staying:
                owned.append(delivery)
                continue
            self._staying.discard(delivery)
            if delivery.owner is None:
                arrived.append(number)
            else:
                owned.append(delivery)
                self._in_lanes.add(number)
        self._book.spilled(owned)
        for number, delivery in enumerate(batch, first):
            if number in self._in_lanes:
                delivery.owner = Ticket((self, self._client), number)
        self._gone.update(arrived)  # counted already, by whoever counted their receipts
        self._confirmed += arrived
        self._delete()

    def _read(self, start: int, found: list[tuple[int, Entry]] | StoreError) -> None:
        self._reading = False
        if self._closed:
            return
        if self._position != start:  # some were given back in the meantime
            self._look_again()
            return
        if isinstance(found, StoreError):
            self._book.spill_failed(found)
            self._later(FULL_WAIT_S, self._look_again)
            return
        deliveries = []
        since = time.monotonic() - time.time()
        for number, entry in found:
            self._position = number + 1
            if number in self._in_lanes or number in self._gone:
                continue
            self._in_lanes.add(number)
            delivery = Delivery(
                entry.target,
                entry.key,
                entry.address,
                entry.headers,
                entry.payload,
                Ticket((self, self._client), number),
            )
            if entry.born:  # its deadline goes on while it waits on disk
                delivery.born = since + entry.born
            deliveries.append(delivery)
        if not found:
            self._position = self._queue.next
        self._out(deliveries)

    def _look_again(self) -> None:
        """There may be something to read: the lanes say how much they can do with."""
        if not self._closed:
            self._out([])

    def _delete(self) -> None:
        if self._deleting or not self._confirmed or self._closed:
            return
        self._deleting = True
        numbers, self._confirmed = self._confirmed, []

        def done(result: StoreError | None) -> None:
            self._deleting = False
            if isinstance(result, StoreError):
                self._book.spill_failed(result)
                self._confirmed = numbers + self._confirmed
                self._later(FULL_WAIT_S, self._delete)
                return
            self._gone.difference_update(numbers)
            self._delete()
            self._look_again()

        self._writer.submit(lambda: self._queue.delete(numbers), done)

    def _close(self, confirmed: list[int]) -> None:
        try:
            self._queue.delete(confirmed)
        finally:
            self._queue.close()

    def _owns(self, delivery: Delivery) -> bool:
        owner = delivery.owner
        return isinstance(owner, Ticket) and owner.peer[0] is self


def _by_place(delivery: Delivery) -> int:
    return delivery.place
