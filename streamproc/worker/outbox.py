"""What is on its way to one client: kept until its receipt, sent again if that is lost.

An outbox knows where its client lives now: here, at a peer, or nowhere yet. Deliveries leave
in order; those that come back, or whose receipts will not come, go before newer ones. Whoever was
sent deliveries answers for each of them, with a receipt or by giving it back, or dies; until
then nothing goes elsewhere, for it could come twice, or overtake.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import orjson

from streamproc.kernels.delivery import Delivery
from streamproc.kernels.signal import ABSENT
from streamproc.worker.bus import Answered, Peer
from streamproc.worker.outlet import Outlet

FRAME_DELIVERIES = 500
FRAME_BYTES = 4 << 20


class Outbox:
    """Deliveries from this worker to one client.

    ``max_messages``, ``max_bytes``: without receipt at a peer. What is here beyond that is
    bounded by the windows of this worker's sources.
    """

    def __init__(self, client: str, max_messages: int, max_bytes: int) -> None:
        self.client = client
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._place: Outlet | Peer | None = None
        self._here: Outlet | None = None  # the place, if all can go there at once
        self._holder: Peer | None = None  # was sent what is in _sent
        self._waiting: deque[Delivery] = deque()
        self._sent: dict[int, Delivery] = {}  # number -> delivery, oldest first
        self._sent_bytes = 0
        self._returned: dict[int, Delivery] = {}  # sent, and given back
        self._next = 0
        self._epoch = 0  # grows when deliveries are sent anew

    def __len__(self) -> int:
        """Deliveries here: waiting, and sent to a peer without receipt."""
        return len(self._waiting) + len(self._sent) + len(self._returned)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def send(self, deliveries: list[Delivery]) -> None:
        """Take *deliveries* on their way, after all that came before."""
        if self._here is not None:
            self._here.offer(deliveries)
            return
        self._waiting.extend(deliveries)
        self.pump()

    def locate(self, place: Outlet | Peer | None) -> None:
        """The client lives there now."""
        if place is not self._place:
            self._move(place)
            self.pump()

    def _move(self, place: Outlet | Peer | None) -> None:
        self._place = place
        self._here = None

    def lives_at(self, place: Outlet | Peer) -> bool:
        return self._place is place

    def was_sent_to(self, peer: Peer) -> bool:
        """Whether *peer* has deliveries of which nothing is known."""
        return bool(self._sent) and self._holder is peer

    @property
    def held_up(self) -> bool:
        """Whether the place before has not answered for all that it was sent."""
        return bool(self._sent) and (bool(self._returned) or self._place is not self._holder)

    @property
    def epoch(self) -> int:
        """Grows when deliveries are sent anew."""
        return self._epoch

    def pump(self) -> None:
        """Send as much as the window and the peer allow."""
        place = self._place
        if place is None or self.held_up:
            return
        if self._returned:
            self.recall()
        if isinstance(place, Outlet):
            self._here = place
            if self._waiting:
                deliveries = list(self._waiting)
                self._waiting.clear()
                place.offer(deliveries)
            return
        while place.writable and self._waiting:
            batch = self._take()
            if not batch:
                return
            self._holder = place
            first = self._next
            self._next += len(batch)
            for number, delivery in enumerate(batch, first):
                self._sent[number] = delivery
            place.deliver(self.client, self._epoch, first, batch)

    def _take(self) -> list[Delivery]:
        batch: list[Delivery] = []
        size = 0
        while (
            self._waiting
            and len(batch) < FRAME_DELIVERIES
            and size < FRAME_BYTES
            and len(self._sent) + len(batch) < self._max_messages
            and self._sent_bytes < self._max_bytes
        ):
            delivery = self._waiting.popleft()
            size += delivery.size
            self._sent_bytes += delivery.size
            batch.append(delivery)
        return batch

    def concluded(self, numbers: Iterable[int]) -> list[Delivery]:
        """-> the deliveries of *numbers*, which are no longer here."""
        out = []
        for number in numbers:
            delivery = self._sent.pop(number, None)
            if delivery is not None:
                self._sent_bytes -= delivery.size
                out.append(delivery)
        return out

    def answered(self, answers: Iterable[Answered]) -> None:
        """What deliveries bring; their receipts follow. Quiet about what was sent anew since."""
        for number, status, payload, kept in answers:
            delivery = self._sent.get(number)
            if delivery is not None and delivery.wanted is not None:
                value = ABSENT if payload is None else orjson.loads(payload)
                delivery.wanted.answered(status, value)
                delivery.wanted.kept = kept

    def recall(self) -> int:
        """What was sent and has no receipt waits again, in order, before all else: it was given
        back, or whoever had it is gone. -> count
        """
        again = self._returned | self._sent
        self._epoch += 1
        for delivery in again.values():
            if delivery.wanted is not None:
                delivery.wanted.forget()
        self._waiting.extendleft(again[number] for number in sorted(again, reverse=True))
        self._returned.clear()
        self._sent.clear()
        self._sent_bytes = 0
        return len(again)

    def came_back(self, numbers: list[int]) -> None:
        """The client left its worker with these undelivered, or has not arrived there. Held until
        it is located anew; for the others that were sent there receipts may still come.
        """
        for number in numbers:
            delivery = self._sent.pop(number, None)
            if delivery is not None:
                self._sent_bytes -= delivery.size
                self._returned[number] = delivery
        if self._returned and self._place is self._holder:
            self._move(None)
        self.pump()

    def put_back(self, deliveries: list[Delivery]) -> None:
        """A client that lived here left these undelivered."""
        self._move(None)
        self._waiting.extendleft(reversed(deliveries))

    def clear(self) -> list[Delivery]:
        """Everything that is here; the client is no more."""
        self.recall()
        out = list(self._waiting)
        self._waiting.clear()
        return out
