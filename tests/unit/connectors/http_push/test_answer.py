"""Which answers are tried again, and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.config.endpoint import EndpointOptions
from streamproc.connectors.http_push.answer import Answers, retry_after_s
from streamproc.errors import ConfigError, DeliveryFailed, DeliveryRefused, EndpointGone
from streamproc.kernels.delivery import Delivery

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
YEAR_S = 366 * 86400.0
judge = Answers(EndpointOptions()).judge


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 507, 599])
def test_these_are_tried_again(status: int) -> None:
    assert isinstance(judge(status, None, b"", NOW), DeliveryFailed)


@pytest.mark.parametrize("status", [199, 300, 301, 304, 307, 400, 401, 404, 422, 501, 505, 600])
def test_these_never(status: int) -> None:
    assert isinstance(judge(status, b"1", b"", NOW), DeliveryRefused)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"0", 0.0),
        (b" 120 ", 120.0),
        (b"999999999999", YEAR_S),
        (b"9" * 5000, YEAR_S),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True).encode(), 90.0),
        (format_datetime(NOW - timedelta(days=9), usegmt=True).encode(), 0.0),
        (format_datetime(NOW + timedelta(days=9), usegmt=True).encode(), 9 * 86400.0),
        (b"Sunday, 01-Mar-26 12:00:30 GMT", 30.0),
        (b"Sun Mar  1 12:00:30 2026", 30.0),
        (b"-5", None),
        (b"1.5", None),
        (b"soon", None),
        (b"", None),
        (b"\xff\xfe", None),
        (b"Sun, 99 Foo 2026 12:00:00 GMT", None),
        (b"\xc2\xb2", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: bytes | None, expected: float | None) -> None:
    assert retry_after_s(value, NOW) == expected
    error = judge(503, value, b"", NOW)
    assert isinstance(error, DeliveryFailed)
    assert error.retry_after_s == expected


def test_the_error_says_status_and_what_the_endpoint_said_on_one_line() -> None:
    error = judge(409, None, b"no\r\nsuch \xff field", NOW)
    assert str(error) == "endpoint answered 409 Conflict: no  such \ufffd field"
    assert error.details["status"] == 409
    assert str(judge(799, None, b"", NOW)) == "endpoint answered 799"


dates = st.builds(
    "{}, {:02d} {} {:04d} {:02d}:{:02d}:{:02d} {}".format,
    st.sampled_from(["Mon", "Sun", ""]),
    st.integers(0, 40),
    st.sampled_from(["Jan", "Feb", "Dec", "Foo"]),
    st.integers(0, 99_999),
    *[st.integers(0, 70)] * 3,
    st.sampled_from(["GMT", "+2359", "-9999", "", "EST", "+99999999"]),
)


@given(st.binary(max_size=40) | dates.map(str.encode))
def test_whatever_retry_after_says_it_is_a_time_to_wait_or_nothing(value: bytes) -> None:
    found = retry_after_s(value, NOW)
    assert found is None or 0 <= found <= YEAR_S


def test_410_stops_the_target() -> None:
    error = judge(410, b"5", b"moved away", NOW)
    assert isinstance(error, EndpointGone)
    assert str(error) == "endpoint answered 410 Gone: moved away"
    assert error.retry_after_s is None


def test_every_rule_can_be_set() -> None:
    answers = Answers(
        EndpointOptions(
            success_status="200-204,409",
            retry_status=["404", "5xx"],
            permanent_status="503",
            stop_status="401, 403",
        )
    )
    assert answers.success == {200, 201, 202, 203, 204, 409}
    assert isinstance(answers.judge(404, None, b"", NOW), DeliveryFailed)
    assert isinstance(answers.judge(501, None, b"", NOW), DeliveryFailed)
    assert isinstance(answers.judge(503, None, b"", NOW), DeliveryRefused)
    assert isinstance(answers.judge(403, None, b"", NOW), EndpointGone)
    assert isinstance(answers.judge(410, None, b"", NOW), DeliveryRefused)
    assert isinstance(answers.judge(205, None, b"", NOW), DeliveryRefused)


def test_statuses_that_cannot_be_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="retryStatus: expected statuses such as"):
        Answers(EndpointOptions(retry_status="often"))


@pytest.mark.parametrize(
    ("address", "headers", "again"),
    [
        ("POST:/x", {}, False),
        ("PATCH:/x", {"content-type": "a"}, False),
        ("PUT:/x", {}, True),
        ("put:/x", {}, True),
        ("DELETE:/x", {}, True),
        ("POST:/x", {"Idempotency-Key": "7"}, True),
    ],
)
def test_a_request_in_doubt_is_repeated_where_that_does_no_harm(address, headers, again) -> None:
    delivery = Delivery(0, "k", address, headers, b"")
    strict = Answers(EndpointOptions(retry_in_doubt=False)).unanswered(delivery, "no answer")
    assert isinstance(strict, DeliveryFailed if again else DeliveryRefused)
    assert str(strict).startswith("no answer")
    # At least once is the default: a message may come twice, and is never lost.
    assert isinstance(Answers(EndpointOptions()).unanswered(delivery, "no answer"), DeliveryFailed)
