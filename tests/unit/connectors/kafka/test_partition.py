"""An assignment hands out, settles, drains, and says what may be committed."""

from __future__ import annotations

from streamproc.connectors.kafka.partition import MOST_HELD_BACK, Partition


def test_nothing_to_commit_before_something_is_settled():
    partition = Partition("t", 0)
    assert partition.position is None
    partition.hand_out([7, 8, 9], [])
    assert (partition.position, partition.stored) == (7, 7)
    assert partition.settle([8])
    assert partition.snapshot() == (7, bytes([0b10]))
    assert not partition.settle([8])
    assert partition.settle([7])
    assert partition.snapshot() == (9, b"")
    assert partition.is_open
    assert partition.settle([9])
    assert not partition.is_open


def test_expired_messages_are_done_and_hold_nothing_back():
    partition = Partition("t", 0)
    partition.hand_out([5, 8], [4, 6, 7])
    assert partition.position == 5
    assert partition.settle([5])
    assert partition.position == 8
    partition.hand_out([], [9])
    assert partition.settle([8])
    assert partition.position == 10


def test_draining_ends_when_the_last_open_message_is_settled():
    partition = Partition("t", 0)
    partition.hand_out([0, 1], [])
    partition.close()
    assert not partition.drained.is_set()
    partition.settle([1])
    assert not partition.drained.is_set()
    partition.settle([0])
    assert partition.drained.is_set()


def test_a_partition_with_nothing_open_is_drained_at_once():
    fresh, done = Partition("t", 0), Partition("t", 1)
    done.hand_out([3], [])
    done.settle([3])
    for partition in (fresh, done):
        partition.close()
        assert partition.drained.is_set()


def test_a_new_epoch_goes_on_where_the_old_one_stood():
    partition = Partition("t", 0, first=40, stored=30)
    assert (partition.position, partition.stored) == (40, 30)
    partition.hand_out([42, 43], [])
    assert partition.position == 40
    assert partition.settle([42])
    assert partition.position == 43


def test_what_an_open_message_holds_back_is_bounded():
    partition = Partition("t", 0)
    partition.hand_out(list(range(MOST_HELD_BACK)), [])
    partition.settle(list(range(1, MOST_HELD_BACK)))
    assert not partition.has_room(1)
    partition.settle([0])
    assert partition.has_room(1)
