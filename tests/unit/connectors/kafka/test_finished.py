"""A commit's metadata says which messages above it are done, and no other text is believed."""

from __future__ import annotations

import itertools
import random
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.connectors.kafka.finished import (
    MOST_BYTES,
    RAW_BYTES,
    SPAN,
    Finished,
    Foreign,
    decode,
    encode,
)
from streamproc.connectors.kafka.partition import MOST_HELD_BACK, Partition
from streamproc.connectors.kafka.records import decode as decode_records
from streamproc.kernels.kafka_records import RecordReader


class Record(NamedTuple):
    """As much of a message as is looked at, and what ``decode`` of records asks beside it."""

    at: int
    name: bytes | None = b"k"
    epoch: int | None = 0

    def offset(self):
        return self.at

    def key(self):
        return self.name

    def leader_epoch(self):
        return self.epoch

    def topic(self):
        return "t"

    def partition(self):
        return 0

    def value(self):
        return b"%d" % self.at

    def headers(self):
        return None

    def timestamp(self):
        return 1, 0


def of(done: set[int], position: int) -> bytes:
    number = sum(1 << (offset - position) for offset in done)
    return number.to_bytes((number.bit_length() + 7) // 8, "little")


@given(
    position=st.integers(0, 1 << 62),
    distances=st.sets(st.integers(1, 8 * RAW_BYTES - 1), max_size=200),
    epoch=st.integers(-1, (1 << 31) - 1),
)
def test_what_is_written_is_read(position, distances, epoch):
    done = {position + distance for distance in distances}
    text = encode(position, of(done, position), epoch)
    assert len(text) <= MOST_BYTES
    assert text.isascii()
    if not done:
        assert (text, decode(position, text)) == ("", None)
        return
    read = decode(position, text)
    assert {at for at in range(position, position + 8 * RAW_BYTES) if at in read} == done


def scattered(count: int) -> bytes:
    """As it cannot be packed."""
    return random.Random(5).randbytes(count // 8)


def test_a_window_of_many_thousand_offsets_fits_however_they_are_scattered():
    bits = scattered(8 * RAW_BYTES)
    text = encode(7, bits, 3)
    assert len(text) <= MOST_BYTES
    read = decode(7, text)
    assert all((7 + at in read) == bool(bits[at >> 3] >> (at & 7) & 1) for at in range(24_000))


def test_all_that_may_be_held_back_by_one_message_fits():
    partition = Partition("t", 0)
    partition.hand_out(list(range(MOST_HELD_BACK)), [])
    partition.settle(list(range(1, MOST_HELD_BACK)))
    position, bits = partition.snapshot()
    text = encode(position, bits, 0)
    assert len(text) < 200
    read = decode(0, text)
    assert 0 not in read
    assert all(at in read for at in range(1, MOST_HELD_BACK))


def test_what_does_not_fit_is_cut_at_the_far_end():
    bits = scattered(MOST_HELD_BACK)
    text = encode(0, bits, 0)
    assert len(text) <= MOST_BYTES
    read = decode(0, text)
    wrong = [at for at in range(MOST_HELD_BACK) if at in read and not bits[at >> 3] >> (at & 7) & 1]
    assert not wrong
    assert all((at in read) == bool(bits[at >> 3] >> (at & 7) & 1) for at in range(24_000))


@pytest.mark.parametrize("text", ["", None])
def test_no_metadata_says_nothing(text):
    assert decode(4, text) is None


@pytest.mark.parametrize(
    "text",
    [
        "consumer-1",
        "streamproc1:",
        "streamproc1:0:rAg==",
        "streamproc2:0:rAg==:00000000",
        "x" * 100_000,
        "streamproc1:0:r" + "A" * 100_000 + ":00000000",
    ],
)
def test_what_others_wrote_is_refused(text):
    with pytest.raises(Foreign):
        decode(4, text)


@given(data=st.data())
def test_damage_is_refused(data):
    text = encode(40, scattered(800), 2)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda c: c != text[at]))
    with pytest.raises(Foreign):
        decode(40, text[:at] + other + text[at + 1 :])
    with pytest.raises(Foreign):
        decode(40, text[:at]) if at else decode(40, text[1:])


def test_metadata_of_another_offset_is_refused():
    with pytest.raises(Foreign, match="another offset"):
        decode(41, encode(40, b"\x02", 0))


def test_what_unpacks_to_more_than_can_be_ours_is_cut():
    import zlib
    from base64 import b64encode

    body = "0:z" + b64encode(zlib.compress(b"\xff" * (SPAN + 9))).decode()
    text = f"streamproc1:{body}:{zlib.crc32(f'0:{body}'.encode()):08x}"
    read = decode(0, text)
    assert SPAN - 1 in read
    assert SPAN not in read


# What is done of it.


def handed(finished: Finished | None, runs: list[list[Record]]) -> tuple[list[int], list[int]]:
    """(handed out, done already) of all *runs*."""
    partition = Partition("t", 0, finished=finished)
    reader = RecordReader(str(n) for n in itertools.count())
    arrivals = [decode_records(run, lambda *_: partition, reader, 0.0)[0] for run in runs]
    out = [offset for arrival in arrivals for offset in arrival.offsets]
    assert [int(p) for arrival in arrivals for p in arrival.payloads] == out
    return out, [offset for arrival in arrivals for offset in arrival.done]


def test_finished_messages_are_not_handed_out_again():
    finished = Finished(10, of({11, 13}, 10), 0)
    keys = [bytes([n]) for n in range(10, 40)]
    records = [Record(at, keys[at - 10]) for at in range(10, 40)]
    out, done = handed(finished, [records[:2], records[2:5], records[5:]])
    assert done == [11, 13]
    assert out == [at for at in range(10, 40) if at not in (11, 13)]


def test_a_finished_message_behind_an_unfinished_one_of_its_key_comes_again():
    finished = Finished(0, of({1, 2, 3}, 0), 0)
    records = [Record(0, b"a"), Record(1, b"b"), Record(2, b"a"), Record(3, b"b")]
    assert handed(finished, [records[:1], records[1:]]) == ([0, 2], [1, 3])


def test_messages_without_a_key_are_all_of_one():
    finished = Finished(0, of({1, 2}, 0), 0)
    records = [Record(0, None), Record(1, b"b"), Record(2, None)]
    assert handed(finished, [records]) == ([0, 2], [1])


def test_what_another_leader_wrote_later_at_the_same_offset_is_new():
    finished = Finished(0, of({1, 2}, 0), 4)
    records = [Record(0, b"a", 4), Record(1, b"b", 4), Record(2, b"c", 5)]
    assert handed(finished, [records]) == ([0, 2], [1])


def test_a_log_that_begins_anew_is_read_from_its_beginning():
    finished = Finished(100, of({101, 102}, 100), 0)
    records = [Record(at, bytes([at])) for at in range(110)]
    assert handed(finished, [records[:3], records[3:]]) == (list(range(110)), [])
    finished = Finished(100, of({101, 102}, 100), 0)
    assert handed(finished, [records]) == (list(range(110)), [])


def test_past_its_end_it_is_not_asked_and_when_all_is_done_it_is_forgotten():
    partition = Partition("t", 0, finished=Finished(0, of({1}, 0), 0))
    reader = RecordReader(str(n) for n in itertools.count())
    (arrival,) = decode_records([Record(0), Record(1, b"b")], lambda *_: partition, reader, 0.0)
    assert not partition.finished.is_read
    partition.hand_out(arrival.offsets, arrival.done)
    (arrival,) = decode_records([Record(9)], lambda *_: partition, reader, 0.0)
    assert partition.finished.is_read
    partition.hand_out(arrival.offsets, arrival.done)
    assert partition.snapshot() == (0, b"\x02")
    partition.settle([0])
    assert partition.snapshot() == (2, b"")
    partition.settle([9])
    assert partition.snapshot() == (10, b"")
    assert partition.finished is None


def test_what_is_not_read_yet_is_said_again_by_the_next_commit():
    """Else a second crash soon after the first would repeat it all."""
    partition = Partition("t", 0, finished=Finished(10, of({12, 13, 40}, 10), 0))
    reader = RecordReader(str(n) for n in itertools.count())
    records = [Record(10, b"a"), Record(11, b"b"), Record(12, b"c"), Record(13, b"a")]
    (arrival,) = decode_records(records, lambda *_: partition, reader, 0.0)
    assert (arrival.offsets, arrival.done) == ([10, 11, 13], [12])
    partition.hand_out(arrival.offsets, arrival.done)
    partition.settle([10])
    position, bits = partition.snapshot()
    read = decode(position, encode(position, bits, 0))
    assert position == 11
    assert [at for at in range(11, 60) if at in read] == [12, 40]  # 13 is under way again


@given(data=st.data())
def test_a_crash_at_any_moment_repeats_only_the_unfinished_and_what_follows_them(data):
    """Over several lives: each begins with what the last one committed."""
    count = data.draw(st.integers(1, 60))
    keys = data.draw(
        st.lists(st.sampled_from([b"a", b"b", b"c", None]), min_size=count, max_size=count)
    )
    position, metadata, settled = 0, "", set()
    for _ in range(data.draw(st.integers(1, 4))):
        read = range(position, data.draw(st.integers(position, count)))
        if not read:
            continue
        partition = Partition("t", 0, finished=decode(position, metadata))
        out, done = handed(partition.finished, [[Record(at, keys[at]) for at in read]])
        assert sorted(out + done) == list(read)
        assert settled.issuperset(done)
        for at in settled.intersection(out):
            before = [one for one in out if one < at and keys[one] == keys[at]]
            assert before, f"{at} was settled, and nothing before it comes again"
        partition.hand_out(out, done)
        some = data.draw(st.sets(st.sampled_from(out))) if out else set()
        partition.settle(list(some))
        position, bits = partition.snapshot()
        metadata = encode(position, bits, 0)
        settled = settled.difference(out).union(some, done, range(position))
        assert {
            at for at in range(position, count) if at in (decode(position, metadata) or ())
        } == {at for at in settled if at >= position}
