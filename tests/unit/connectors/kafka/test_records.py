"""Records become runs of one partition, with text headers, and without what has expired."""

from __future__ import annotations

import itertools
import re
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from streamproc.connectors.kafka.partition import Partition
from streamproc.connectors.kafka.records import (
    OVERHEAD_BYTES,
    correlation_ids,
    decode,
    is_expired,
)
from streamproc.kernels.kafka_records import RecordReader

NOW = 1_700_000_000_000


class Fake(NamedTuple):
    """Answers as a message of confluent-kafka does."""

    at: int = 0
    place: tuple[str, int] = ("t", 0)
    body: bytes | None = b"x"
    name: bytes | None = None
    fields: list[tuple[str, bytes | None]] | None = None
    ms: int = NOW
    epoch: int | None = 0

    def leader_epoch(self):
        return self.epoch

    def topic(self):
        return self.place[0]

    def partition(self):
        return self.place[1]

    def offset(self):
        return self.at

    def value(self):
        return self.body

    def key(self):
        return self.name

    def headers(self):
        return self.fields

    def timestamp(self):
        return 1, self.ms


def decoded(messages, *, now=NOW, known=None):
    partitions = {}

    def find(topic, number, _):
        if known is not None and (topic, number) not in known:
            return None
        return partitions.setdefault((topic, number), Partition(topic, number))

    ids = (f"id-{n}" for n in itertools.count())
    return decode(messages, find, RecordReader(ids), now)


def headers_of(**fields):
    (arrival,) = decoded([Fake(**fields)])
    return arrival.headers[0]


def test_headers_of_the_transport():
    assert headers_of(name=b"dev-1") == {
        "kafka.topic": "t",
        "kafka.key": "dev-1",
        "kafka.timestamp": str(NOW),
        "correlation-id": "id-0",
    }
    assert "kafka.key" not in headers_of()


def test_a_sender_cannot_pretend_another_topic_key_or_time():
    lies = [("kafka.topic", b"other"), ("kafka.key", b"k"), ("kafka.timestamp", b"1")]
    found = headers_of(fields=lies)
    assert found["kafka.topic"] == "t"
    assert found["kafka.timestamp"] == str(NOW)
    assert "kafka.key" not in found
    assert headers_of(fields=lies, name=b"real")["kafka.key"] == "real"


def test_the_last_of_several_values_wins_and_a_correlation_id_is_kept():
    found = headers_of(fields=[("a", b"1"), ("correlation-id", b"c"), ("a", "ü".encode())])
    assert (found["a"], found["correlation-id"]) == ("ü", "c")


def test_values_that_are_no_text_or_missing():
    found = headers_of(fields=[("a", b"\xff!"), ("b", None), ("c", b"")], name=b"\xfe")
    assert (found["a"], found["b"], found["c"]) == ("�!", "", "")
    assert found["kafka.key"] == "�"


def test_a_message_without_a_payload_has_an_empty_one():
    (arrival,) = decoded([Fake(body=None)])
    assert arrival.payloads == [b""]
    assert arrival.size == OVERHEAD_BYTES


def test_dicts_are_not_shared():
    (arrival,) = decoded([Fake(0), Fake(1)])
    assert arrival.headers[0] is not arrival.headers[1]
    assert arrival.headers[0]["correlation-id"] != arrival.headers[1]["correlation-id"]


def ttl(creation, life):
    return [("creation-time", creation), ("ttl", life)]


def test_expired_messages_leave_only_their_offsets():
    (arrival,) = decoded(
        [
            Fake(0, fields=ttl(str(NOW - 2000).encode(), b"1000")),
            Fake(1, body=b"good", fields=ttl(str(NOW - 2000).encode(), b"3000")),
            Fake(3, fields=ttl(str(NOW - 2).encode(), b"1")),
            Fake(4, body=b"no ttl"),
        ]
    )
    assert (arrival.done, arrival.expired) == ([0, 3], 2)
    assert arrival.offsets == [1, 4]
    assert arrival.payloads == [b"good", b"no ttl"]
    assert len(arrival.headers) == 2
    assert arrival.size == 10 + 2 * OVERHEAD_BYTES


def test_what_is_no_number_does_not_expire():
    assert not is_expired({"creation-time": "x", "ttl": "1"}, NOW)
    assert not is_expired({"ttl": "1"}, NOW)
    assert not is_expired({"creation-time": str(NOW), "ttl": "0"}, NOW)
    assert is_expired({"creation-time": str(NOW - 1), "ttl": "0"}, NOW)


@given(
    places=st.lists(
        st.tuples(st.sampled_from(["t", "u"]), st.integers(0, 2), st.booleans()), max_size=60
    )
)
def test_grouping_loses_nothing_keeps_the_order_and_leaves_out_what_is_not_ours(places):
    fields = ttl(b"0", b"1")
    messages = [
        Fake(at, (topic, number), fields=fields if late else None)
        for at, (topic, number, late) in enumerate(places)
    ]
    known = {("t", 0), ("t", 1), ("u", 0), ("u", 2)}
    arrivals = decoded(messages, known=known)
    seen = {}
    for arrival in arrivals:
        assert len(arrival.payloads) == len(arrival.headers) == len(arrival.offsets)
        where = (arrival.partition.topic, arrival.partition.number)
        seen.setdefault(where, []).extend(arrival.offsets)
        assert all(h["kafka.topic"] == arrival.partition.topic for h in arrival.headers)
    for where in known:
        wanted = [
            at
            for at, (topic, number, late) in enumerate(places)
            if (topic, number) == where and not late
        ]
        assert seen.get(where, []) == wanted
    assert set(seen) <= known
    late = sorted(offset for arrival in arrivals for offset in arrival.done)
    assert late == [at for at, (t, n, gone) in enumerate(places) if gone and (t, n) in known]


def test_ids_look_like_uuids_and_are_all_different():
    one, two = correlation_ids(), correlation_ids()
    some = [next(ids) for ids in (one, two) for _ in range(1000)]
    assert len(set(some)) == 2000
    shape = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
    assert all(shape.fullmatch(one) for one in some)


def test_a_log_that_begins_anew_in_a_batch_begins_another_run():
    asked = []

    def find(topic, number, offset):
        asked.append(offset)
        return Partition(topic, number)

    messages = [Fake(at) for at in (7, 9, 10, 0, 1, 1, 2)]
    arrivals = decode(messages, find, RecordReader(correlation_ids()), NOW)
    assert [arrival.offsets for arrival in arrivals] == [[7, 9, 10], [0, 1], [1, 2]]
    assert asked == [7, 0, 1]


def plainly(messages, topic, ids):
    """The headers of each of *messages*, with nothing taken from the one before it."""
    every = []
    for message in messages:
        headers = {}
        for name, value in message.headers() or ():
            headers[name] = "" if value is None else value.decode("utf-8", "replace")
        for name in ("kafka.topic", "kafka.key", "kafka.timestamp"):
            headers.pop(name, None)
        headers["kafka.topic"] = topic
        if message.key() is not None:
            headers["kafka.key"] = message.key().decode("utf-8", "replace")
        headers["kafka.timestamp"] = str(message.timestamp()[1])
        headers.setdefault("correlation-id", "")
        headers["correlation-id"] = headers["correlation-id"] or next(ids)
        every.append(headers)
    return every


NAMES = ["a", "b", "ttl", "correlation-id", "kafka.topic", "kafka.key", "kafka.timestamp", "ü"]
FIELDS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from([b"1", b"2", b"12", b"\xff", None])),
    max_size=4,
)
SHAPES = st.lists(FIELDS, min_size=1, max_size=3)


@given(
    shapes=SHAPES,
    chosen=st.lists(
        st.tuples(
            st.integers(0, 2),
            st.lists(st.sampled_from([b"1", b"2", None]), min_size=4, max_size=4),
            st.sampled_from([None, b"k", b"l"]),
            st.integers(0, 2),
        ),
        max_size=30,
    ),
    cut=st.integers(0, 30),
)
def test_headers_taken_from_the_record_before_are_those_of_the_record(shapes, chosen, cut):
    """Few forms and few values, so that records are often like the one before them."""
    messages = []
    for at, (shape, values, key, ms) in enumerate(chosen):
        names = [name for name, _ in shapes[shape % len(shapes)]]
        # No empty correlation id: the reference takes it for none.
        fields = [
            (name, (value or b"0") if name == "correlation-id" else value)
            for name, value in zip(names, values, strict=False)
        ]
        messages.append(Fake(at, name=key, fields=fields or None, ms=ms))
    reader = RecordReader(f"id-{n}" for n in itertools.count())
    found = []
    for some, topic in ((messages[:cut], "t"), (messages[cut:], "u")):
        payloads, headers, offsets, has_ttl = reader.read(some, topic)
        assert (len(payloads), offsets) == (len(some), [message.at for message in some])
        assert has_ttl == any("ttl" in one for one in headers)
        found += headers
        for one in headers:
            one["changed"] = "by who got it"
    ids = (f"id-{n}" for n in itertools.count())
    wanted = plainly(messages[:cut], "t", ids) + plainly(messages[cut:], "u", ids)
    assert found == [one | {"changed": "by who got it"} for one in wanted]


def test_records_of_one_form_share_values_and_no_dict():
    fields = [("content-type", b"json"), ("device", b"1")]
    other = [("content-type", b"json"), ("device", b"2")]
    reader = RecordReader(correlation_ids())
    _, (one, two, three), _, _ = reader.read([Fake(fields=f) for f in (fields, other, fields)], "t")
    assert one["content-type"] is two["content-type"]
    assert [found["device"] for found in (one, two, three)] == ["1", "2", "1"]
    assert len({found["correlation-id"] for found in (one, two, three)}) == 3


def test_what_becomes_of_the_headers_of_a_record_is_not_seen_in_the_next():
    reader = RecordReader(correlation_ids())
    record = Fake(fields=[("a", b"1"), ("b", b"2")], name=b"k")
    _, (one,), _, _ = reader.read([record], "t")
    wanted = dict(one)
    one["a"] = one["more"] = "by who got it"
    del one["b"]
    _, (two,), _, _ = reader.read([record], "t")
    assert two == wanted | {"correlation-id": two["correlation-id"]}
