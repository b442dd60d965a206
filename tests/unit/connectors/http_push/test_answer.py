"""Which answers are tried again, and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from streamproc.connectors.http_push.answer import judge, retry_after_s
from streamproc.errors import DeliveryFailed, DeliveryRefused

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 507, 599])
def test_these_are_tried_again(status: int) -> None:
    assert isinstance(judge(status, None, b"", NOW), DeliveryFailed)


@pytest.mark.parametrize("status", [300, 301, 304, 307, 400, 401, 404, 409, 410, 422, 501, 505])
def test_these_never(status: int) -> None:
    assert isinstance(judge(status, b"1", b"", NOW), DeliveryRefused)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"0", 0.0),
        (b" 120 ", 120.0),
        (b"999999999999", 3600.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True).encode(), 90.0),
        (format_datetime(NOW - timedelta(days=9), usegmt=True).encode(), 0.0),
        (format_datetime(NOW + timedelta(days=9), usegmt=True).encode(), 3600.0),
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
def test_retry_after_is_seconds_or_a_date_up_to_an_hour(
    value: bytes | None, expected: float | None
) -> None:
    assert retry_after_s(value, NOW) == expected
    error = judge(503, value, b"", NOW)
    assert isinstance(error, DeliveryFailed)
    assert error.retry_after_s == expected


def test_the_error_says_status_and_what_the_endpoint_said_on_one_line() -> None:
    error = judge(409, None, b"no\r\nsuch \xff field", NOW)
    assert str(error) == "endpoint answered 409 Conflict: no  such \ufffd field"
    assert error.details["status"] == 409
    assert str(judge(799, None, b"", NOW)) == "endpoint answered 799"
