"""What goes to a Kafka producer, and what becomes of its reports."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.connectors.kafka.address import ANY_PARTITION, Place, parse
from streamproc.errors import DeliveryFailed, DeliveryRefused
from streamproc.kernels.delivery import Delivery
from streamproc.kernels.kafka_reports import Reports

MARK = ("ditto-connection-id", "c")


class FakeProducer:
    """Keeps what it is given, by the names that the client library has for it."""

    def __init__(self, room=1000):
        self.records = []
        self.room = room

    def produce(
        self,
        topic,
        value=None,
        key=None,
        partition=-1,
        callback=None,
        on_delivery=None,
        timestamp=0,
        headers=None,
    ):
        if len(self.records) == self.room:
            raise BufferError("full")
        assert on_delivery is None
        assert timestamp == 0
        self.records.append((topic, value, key, partition, callback, headers))


def delivery(number=0, address=None, headers=None):
    return Delivery(0, str(number), address or f"t/{number}", headers or {}, b"%d" % number)


def written(deliveries, room=1000, reports=None):
    producer, reports = FakeProducer(room), reports or Reports()
    reports.write(deliveries, producer.produce, {}, parse, MARK, why)
    return producer, reports


def why(failure):
    if isinstance(failure, BufferError):
        return DeliveryFailed("full")
    if isinstance(failure, DeliveryRefused):
        return failure
    raise failure


def test_a_record_has_the_place_the_payload_and_the_headers_with_the_mark():
    headers = {"a": "1"}
    some = [delivery(1, "t/k", headers), delivery(2, "t"), delivery(3, "u#7", dict([MARK]))]
    producer, _ = written(some)
    assert [record[:4] for record in producer.records] == [
        ("t", b"1", "k", ANY_PARTITION),
        ("t", b"2", None, ANY_PARTITION),
        ("u", b"3", None, 7),
    ]
    assert [record[5] for record in producer.records] == [
        {"a": "1", "ditto-connection-id": "c"},
        {"ditto-connection-id": "c"},
        {"ditto-connection-id": "c"},
    ]
    assert headers == {"a": "1"}  # they are shared with other targets


def test_an_address_is_looked_up_before_it_is_parsed():
    producer, reports = FakeProducer(), Reports()
    places = {"x": Place("known", "k", 3)}
    reports.write([delivery(1, "x")], producer.produce, places, None, MARK, why)
    assert producer.records[0][0] == "known"


def test_what_stands_in_for_a_place_is_not_trusted():
    reports = Reports()
    places = {"x": ("topic",)}
    with pytest.raises(TypeError, match="a place is"):
        reports.write([delivery(1, "x")], FakeProducer().produce, places, None, MARK, why)


def test_a_report_stays_open_until_it_is_taken():
    some = [delivery(n) for n in range(3)]
    producer, reports = written(some)
    assert list(reports.open) == some
    producer.records[2][4](None, object())
    producer.records[0][4](None, object())
    assert list(reports.open) == some
    assert reports.take_delivered() == [some[2], some[0]]
    assert list(reports.open) == [some[1]]
    assert reports.take_delivered() == []


def test_a_failure_stays_open_until_it_is_closed():
    some = [delivery(n) for n in range(2)]
    producer, reports = written(some)
    producer.records[1][4]("broken", None)
    assert reports.take_failed() == [(some[1], "broken")]
    assert reports.take_failed() == []
    assert list(reports.open) == some
    reports.close(some[1])
    assert list(reports.open) == some[:1]


def test_what_the_producer_does_not_take_has_failed_and_the_others_go_on():
    some = [delivery(0), delivery(1, address="no topic!"), delivery(2), delivery(3)]
    producer, reports = written(some, room=2)
    assert [record[1] for record in producer.records] == [b"0", b"2"]
    (refused, error), (full, busy) = reports.take_failed()
    assert (refused, full) == (some[1], some[3])
    assert isinstance(error, DeliveryRefused)
    assert isinstance(busy, DeliveryFailed)
    assert list(reports.open) == some


def test_what_why_raises_is_raised():
    def produce(*_):
        raise ZeroDivisionError

    reports = Reports()
    with pytest.raises(ZeroDivisionError):
        reports.write([delivery()], produce, {}, parse, MARK, why)


def test_only_who_brings_an_acknowledgement_hears_of_its_place():
    heard = []
    one, other = delivery(1), delivery(2)
    other.wanted = object()
    reports = Reports()
    reports.placed = lambda *what: heard.append(what)
    producer, _ = written([one, other], reports=reports)
    for number, record in enumerate(producer.records):
        record[4](None, number)
    assert heard == [(other, 1)]
    reports.placed = None
    producer.records[1][4](None, 9)
    assert len(heard) == 1


@given(st.lists(st.sampled_from(["deliver", "fail", "take"]), max_size=60), st.randoms())
def test_each_delivery_is_taken_once_whatever_the_order(steps, random):
    some = [delivery(n) for n in range(20)]
    producer, reports = written(some)
    callbacks = [(one, record[4]) for one, record in zip(some, producer.records, strict=True)]
    random.shuffle(callbacks)
    taken = []

    def take():
        taken.extend(reports.take_delivered())
        for one, _ in reports.take_failed():
            reports.close(one)
            taken.append(one)

    for step in steps:
        if step == "take" or not callbacks:
            take()
        else:
            callbacks.pop()[1](None if step == "deliver" else "why", None)
    take()
    untold = [one for one, _ in callbacks]
    assert list(reports.open) == [one for one in some if one in untold]
    assert sorted([*taken, *untold], key=lambda one: int(one.payload)) == some
