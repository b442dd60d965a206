"""What a crash may repeat is bounded, and a broker that takes no commits stops nobody for long."""

from __future__ import annotations

import pytest

from streamproc.connectors.kafka import owed as module
from streamproc.connectors.kafka.owed import STALL_S, Owed
from streamproc.connectors.kafka.partition import Partition


class Scene:
    def __init__(self, monkeypatch, most: int) -> None:
        self.now = 50.0
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)
        self.partitions = [Partition("t", 0), Partition("t", 1)]
        self.owed = Owed(most, lambda: self.partitions)

    def hand_out(self, number: int, count: int) -> None:
        partition = self.partitions[number]
        partition.hand_out(list(range(partition.handed, partition.handed + count)), [])
        self.owed.add(count)


@pytest.fixture
def scene(monkeypatch) -> Scene:
    return Scene(monkeypatch, 10)


def test_no_more_is_handed_out_than_a_crash_may_repeat(scene):
    scene.hand_out(0, 6)
    assert scene.owed.allows(4)
    assert not scene.owed.is_full
    assert not scene.owed.allows(5)
    assert scene.owed.is_full


def test_what_is_committed_makes_room(scene):
    scene.hand_out(0, 6)
    scene.hand_out(1, 4)
    assert not scene.owed.allows(1)
    scene.partitions[0].committed = 3
    assert scene.owed.allows(3)
    assert not scene.owed.is_full
    scene.hand_out(1, 3)
    assert not scene.owed.allows(1)


def test_a_partition_that_is_gone_owes_nothing(scene):
    scene.hand_out(0, 10)
    assert not scene.owed.allows(1)
    del scene.partitions[0]
    assert scene.owed.allows(10)


def test_one_batch_that_is_larger_goes_alone(scene):
    assert scene.owed.allows(11)
    scene.hand_out(0, 11)
    assert not scene.owed.allows(1)


def test_without_commits_messages_flow_on_after_a_while_and_are_held_again_after_one(scene):
    scene.hand_out(0, 10)
    assert not scene.owed.allows(5)
    scene.now += STALL_S - 0.1
    assert not scene.owed.allows(5)
    scene.now += 0.1
    assert scene.owed.allows(5)
    scene.hand_out(0, 5)
    assert scene.owed.allows(5)
    scene.partitions[0].committed = 15
    assert scene.owed.allows(5)
    scene.hand_out(0, 10)
    assert not scene.owed.allows(1), "the patience begins anew"
