"""What the consumer's thread does when partitions come and go, with a consumer that only notes."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from streamproc.connectors.kafka import intake as module
from streamproc.connectors.kafka.finished import encode
from streamproc.connectors.kafka.intake import Intake
from streamproc.connectors.kafka.remembered import Remembered
from streamproc.connectors.kafka.room import Room
from streamproc.errors import Misconfigured, NotConnected


class Consumer:
    """``stands``: (offset, metadata) of what the group has committed, by partition."""

    def __init__(self, stands=None, end=500) -> None:
        self.stands = stands or {}
        self.end = end
        self.calls: list[tuple[str, list[tuple[int, int]]]] = []

    def _note(self, what, places):
        self.calls.append((what, [(place.partition, place.offset) for place in places]))

    def committed(self, places, timeout):
        found = []
        for place in places:
            offset, metadata = self.stands.get(place.partition, (-1001, ""))
            found.append(TopicPartition(place.topic, place.partition, offset, metadata))
        return found

    def get_watermark_offsets(self, place, timeout=0, cached=False):
        return 0, self.end

    def incremental_assign(self, places):
        self._note("assign", places)

    def resume(self, places):
        self.resumed = [place.partition for place in places]

    def commit(self, *, offsets, asynchronous):
        assert asynchronous
        self._note("commit", offsets)


class Loop:
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.closed: list[object] = []

    def opened(self):
        pass

    def arrived(self, arrivals):
        pass

    def close_partitions(self, partitions):
        self.closed += partitions
        for partition in partitions:
            partition.close()

    def committed(self):
        pass

    def noted(self, note):
        self.notes.append(note)

    def ended(self, error):
        pass


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def thread(loop, monkeypatch) -> Intake:
    """Not started: the test calls what librdkafka would."""
    monkeypatch.setattr(module, "DRAIN_S", 0.05)
    made = Intake(
        {"client.id": "c"},
        ["t"],
        Room(100, 1 << 20),
        loop,
        Remembered(),
        from_end=False,
        skip_settled=True,
        most=100,
    )
    made._brokers.known["t"] = 4
    return made


def places(*numbers):
    return [TopicPartition("t", number) for number in numbers]


def given(thread, consumer, number=0):
    thread._on_assign(consumer, places(number))
    return thread._partitions["t", number]


def test_a_partition_begins_where_its_commit_stands(thread):
    consumer = Consumer({0: (7, "")})
    thread._on_assign(consumer, places(0, 1))
    assert consumer.calls == [("assign", [(0, 7), (1, -1001)])]


def test_one_without_a_commit_begins_at_the_end_and_says_so_where_that_is_wanted(thread):
    thread._from_end = True
    consumer = Consumer({0: (7, "")})
    thread._on_assign(consumer, places(0, 1, 9))  # 9 is new since we opened
    assert consumer.calls == [
        ("assign", [(0, 7), (1, 500), (9, -1001)]),
        ("commit", [(1, 500)]),
    ]


def test_what_was_paused_when_it_was_taken_away_is_read_when_it_is_back(thread):
    """librdkafka keeps the pause, and would never fetch it again."""
    consumer = Consumer()
    thread._on_assign(consumer, places(0, 2))
    assert consumer.resumed == [0, 2]


def test_no_place_is_guessed_where_the_commit_could_not_be_read(thread, monkeypatch):
    class Silent:
        error = KafkaError(KafkaError._TIMED_OUT)
        topic, partition, offset, metadata = "t", 0, -1001, ""

    consumer = Consumer()
    monkeypatch.setattr(consumer, "committed", lambda *_, **__: [Silent()])
    with pytest.raises(KafkaException):
        thread._on_assign(consumer, places(0))
    assert not consumer.calls


def test_metadata_is_believed_if_it_is_ours(thread, loop):
    stands = {0: (7, encode(7, b"\x02", 0)), 1: (7, encode(8, b"\x02", 0)), 2: (7, "theirs")}
    thread._on_assign(Consumer(stands), places(0, 1, 2))
    found = [thread._partitions["t", number].finished for number in range(3)]
    assert 8 in found[0]
    assert found[1:] == [None, None]
    assert len(loop.notes) == 2


def test_what_is_taken_away_is_committed_with_what_is_settled_and_then_gone(thread, loop):
    consumer = Consumer({0: (7, "")})
    partition = given(thread, consumer)
    partition.hand_out([7, 8, 9], [])
    partition.settle([7])
    thread._on_revoke(consumer, places(0))
    assert consumer.calls[1:] == [("commit", [(0, 8)])]
    assert loop.closed == [partition]
    assert partition.gone
    assert not thread._partitions


def test_what_is_lost_is_not_committed(thread):
    consumer = Consumer({0: (7, "")})
    partition = given(thread, consumer)
    partition.hand_out([7, 8], [])
    partition.settle([7])
    thread.settled(partition, 1)
    thread._on_lost(consumer, places(0))
    thread._obey(consumer)
    assert partition.gone
    assert consumer.calls[1:] == []


def test_settlement_of_an_older_epoch_is_not_committed(thread):
    consumer = Consumer({0: (7, "")})
    old = given(thread, consumer)
    old.hand_out([7, 8], [])
    thread._on_revoke(consumer, places(0))
    new = given(thread, consumer)
    old.settle([7, 8])
    thread.settled(old, 2)
    thread._obey(consumer)
    assert [call for call in consumer.calls if call[0] == "commit"] == []
    assert new.position is None


def test_a_log_that_begins_anew_is_another_epoch(thread, loop):
    old = given(thread, Consumer({0: (7, "")}))
    old.newest = 50
    assert thread._home("t", 0, 51) is old
    new = thread._home("t", 0, 3)
    assert new is not old
    assert old.gone
    assert thread._home("t", 0, 3) is new
    assert "t#0 goes on at offset 3 after 50" in loop.notes[0]


class Failed:
    """A message that is an error."""

    def __init__(self, code, topic="t"):
        self._code, self._topic = code, topic

    def error(self):
        return KafkaError(self._code)

    def topic(self):
        return self._topic


def test_nothing_is_committed_for_a_topic_that_is_gone(thread):
    consumer = Consumer({0: (7, "")})
    partition = given(thread, consumer)
    partition.hand_out([7], [])
    partition.settle([7])
    with pytest.raises(Misconfigured):
        thread._take([Failed(KafkaError.UNKNOWN_TOPIC_OR_PART)])
    thread._on_revoke(consumer, places(0))
    assert partition.gone
    assert consumer.calls[1:] == []


def test_what_librdkafka_mends_by_itself_ends_nothing(thread):
    thread._take([Failed(KafkaError._TRANSPORT), Failed(KafkaError.REBALANCE_IN_PROGRESS)])
    with pytest.raises(NotConnected):
        thread._take([Failed(KafkaError._STATE)])


def test_a_rewind_goes_on_with_what_was_settled_and_with_its_commits(thread):
    consumer = Consumer({0: (7, "")})
    consumer.seek = lambda place: consumer._note("seek", [place])
    old = given(thread, consumer)
    old.hand_out([7, 8, 9], [])
    old.settle([7, 9])
    thread._seek(consumer, old, 8)
    new = thread._partitions["t", 0]
    assert consumer.calls[-1] == ("seek", [(0, 8)])
    assert 9 in new.finished
    assert 8 not in new.finished
    assert new.snapshot() == (8, b"")


def test_what_is_lost_and_given_back_goes_on_with_what_was_settled(thread):
    consumer = Consumer({0: (7, "")})
    lost = given(thread, consumer)
    lost.hand_out([7, 8, 9], [])
    lost.settle([8])
    thread._on_lost(consumer, places(0))
    lost.settle([7])  # what was under way arrived after all
    again = given(thread, consumer)
    assert [at for at in range(7, 10) if at in again.finished] == [7, 8]


def test_what_is_revoked_in_vain_too(thread):
    consumer = Consumer({0: (7, "")})
    revoked = given(thread, consumer)
    revoked.hand_out([7, 8], [])
    revoked.settle([7])
    thread._on_revoke(consumer, places(0))
    again = given(thread, consumer)  # and the commit did not come through
    assert 7 in again.finished
    assert 8 not in again.finished


def test_of_a_log_that_has_begun_anew_nothing_is_remembered(thread):
    consumer = Consumer({0: (7, "")})
    partition = given(thread, consumer)
    partition.hand_out([7], [])
    partition.settle([7])
    partition.newest = 7
    thread._home("t", 0, 0)
    thread._on_lost(consumer, places(0))
    assert given(thread, consumer).finished is None
