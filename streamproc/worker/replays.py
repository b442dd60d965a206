"""Sends parked deliveries to their targets again.

An entry leaves the store when its delivery has its receipt: the target has it, or it is on disk
in front of the target. One that fails for good again takes its old place, with the new reason.
Whatever dies in between, the entry is still there.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from streamproc.control import Outcome, Replay, Replayed
from streamproc.kernels.delivery import Delivery
from streamproc.kernels.settlement import Ticket
from streamproc.store.environment import StoreError
from streamproc.store.parked import Parked, ParkedStore
from streamproc.telemetry import events as tell
from streamproc.telemetry import metrics
from streamproc.telemetry.slots import Block, Slot
from streamproc.worker.outlet import Outlet
from streamproc.worker.parking import Parking
from streamproc.worker.tally import Tally

WAIT_S = 5.0  # for receipts, before it is said that they are still to come
RETRY_S = 1.0  # after the store failed
MAX_BYTES = 32 << 20  # of deliveries on their way again
KEPT_OUTCOMES = 10_000  # that nobody has asked for yet


@dataclass(frozen=True)
class _Again:
    """A delivery on its way again."""

    number: int
    entry: Parked
    delivery: Delivery


class _Request:
    """A question of the master, and what is known of the answer."""

    def __init__(self, number: int, answer: Callable[[Replayed], None]) -> None:
        self.open: set[int] = set()
        self.outcomes: dict[int, Outcome] = {}
        self._number = number
        self._answer = answer
        self._timer: asyncio.TimerHandle | None = None
        self._is_answered = False

    def wait(self) -> None:
        """Answer when nothing is open any more, or after WAIT_S."""
        if not self.open:
            self.end()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WAIT_S, self.end)

    def end(self) -> None:
        """Answer with what is known; once."""
        if self._timer is not None:
            self._timer.cancel()
        if not self._is_answered:
            self._is_answered = True
            for number in self.open:
                self.outcomes[number] = "waiting"
            self.open.clear()
            self._answer(Replayed(self._number, self.outcomes))


class Replays:
    """Owns ``Ticket((replays, client), number)``s, as ``worker/tally.py`` knows owners.

    ``outlet_of``: the target side of a client that lives here, or None.
    ``client_counts``: of each connection.
    """

    def __init__(
        self,
        parking: Parking,
        tally: Tally,
        block: Block,
        outlet_of: Callable[[str], Outlet | None],
    ) -> None:
        self.client_counts: Mapping[str, int] = {}
        self._parking = parking
        self._tally = tally
        self._block = block
        self._outlet_of = outlet_of
        self._again: dict[int, _Again] = {}  # by id of the entry
        self._reading: set[int] = set()  # ids that are being looked up
        self._size = 0  # bytes of deliveries on their way
        self._requests: list[_Request] = []  # those that wait for something
        self._outcomes: dict[int, Outcome] = {}  # of those that nobody waited for, oldest first
        self._slots: dict[tuple[str, str], Slot] = {}

    def replay(self, message: Replay, answer: Callable[[Replayed], None]) -> None:
        """Send the entries of *message* whose client lives here; *answer* once, within about
        WAIT_S, with an outcome for each of these, and for those that are not in the store.

        Asked again about an entry that is on its way, it waits for that one.
        """
        request = _Request(message.number, answer)
        fresh: list[int] = []
        for number in dict.fromkeys(message.entries):
            if number in self._outcomes:
                request.outcomes[number] = self._outcomes.pop(number)
            elif number in self._again:
                request.open.add(number)
            elif number in self._reading:
                request.outcomes[number] = "waiting"
            else:
                fresh.append(number)
        if not fresh:
            self._await(request)
            return
        self._reading.update(fresh)
        room = MAX_BYTES - self._size

        def found(result: dict[int, Parked | None] | StoreError) -> None:
            self._reading.difference_update(fresh)
            if isinstance(result, StoreError):
                tell.parking_failed(str(result))
                result = {}
            self._send(request, result)
            # What there was no room for may be asked for again.
            for number in fresh:
                if number not in result:
                    request.outcomes[number] = "waiting"
            self._await(request)

        if room <= 0:
            found({})
            return
        self._parking.use(lambda store: store.many(fresh, room), found)

    def _send(self, request: _Request, found: Mapping[int, Parked | None]) -> None:
        batches: dict[str, list[Delivery]] = {}
        for number, entry in found.items():
            if entry is None:
                request.outcomes[number] = "missing"
                continue
            count = self.client_counts.get(entry.connection, 0)
            if entry.target < 0 or not count:
                continue  # of no connection that is here
            client = f"{entry.connection}#{zlib.crc32(entry.key.encode()) % count}"
            if self._outlet_of(client) is None:
                continue
            delivery = Delivery(
                entry.target,
                entry.key,
                entry.address,
                entry.headers,
                entry.payload,
                Ticket((self, client), number),
            )
            self._again[number] = _Again(number, entry, delivery)
            self._parking.known[delivery] = (number, entry)
            self._size += delivery.size
            request.open.add(number)
            batches.setdefault(client, []).append(delivery)
        for client, deliveries in batches.items():
            outlet = self._outlet_of(client)
            assert outlet is not None
            outlet.offer(deliveries)

    def _await(self, request: _Request) -> None:
        request.wait()
        self._requests = [each for each in self._requests if each.open and each is not request]
        if request.open:
            self._requests.append(request)

    # What becomes of them (Ticket owners).

    def receipts(self, client: str, numbers: list[int]) -> None:
        """The target has them."""
        self._remove("delivered", numbers)

    def spilled(self, client: str, numbers: list[int]) -> None:
        """They are on disk in front of the target, and come from there."""
        for number in numbers:
            entry = self._again[number].entry
            self._tally.spilled_again(entry.connection, entry.target)
        self._remove("spilled", numbers)

    def parked(self, client: str, numbers: list[int], cause: str) -> None:
        """They failed again; the store has the new reason already."""
        for number in numbers:
            self._conclude(number, "parked")

    def back(self, client: str, numbers: list[int]) -> None:
        """Their client leaves this worker; where it goes they may be sent again."""
        for number in numbers:
            self._conclude(number, "waiting")

    def _remove(self, outcome: Outcome, numbers: Iterable[int]) -> None:
        gone = list(numbers)

        def done(result: int | StoreError) -> None:
            if isinstance(result, StoreError):
                tell.parking_failed(str(result))
                loop = asyncio.get_running_loop()
                loop.call_later(RETRY_S, self._remove, outcome, gone)
                return
            for number in gone:
                self._conclude(number, outcome)

        def drop(store: ParkedStore) -> int:
            return store.drop(gone)

        self._parking.use(drop, done)

    def _conclude(self, number: int, outcome: Outcome) -> None:
        again = self._again.pop(number)
        self._parking.known.pop(again.delivery, None)
        self._size -= again.delivery.size
        if outcome != "waiting":
            self._slot(again.entry.connection, outcome).add(1)
        asked = [request for request in self._requests if number in request.open]
        for request in asked:
            request.open.discard(number)
            request.outcomes[number] = outcome
            self._await(request)
        if not asked and outcome != "waiting":
            self._outcomes[number] = outcome
            while len(self._outcomes) > KEPT_OUTCOMES:
                del self._outcomes[next(iter(self._outcomes))]

    def _slot(self, connection: str, outcome: str) -> Slot:
        slot = self._slots.get((connection, outcome))
        if slot is None:
            slot = self._slots[connection, outcome] = self._block.counter(
                metrics.PARKED_REPLAYED, connection=connection, outcome=outcome
            )
        return slot
