"""How much the consumer's thread may still hand over: the bound between it and the event loop."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from streamproc.connectors.kafka.records import Arrival


class Room:
    """Messages and bytes handed over and not yet read. Each side writes its own counts."""

    def __init__(self, messages: int, size: int) -> None:
        self._messages = messages
        self._size = size
        self._widest = max(size // 10, 1)  # bytes of a message, lately; at first a guess
        self.put_messages = self.put_size = 0  # by the thread
        self.taken_messages = self.taken_size = 0  # by the loop
        self.freed = threading.Event()

    def put(self, arrivals: Sequence[Arrival]) -> None:
        for arrival in arrivals:
            count = len(arrival.offsets)
            self.put_messages += count
            self.put_size += arrival.size
            if count:
                self._widest = max(arrival.size // count, self._widest // 2, 1)

    def take(self, arrival: Arrival) -> None:
        self.taken_messages += len(arrival.offsets)
        self.taken_size += arrival.size
        self.freed.set()

    def left(self) -> int:
        """How many messages more may come, going by the size of the last ones."""
        messages = self._messages - (self.put_messages - self.taken_messages)
        size = self._size - (self.put_size - self.taken_size)
        if size <= 0 or messages <= 0:
            return 0
        return min(messages, max(size // self._widest, 1))
