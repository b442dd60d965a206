"""One assignment of a partition to us: what of it is handed out, done, and may be committed.

Each assignment, and each rewind, is an object of its own: an epoch. Receipts of messages of
an older epoch find their object gone, and change nothing.

The event loop hands out and settles; the consumer's thread takes away and stores. What one
writes the other only reads.
"""

from __future__ import annotations

import threading

from streamproc.connectors.kafka.finished import SPAN, Finished
from streamproc.kernels.watermark import Watermark

MOST_HELD_BACK = 1 << 16
"""Messages behind the oldest unsettled one. With more, the partition is not read on."""


class Partition:
    """``gone``: receipts do not count any more. ``closing``: nothing more is handed out.

    ``first`` and ``stored`` continue an older epoch: where it stood, and what it had stored.
    ``finished``: what of it was done before, and is not handed out.
    """

    __slots__ = (
        "_first",
        "began",
        "closing",
        "committed",
        "confirmed",
        "drained",
        "finished",
        "gone",
        "handed",
        "is_full",
        "kept",
        "leader_epoch",
        "newest",
        "number",
        "sent",
        "settled",
        "start",
        "stored",
        "stored_bits",
        "topic",
        "watermark",
    )

    def __init__(
        self,
        topic: str,
        number: int,
        first: int | None = None,
        stored: int | None = None,
        finished: Finished | None = None,
    ) -> None:
        self.topic = topic
        self.number = number
        self.gone = False
        self.kept = False  # gone, and settlement is noted, should it come back
        self.closing = False
        self.is_full = False
        self.drained = threading.Event()  # set when closing and nothing is open
        self.watermark: Watermark | None = None  # until something is handed out
        self.handed = self.settled = 0  # messages
        # Written by the thread.
        self.finished = finished
        self.leader_epoch = 0  # of the newest message read
        self.newest = -1  # offset of that message
        self.start = -1  # offset to be read first, or less than 0 where the log begins
        self.stored = stored  # the offset last committed
        self.stored_bits: bytes | None = b""  # ... and what was said of those above it
        self.sent = self.committed = 0  # of ``settled``: in the last commit, and known to be
        self.confirmed = -1  # the offset that the broker has for certain
        self.began = first or 0  # from here on to ``position`` all is settled
        self._first = first

    @property
    def position(self) -> int | None:
        """The offset to commit, or None where there is none yet."""
        return self._first if self.watermark is None else self.watermark.position

    def snapshot(self) -> tuple[int | None, bytes]:
        """The offset to commit, and which above it are done: see ``Watermark.snapshot``.

        Of an older epoch those, too, that were not handed out again yet.
        """
        if self.watermark is None:
            return self._first, b""
        position, bits = self.watermark.snapshot(SPAN)
        if self.finished is not None:
            if position >= self.finished.end:
                self.finished = None
            else:
                bits = self.finished.merged(position, bits)
        return position, bits

    @property
    def is_open(self) -> bool:
        """Whether something is handed out and not settled."""
        return self.watermark is not None and self.watermark.open > 0

    def has_room(self, count: int) -> bool:
        """Whether *count* messages more may be handed out."""
        return self.watermark is None or self.watermark.window + count <= MOST_HELD_BACK

    def hand_out(self, offsets: list[int], done: list[int]) -> None:
        """Both go out; the *done* ones are done already."""
        every = sorted(offsets + done) if done else offsets
        if self.watermark is None:
            if self._first is None:
                self._first = self.stored = self.began = every[0]
            self.watermark = Watermark(self._first)
        self.watermark.add(every)
        self.handed += len(offsets)
        if done:
            self.watermark.done(done)

    def settle(self, offsets: list[int]) -> bool:
        """They are done. Whether there is something new to commit."""
        watermark = self.watermark
        if watermark is None:
            return False
        before = watermark.open
        watermark.done(offsets)
        self.settled += before - watermark.open
        if self.closing and not watermark.open:
            self.drained.set()
        return watermark.open < before

    def close(self) -> None:
        """Hand out nothing more."""
        self.closing = True
        if self.watermark is None or not self.watermark.open:
            self.drained.set()

    def __repr__(self) -> str:
        return f"<Partition {self.topic}#{self.number} {self.watermark}>"
