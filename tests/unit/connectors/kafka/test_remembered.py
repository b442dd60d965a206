"""What was settled before a partition was taken from us does not come again when it is back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamproc.connectors.kafka.finished import decode, encode
from streamproc.connectors.kafka.partition import Partition
from streamproc.connectors.kafka.remembered import Remembered


def left(out: list[int], settled: list[int], confirmed: int) -> tuple[Remembered, Partition]:
    partition = Partition("t", 0)
    partition.hand_out(out, [])
    partition.settle(settled)
    partition.confirmed = confirmed
    remembered = Remembered()
    remembered.keep(partition)
    return remembered, partition


def known(remembered: Remembered, committed: int, metadata: str = "") -> set[int]:
    found = remembered.at("t", 0, committed, decode(committed, metadata))
    return {at for at in range(200) if found is not None and at in found}


def test_all_that_was_settled_is_known_also_what_was_settled_since() -> None:
    remembered, partition = left(list(range(10, 20)), [10, 11, 15], confirmed=10)
    partition.settle([12, 19])
    assert known(remembered, 10) == {10, 11, 12, 15, 19}


def test_once() -> None:
    remembered, _ = left([10, 11], [10], confirmed=10)
    assert known(remembered, 10)
    assert not known(remembered, 10)


def test_a_commit_that_was_not_confirmed_may_have_come_through() -> None:
    remembered, _ = left(list(range(10, 20)), [10, 11, 12, 15], confirmed=11)
    assert known(remembered, 12) == {12, 15}


def test_offsets_that_are_not_in_the_log_are_passed() -> None:
    remembered, _ = left([10, 12, 14], [10, 14], confirmed=7)
    assert known(remembered, 7) == {10, 14}


def test_where_others_have_read_on_or_the_group_was_set_back_nothing_is_believed() -> None:
    for committed in (9, 14, -1001):
        remembered, _ = left(list(range(10, 20)), [10, 11, 12, 15], confirmed=10)
        assert not known(remembered, committed)


def test_what_the_commit_says_counts_too_if_it_speaks_of_the_same_log() -> None:
    for epoch, expected in ((3, {10, 15, 17}), (2, {10, 15})):
        remembered, partition = left(list(range(10, 20)), [10, 15], confirmed=10)
        partition.leader_epoch = 3
        assert known(remembered, 10, encode(10, bytes([0b10000000]), epoch)) == expected


def test_nothing_was_handed_out() -> None:
    remembered = Remembered()
    remembered.keep(Partition("t", 0))
    assert not known(remembered, 0)


@given(st.data())
def test_only_what_was_settled_is_known_however_often_it_is_lost(data: st.DataObject) -> None:
    """Commits go through, or do not, and the partition comes and goes."""
    remembered, settled, stands = Remembered(), set[int](), 0
    for _ in range(data.draw(st.integers(1, 5))):
        partition = Partition("t", 0, finished=remembered.at("t", 0, stands, None))
        partition.confirmed = stands
        before = {at for at in range(80) if partition.finished and at in partition.finished}
        assert before <= settled
        end = data.draw(st.integers(stands, 60))
        out = [at for at in range(stands, end) if at not in before]
        partition.hand_out(out, sorted(before & set(range(stands, end)))) if end > stands else None
        for _ in range(data.draw(st.integers(0, 3))):
            some = data.draw(st.sets(st.sampled_from(out))) if out else set()
            partition.settle(sorted(some))
            settled |= some
            reached = partition.position
            if reached is not None and data.draw(st.booleans()):
                stands = reached
                if data.draw(st.booleans()):
                    partition.confirmed = reached
        remembered.keep(partition)
        late = data.draw(st.sets(st.sampled_from(out))) if out else set()
        partition.settle(sorted(late))
        settled |= late
        assert settled.issuperset(range(stands))
    final = remembered.at("t", 0, stands, None)
    assert {at for at in range(80) if final is not None and at in final} <= settled
