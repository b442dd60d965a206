"""What was settled of partitions that were taken from us: if we get them back, it need not come
again, though no commit could say so. A broker that is away takes its partitions with it, and
what the client library has read by then flows on.
"""

from __future__ import annotations

from streamproc.connectors.kafka.finished import SPAN, Finished
from streamproc.connectors.kafka.partition import Partition


class Remembered:
    """The last epoch here of each partition that we had. Of that, receipts go on to count.

    Believed only where the commit that is found next lies between the last one of ours that
    the broker confirmed, and where we stood: nobody else has read on since, nor was the group
    set back to read again.
    """

    def __init__(self) -> None:
        self._left: dict[tuple[str, int], Partition] = {}

    def keep(self, partition: Partition) -> None:
        """It was taken from us."""
        partition.kept = True
        self._left[partition.topic, partition.number] = partition

    def at(self, topic: str, number: int, committed: int, said: Finished | None) -> Finished | None:
        """We get the partition back, from *committed* on. *said*: what that commit says of
        messages above it. -> all that is known of them.
        """
        left = self._left.pop((topic, number), None)
        if left is None:
            return said
        left.kept = False
        position, bits = left.snapshot()
        if position is None or not left.confirmed <= committed <= position or committed < 0:
            return said
        # From ``began`` to ``position`` all is settled, and above that what the bits say.
        done = (1 << (position - left.began)) - 1
        done |= int.from_bytes(bits, "little") << (position - left.began)
        done = (
            done >> (committed - left.began)
            if committed > left.began
            else (done << (left.began - committed))
        )
        done &= (1 << SPAN) - 1
        if said is not None and said.epoch == left.leader_epoch:
            done |= int.from_bytes(said.bits, "little")
        if not done:
            return None
        known = done.to_bytes((done.bit_length() + 7) // 8, "little")
        return Finished(committed, known, left.leader_epoch)
