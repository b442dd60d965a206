"""Commits follow settlement, one at a time, and what failed is sent again."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from streamproc.connectors.kafka import commits
from streamproc.connectors.kafka.commits import AT_ONCE, EVERY_S, Commits
from streamproc.connectors.kafka.finished import decode
from streamproc.connectors.kafka.partition import Partition


class Consumer:
    """Notes what is committed. ``fails``: as one that is not in the group."""

    def __init__(self) -> None:
        self.sent: list[list[tuple[int, int, str]]] = []
        self.fails = False

    def commit(self, *, offsets, asynchronous):
        assert asynchronous
        if self.fails:
            raise KafkaException(KafkaError(KafkaError._STATE))
        self.sent.append([(tp.partition, tp.offset, tp.metadata or "") for tp in offsets])


class Scene:
    """Some partitions, their commits, and a clock that stands still."""

    def __init__(self, monkeypatch, *, skip_settled=True) -> None:
        self.now = 100.0
        monkeypatch.setattr(commits.time, "monotonic", lambda: self.now)
        self.told: list[str] = []
        self.consumer = Consumer()
        self.commits = Commits(skip_settled=skip_settled, most=10_000, tell=self.told.append)
        self.partitions = {("t", n): Partition("t", n) for n in range(3)}
        for partition in self.partitions.values():
            partition.hand_out(list(range(10, 2000)), [])
        self.settled = 0

    def settle(self, number, *offsets):
        partition = self.partitions["t", number]
        assert partition.settle(list(offsets))
        self.settled += len(offsets)
        self.commits.changed(partition)

    def serve(self):
        """-> what this turn sent."""
        before = len(self.consumer.sent)
        self.commits.serve(self.consumer, self.settled)
        return self.consumer.sent[before:]

    def answer(self, error=None):
        places = [TopicPartition("t", n, at) for n, at, _ in self.consumer.sent[-1]]
        whole = None if error is None else KafkaError(error)
        self.commits.ended(whole, places, lambda *key: self.partitions.get(key))


@pytest.fixture
def scene(monkeypatch) -> Scene:
    return Scene(monkeypatch)


def test_what_changed_is_committed_in_one_request(scene):
    assert scene.serve() == []
    scene.settle(0, 10, 11)
    scene.settle(1, 10)
    assert scene.commits.pending
    assert scene.serve() == [[(0, 12, ""), (1, 11, "")]]
    assert not scene.commits.pending


def test_one_at_a_time_and_not_too_often(scene):
    scene.settle(0, 10)
    assert scene.serve()
    scene.settle(0, 11)
    scene.now += 10
    assert scene.serve() == [], "the first has no answer yet"
    scene.answer()
    assert scene.serve() == [[(0, 12, "")]]
    scene.answer()
    scene.settle(0, 12)
    assert scene.serve() == []
    scene.now += EVERY_S
    assert scene.serve() == [[(0, 13, "")]]


def test_many_settled_messages_do_not_wait_for_the_time(scene):
    scene.settle(0, 10)
    scene.serve()
    scene.answer()
    scene.settle(0, *range(11, 10 + AT_ONCE))
    assert scene.serve() == []
    scene.settle(0, 10 + AT_ONCE)
    assert scene.serve() == [[(0, 11 + AT_ONCE, "")]]


def test_settled_messages_beyond_an_open_one_are_said_though_the_offset_stays(scene):
    scene.settle(0, 12)
    ((sent,),) = scene.serve()
    assert sent[:2] == (0, 10)
    scene.answer()
    scene.now += EVERY_S
    scene.settle(0, 14)
    ((sent,),) = scene.serve()
    assert sent[:2] == (0, 10)
    read = decode(10, sent[2])
    assert [at for at in range(10, 30) if at in read] == [12, 14]


def test_not_if_it_is_switched_off(monkeypatch):
    scene = Scene(monkeypatch, skip_settled=False)
    scene.settle(0, 12)
    assert scene.serve() == []
    scene.now += EVERY_S
    scene.settle(0, 10, 11)
    assert scene.serve() == [[(0, 13, "")]]


def test_a_commit_that_failed_is_sent_again_later(scene):
    scene.settle(0, 10)
    scene.serve()
    scene.answer(KafkaError._WAIT_COORD)
    assert scene.serve() == []
    scene.now += commits.AGAIN_S
    assert scene.serve() == [[(0, 11, "")]]


def test_but_not_of_a_partition_that_is_gone(scene):
    scene.settle(0, 10)
    scene.serve()
    del scene.partitions["t", 0]
    scene.answer(KafkaError.ILLEGAL_GENERATION)
    assert not scene.commits.pending


def test_a_broker_that_takes_no_metadata_gets_none_and_the_operator_hears_of_it_once(scene):
    scene.settle(0, 12)
    scene.settle(1, 12)
    assert scene.serve()
    scene.answer(KafkaError.OFFSET_METADATA_TOO_LARGE)
    assert len(scene.told) == 1
    scene.now += commits.AGAIN_S
    assert scene.serve() == [[(0, 10, ""), (1, 10, "")]]


def test_what_is_left_at_once_is_not_sent_again(scene):
    scene.settle(0, 10)
    scene.settle(1, 10)
    scene.commits.commit(scene.consumer, [scene.partitions["t", 0]])
    scene.answer()
    assert scene.serve() == [[(1, 11, "")]]


def test_a_consumer_that_is_in_no_group_costs_nothing(scene):
    scene.consumer.fails = True
    scene.settle(0, 10)
    assert scene.serve() == []
    scene.consumer.fails = False
    scene.now += EVERY_S
    scene.settle(0, 11)
    assert scene.serve() == [[(0, 12, "")]]


def test_what_the_broker_has_confirmed_is_known_by_partition(scene):
    scene.settle(0, 10, 11, 15)
    scene.serve()
    assert scene.commits.under_way
    assert scene.partitions["t", 0].committed == 0
    scene.settle(0, 16)
    scene.answer()
    assert not scene.commits.under_way
    assert scene.partitions["t", 0].committed == 3


def test_what_failed_is_not_taken_for_confirmed(scene):
    scene.settle(0, 10, 11)
    scene.serve()
    scene.answer(KafkaError._WAIT_COORD)
    assert scene.partitions["t", 0].committed == 0
    scene.now += commits.AGAIN_S
    scene.serve()
    scene.answer()
    assert scene.partitions["t", 0].committed == 2


def test_where_nobody_is_told_of_them_settled_messages_are_not_waited_for(monkeypatch):
    scene = Scene(monkeypatch, skip_settled=False)
    scene.settle(0, 12, 13)
    scene.serve()
    assert scene.partitions["t", 0].committed == 2
