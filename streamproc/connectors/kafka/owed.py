"""How much a crash may repeat: messages handed out and not known to be committed, bounded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from streamproc.connectors.kafka.partition import Partition

STALL_S = 3.0
"""Without a commit for longer, messages flow on, and a crash repeats more: the brokers that
keep offsets may be away while those that have the messages are not."""


class Owed:
    """Used by the event loop; ``is_full`` is read by the consumer's thread, which then says
    when something was committed."""

    def __init__(self, most: int, partitions: Callable[[], Iterable[Partition]]) -> None:
        self._most = most
        self._partitions = partitions
        self._total = 0  # at least what is owed
        self._since: float | None = None
        self.is_full = False

    def add(self, count: int) -> None:
        """So many are handed out."""
        self._total += count

    def allows(self, count: int) -> bool:
        """Whether *count* more may be handed out now; if not, ask again after a commit."""
        if self._total + count <= self._most:
            return True
        self.is_full = True  # before it is counted, so that no commit is missed
        self._total = sum(one.handed - one.committed for one in self._partitions())
        if self._total == 0 or self._total + count <= self._most:
            self.is_full, self._since = False, None
            return True
        now = time.monotonic()
        if self._since is None:
            self._since = now
        return now - self._since >= STALL_S
