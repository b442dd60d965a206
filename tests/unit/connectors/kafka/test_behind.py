"""How far a consumer is behind follows from what it was given, settled, and from where logs end."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from streamproc.connectors.kafka.behind import EVERY_S, Behind
from streamproc.connectors.kafka.partition import Partition


class Consumer:
    """``known``: (begin, end) of what was fetched; ``real``: what a broker says when asked."""

    def __init__(self, known, real=None) -> None:
        self.known = known
        self.real = real or {}
        self.asked: list[int] = []

    def get_watermark_offsets(self, place, timeout=0, cached=False):
        if cached:
            return self.known.get(place.partition)
        self.asked.append(place.partition)
        if place.partition not in self.real:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return self.real[place.partition]


@pytest.fixture
def partitions() -> list[Partition]:
    return [Partition("t", number) for number in range(3)]


def look(consumer, partitions, *, ask=False, behind=None, now=0.0):
    behind = behind or Behind()
    behind.look(consumer, partitions, now, ask=ask)
    return behind.messages, behind.most, behind.held_back


def test_what_is_settled_beyond_an_open_message_is_not_behind(partitions):
    one = partitions[0]
    one.hand_out(list(range(100, 150)), [])
    one.settle(list(range(110, 150)))
    assert look(Consumer({0: (0, 150)}), [one]) == (10, 10, 40)
    one.settle(list(range(100, 110)))
    assert look(Consumer({0: (0, 160)}), [one]) == (10, 10, 0)


def test_before_anything_was_read_it_counts_from_where_reading_begins(partitions):
    for partition, start in zip(partitions, (30, -1001, 100), strict=True):
        partition.start = start
    consumer = Consumer({0: (0, 100), 1: (20, 100), 2: (0, 100)})
    assert look(consumer, partitions) == (70 + 80, 80, 0)


def test_what_no_broker_has_said_yet_counts_as_nothing(partitions):
    assert look(Consumer({0: (-1001, -1001)}), partitions) == (0, 0, 0)


def test_while_nothing_is_fetched_one_end_is_asked_for_at_a_time(partitions):
    for partition in partitions:
        partition.start = 0
    consumer = Consumer(dict.fromkeys(range(3), (0, 10)), {0: (0, 1000), 2: (0, 2000)})
    behind = Behind()
    for turn in range(3):
        found = look(consumer, partitions, ask=True, behind=behind, now=turn * EVERY_S)
    assert sorted(consumer.asked) == [0, 1, 2]
    assert found == (3010, 2000, 0)
    assert look(consumer, partitions, behind=behind, now=9 * EVERY_S) == (30, 10, 0)


def test_not_more_often_than_needed(partitions):
    behind = Behind()
    partitions[0].start = 0
    assert look(Consumer({0: (0, 5)}), partitions, behind=behind, now=1.0)[0] == 5
    assert look(Consumer({0: (0, 9)}), partitions, behind=behind, now=1.1)[0] == 5
    assert look(Consumer({0: (0, 9)}), partitions, behind=behind, now=1.0 + EVERY_S)[0] == 9
