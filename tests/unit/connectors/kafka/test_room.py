"""What is handed over and not yet read is bounded, in messages and in bytes."""

from __future__ import annotations

from streamproc.connectors.kafka.partition import Partition
from streamproc.connectors.kafka.records import OVERHEAD_BYTES, Arrival
from streamproc.connectors.kafka.room import Room


def arrival(count: int, size: int = 0) -> Arrival:
    return Arrival(Partition("t", 0), [b"x" * size] * count, [{}] * count, list(range(count)))


def test_messages():
    room = Room(10, 1 << 30)
    one, two = arrival(6), arrival(4)
    room.put([one])
    assert room.left() == 4
    room.put([two])
    assert room.left() == 0
    room.freed.clear()
    room.take(one)
    assert room.freed.is_set()
    assert room.left() == 6
    room.take(two)
    assert room.left() == 10


def test_bytes_by_the_size_of_the_last_messages():
    room = Room(10_000, 1_000_000)
    assert room.left() == 10, "a guess, before anything is known"
    large = arrival(5, 100_000 - OVERHEAD_BYTES)
    room.put([large])
    assert room.left() == 5
    room.put([arrival(6, 100_000 - OVERHEAD_BYTES)])
    assert room.left() == 0
    room.take(large)
    assert room.left() == 4


def test_it_takes_a_while_to_trust_that_messages_are_small():
    room = Room(10_000, 1_000_000)
    seen = []
    for _ in range(12):
        small = arrival(1)
        room.put([small])
        room.take(small)
        seen.append(room.left())
    assert seen == sorted(seen)
    assert seen[0] <= 20
    assert seen[-1] == 1_000_000 // OVERHEAD_BYTES


def test_one_message_always_fits_into_an_empty_room():
    room = Room(10, 100)
    room.put([big := arrival(1, 5000)])
    assert room.left() == 0
    room.take(big)
    assert room.left() == 1


def test_expired_messages_take_no_room():
    room = Room(10, 1000)
    late = arrival(0)
    late.expired = [1, 2, 3]
    room.put([late])
    assert room.left() == 10
