"""Acknowledgements as rules: requests, aggregates, settlement, what HTTP answers say."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.errors import SignalError, StreamprocError
from streamproc.kernels.signal import ABSENT
from streamproc.protocol import acks
from streamproc.protocol.acks import Acknowledgement, Answer, Request, Settlement

LABELS = st.sampled_from(["one", "two", "three", "four"])
STATUSES = st.integers(100, 599)
RETRY = Settlement(False, redeliver=True)
DROP = Settlement(False, redeliver=False)


@given(
    st.lists(LABELS, min_size=1, unique=True),
    st.lists(st.builds(Acknowledgement, LABELS, STATUSES, st.just(ABSENT))),
)
def test_aggregate_agrees_with_its_parts(asked: list[str], received: list[Acknowledgement]) -> None:
    found = acks.aggregate(asked, received, 1000)
    assert [ack.label for ack in found.acks] == asked
    for ack in found.acks:
        first = next((each for each in received if each.label == ack.label), None)
        assert ack == (first or acks.timed_out(ack.label, 1000))
    assert found.complete == (set(asked) <= {ack.label for ack in received})
    good = all(200 <= ack.status < 300 for ack in found.acks)
    assert found.successful == good
    if len(asked) > 1:
        assert found.status == (200 if good else 424)
    else:
        assert found.status == found.acks[0].status


def test_aggregate_of_nothing_and_of_one_label_twice() -> None:
    nothing = acks.aggregate([], [Acknowledgement("one", 500)], 1)
    assert (nothing.status, nothing.successful, nothing.value()) == (200, True, {})
    twice = acks.aggregate(["one", "one"], [Acknowledgement("one", 201, None)], 1)
    assert (twice.status, twice.value()) == (201, {"one": {"status": 201, "payload": None}})


def test_a_timeout_says_how_long_it_was() -> None:
    ack = acks.timed_out("one", 1_234_567)
    assert "1,234,567ms" in ack.payload["message"]
    assert (ack.status, ack.payload["error"]) == (408, "acknowledgement:request.timeout")


@pytest.mark.parametrize(
    ("answers", "expected", "found"),
    [
        ([], 0, acks.SETTLED),
        ([], 1, RETRY),
        ([Answer(200)], 2, RETRY),
        ([Answer(399)], 1, acks.SETTLED),
        ([Answer(400)], 1, DROP),
        ([Answer(400)], 2, DROP),  # a failure decides, whatever is missing
        ([Answer(408)], 1, RETRY),
        ([Answer(424)], 1, RETRY),
        ([Answer(499)], 1, DROP),
        ([Answer(500)], 1, RETRY),
        ([Answer(400), Answer(599)], 2, RETRY),
        ([Answer(503, live=True)], 1, acks.SETTLED),
        ([Answer(408, live=True)], 1, RETRY),
        ([Answer(424, (200, 404))], 1, DROP),
        ([Answer(424, (200, 408))], 1, RETRY),
        ([Answer(200, (200, 204))], 1, acks.SETTLED),
        ([Answer(424, (200, 302))], 1, DROP),
    ],
)
def test_settlement(answers: list[Answer], expected: int, found: Settlement) -> None:
    assert acks.settlement(answers, expected) == found


@pytest.mark.parametrize(
    ("status", "found"),
    [(412, acks.SETTLED), (None, RETRY), (408, RETRY), (424, RETRY), (500, RETRY), (413, DROP)],
)
def test_settlement_of_failures(status: int | None, found: Settlement) -> None:
    assert acks.settlement_of_failure(status) == found


def same(text: str | None) -> str | None:
    return text


def nothing(_: str | None) -> None:
    return None


def test_requests_of_a_source() -> None:
    assert acks.requested(None, [], None) is None
    assert acks.requested(None, ["abc"], None) == ["abc"]
    assert acks.requested(["abc"], ["def", "abc"], None) == ["abc", "def"]
    assert acks.requested([], ["abc"], None) == []  # nobody is asked, as the sender wants it
    assert acks.requested(["abc"], [], same) == ["abc"]
    assert acks.requested(["abc"], [], nothing) == []
    assert acks.requested(None, [], nothing) == []
    assert acks.requested(None, [], same) is None  # what the protocol does by itself
    assert acks.requested(None, [], lambda text: '["abc"]') == ["abc"]
    assert acks.requested([], [], lambda text: text and text.replace("[]", '["abc"]')) == ["abc"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("abc,def", "header.invalid"),
        ('["abc"', "header.invalid"),
        ("[1]", "header.invalid"),
        ('["a"]', "header.invalid"),
    ],
)
def test_a_filter_must_leave_labels(text: str, code: str) -> None:
    with pytest.raises(SignalError) as caught:
        acks.requested(["abc"], [], lambda _: text)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("channel", "asked", "required", "timeout_ms", "found"),
    [
        ("twin", None, None, None, Request(("twin-persisted",), True, 65_000)),
        ("live", None, None, 90_000, Request(("live-response",), True, 65_000)),
        ("twin", None, False, 1000, Request((), False, 1000)),
        ("twin", None, None, 0, Request((), False, 0)),
        ("twin", [], None, 1000, Request((), True, 1000)),
        ("twin", ["live-response", "abc"], None, 1000, Request(("abc",), True, 1000)),
        ("live", ["twin-persisted", "search-persisted"], False, 1, Request((), False, 1)),
        ("live", ["abc"], True, 1, Request(("abc", "live-response"), True, 1)),
        (
            *("live", ["live-response", "abc"], True, 1),
            Request(("live-response", "abc"), True, 1),
        ),
        ("live", ["live-response", "abc"], False, 1, Request(("abc",), False, 1)),
        ("live", [], True, 1, Request((), True, 1)),
    ],
)
def test_headers_of_a_request(
    channel: acks.Channel,
    asked: list[str] | None,
    required: bool | None,
    timeout_ms: int | None,
    found: Request,
) -> None:
    assert acks.request(channel, asked, required, timeout_ms) == found


@pytest.mark.parametrize(("asked", "required"), [(None, True), (["abc"], False), (["abc"], None)])
def test_no_time_for_what_is_asked(asked: list[str] | None, required: bool | None) -> None:
    with pytest.raises(SignalError) as caught:
        acks.request("twin", asked, required, 0)
    assert (caught.value.code, caught.value.status) == ("header.invalid", 400)


@pytest.mark.parametrize(
    ("content_type", "body", "payload"),
    [
        ("application/json", b'{"a":1}', {"a": 1}),
        ("Application/JSON; charset=utf-8", b"null", None),
        ("application/vnd.eclipse.ditto+json", b"[]", []),
        ("application/json", b"", ""),
        ("application/json", b"\xff", "\N{REPLACEMENT CHARACTER}"),
        ("application/jsonp", b"{}", "e30="),
        ("text/plain", b"{}", "{}"),
        ("text/plain; charset=ISO-8859-1", b"\xe4", "ä"),
        ('text/plain; charset="latin1"', b"\xe4", "ä"),
        ("text/plain; charset=none-such", "ä".encode(), "ä"),
        ("application/json; charset=ISO-8859-1", b'"\xe4"', "ä"),
        ("text/plain; charset=undefined", b"a", "a"),
        ("application/javascript", b"1", "1"),
        ("application/merge-patch+json", b"{}", "{}"),
        ("application/xml", b"<a/>", "PGEvPg=="),
        ("image/png", b"\x00\xff", "AP8="),
        (None, b"abc", "YWJj"),
    ],
)
def test_bodies(content_type: str | None, body: bytes, payload: object) -> None:
    ack = acks.of_http("conn:ack", 503, content_type, body)
    assert ack == Acknowledgement("conn:ack", 503, payload)
    json.dumps(ack.payload)


def test_answers_that_acknowledge_nothing() -> None:
    for status in (99, 600):
        with pytest.raises(SignalError):
            acks.of_http("one", status, None, b"")
    with pytest.raises(SignalError):
        acks.of_http("one", 200, "text/plain", b"x" * (acks.MAX_PAYLOAD_BYTES + 1))


def test_errors() -> None:
    error = SignalError("too.many.requests", "slow down", description="wait")
    assert acks.of_error("one", error) == Acknowledgement(
        "one", 429, {"message": "slow down", "description": "wait"}
    )
    assert acks.of_error("one", StreamprocError("x")).status == 500
    assert acks.of_error("one", ValueError("y")) == Acknowledgement("one", 500, {"message": "y"})
    assert Acknowledgement("one", 200).payload is ABSENT
