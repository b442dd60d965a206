"""Brings what targets refuse for good to a target of the operator's choice (``parking``).

The store takes what that target does not take in time, or refuses, and all that comes while
something is late: nothing waits twice. A message that was late may then be in both.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streamproc.config.connection import Connection
from streamproc.config.service import Service
from streamproc.kernels.delivery import Delivery
from streamproc.kernels.settlement import Ticket
from streamproc.store.parked import Parked
from streamproc.telemetry import metrics
from streamproc.telemetry.slots import Block
from streamproc.worker.parking import Then
from streamproc.worker.tally import Tally

MAX_OPEN = 1000  # without receipt; beyond that the store takes them
MAX_OPEN_BYTES = 32 << 20
MAX_HEADER = 500  # characters

# Headers that were made for the target that refused it, and are nobody else's business.
_PRIVATE = re.compile(
    r"auth|cookie|token|secret|passw|signature|api-?key|credential", re.IGNORECASE
)
_UNSENDABLE = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True)
class Rule:
    """Where they go."""

    connection: str
    client_count: int
    target: int
    address: str
    after_s: float

    @classmethod
    def of(cls, service: Service, connections: Sequence[Connection]) -> Rule | None:
        """None: to the store."""
        parking = service.parking
        for connection in connections:
            if connection.id == parking.connection and parking.target < len(connection.targets):
                address = connection.targets[parking.target].address
                count = connection.client_count
                return cls(connection.id, count, parking.target, address, parking.after_s)
        return None


@dataclass
class _Batch:
    """What was refused together. ``safe``: which of it has its receipt."""

    entries: list[Parked]
    then: Then
    safe: list[bool]
    timer: asyncio.TimerHandle | None = None

    def conclude(self) -> None:
        """Tell how many, from the first on, are safe."""
        if self.timer is not None:
            self.timer.cancel()
        self.then(self.safe.index(False) if False in self.safe else len(self.safe))


class DeadLetters:
    """Implements ``Elsewhere``.

    Owns ``Ticket((dead letters, client), number)``s, as ``worker/tally.py`` knows owners.
    ``send``: the dispatcher's. ``keep``: the store's.
    """

    def __init__(
        self,
        send: Callable[[str, list[Delivery]], None],
        keep: Callable[[list[Parked], Then], None],
        tally: Tally,
        block: Block,
    ) -> None:
        self.rule: Rule | None = None
        self._send = send
        self._keep = keep
        self._tally = tally
        self._open: dict[int, tuple[Delivery, _Batch | None, int]] = {}  # None: it was late
        self._size = 0
        self._late = 0
        self._next = 0
        self._brought = block.counter(metrics.DEAD_LETTERS, outcome="delivered")
        self._stored = block.counter(metrics.DEAD_LETTERS, outcome="stored")

    def wants(self, connection_id: str, deliveries: Sequence[Delivery]) -> bool:
        """Whether these, which *connection_id* refused, are to go there."""
        rule = self.rule
        return (
            rule is not None
            and connection_id != rule.connection
            and not self._late
            and len(self._open) + len(deliveries) <= MAX_OPEN
            and self._size + sum(d.size for d in deliveries) <= MAX_OPEN_BYTES
            and not any(self._owns(delivery) for delivery in deliveries)
        )

    def take(self, entries: list[Parked], then: Then) -> None:
        """*then* is told how many of them, from the first on, are safe."""
        rule = self.rule
        assert rule is not None
        batch = _Batch(entries, then, [False] * len(entries))
        shares: dict[str, list[Delivery]] = {}
        for position, entry in enumerate(entries):
            client = f"{rule.connection}#{zlib.crc32(entry.key.encode()) % rule.client_count}"
            number = self._next
            self._next += 1
            delivery = Delivery(
                rule.target,
                entry.key,
                rule.address,
                headers_of(entry),
                entry.payload,
                Ticket((self, client), number),
            )
            self._open[number] = (delivery, batch, position)
            self._size += delivery.size
            shares.setdefault(client, []).append(delivery)
        loop = asyncio.get_running_loop()
        batch.timer = loop.call_later(rule.after_s, self._give_up, batch)
        for client, deliveries in shares.items():
            self._send(client, deliveries)

    def end(self) -> None:
        """The worker stops: the store takes what is open, and all that comes."""
        self.rule = None
        batches = {id(batch): batch for _, batch, _ in self._open.values() if batch is not None}
        for batch in batches.values():
            self._give_up(batch)

    # Receipts (Ticket owners).

    def receipts(self, client: str, numbers: list[int]) -> None:
        """That target has them."""
        self._conclude(numbers)

    def spilled(self, client: str, numbers: list[int]) -> None:
        """They are on disk in front of it."""
        for number in numbers:
            self._tally.spilled_again(client.rpartition("#")[0], self._open[number][0].target)
        self._conclude(numbers)

    def parked(self, client: str, numbers: list[int], cause: str) -> None:
        """It refuses them too: they are in the store, with what it said."""
        self._conclude(numbers)

    def back(self, client: str, numbers: list[int]) -> None:
        """Its client moves: they follow."""
        self._send(client, [self._open[number][0] for number in numbers])

    def _conclude(self, numbers: list[int]) -> None:
        for number in numbers:
            delivery, batch, position = self._open.pop(number)
            self._size -= delivery.size
            if batch is None:
                self._late -= 1
                continue
            self._brought.add(1)
            batch.safe[position] = True
            if all(batch.safe):
                batch.conclude()

    def _give_up(self, batch: _Batch) -> None:
        """It takes too long: the store takes what is open of *batch*."""
        if batch.timer is not None:
            batch.timer.cancel()
        open_: list[int] = []
        for number, (delivery, its, position) in self._open.items():
            if its is batch:
                open_.append(position)
                self._open[number] = (delivery, None, position)
        if not open_:
            return
        self._late += len(open_)

        def kept(count: int) -> None:
            self._stored.add(count)
            for position in open_[:count]:
                batch.safe[position] = True
            batch.conclude()

        self._keep([batch.entries[position] for position in open_], kept)

    def _owns(self, delivery: Delivery) -> bool:
        owner = delivery.owner
        return isinstance(owner, Ticket) and owner.peer[0] is self


def headers_of(entry: Parked) -> dict[str, str]:
    """Those of the message, without what was made for its target alone, and why it is here."""
    kept = {name: value for name, value in entry.headers.items() if not _PRIVATE.search(name)}
    said = {
        "parked-connection": entry.connection,
        "parked-target": str(entry.target),
        "parked-address": entry.address.partition("?")[0],
        "parked-reason": entry.reason,
        "parked-message": entry.message,
        "parked-attempts": str(entry.attempts),
        "parked-time": f"{entry.time:.3f}",
    }
    return kept | {name: _UNSENDABLE.sub("?", text[:MAX_HEADER]) for name, text in said.items()}
