"""What a success looks like: by its status, and by the answers that were one before."""

from __future__ import annotations

from collections.abc import Set

from streamproc.connectors.http_push.reader import Reader

KNOWN_HEADS = 256
KNOWN_HEAD_BYTES = 2048
SAME_BYTES = 4096
"""Most that are kept of a whole answer."""

_END = b"\r\n\r\n"


class Successes:
    """For all wires of a client: an endpoint answers most requests with the same few heads.

    ``last``: the answer that was known last, to be looked at before ``knows`` is asked.
    """

    def __init__(self, statuses: Set[int]) -> None:
        self.statuses = statuses
        self.last = b""
        self._sizes: dict[bytes, int] = {}  # by head: bytes from the head's end on

    def knows(self, data: bytes) -> bool:
        """Whether *data* is a whole answer that is a success and leaves the connection usable."""
        end = data.find(_END)
        if end <= 0 or self._sizes.get(data[:end]) != len(data) - end:
            return False
        if len(data) <= SAME_BYTES:
            self.last = data
        return True

    def learn(self, answer: Reader, data: bytes) -> None:
        """*data* was read as *answer*, whole, and the connection is kept: know it again by its
        head, if that alone says how long the body is.
        """
        end = data.find(_END)
        body = len(data) - end - len(_END)
        # Unframed and kept, it has no body. An interim answer's head says nothing of the next.
        counted = body == answer.length or (body == 0 and not answer.framed)
        if answer.status in self.statuses and counted and end <= KNOWN_HEAD_BYTES:
            if len(self._sizes) >= KNOWN_HEADS:
                self._sizes.clear()
            self._sizes[data[:end]] = len(data) - end
