"""Every field of a message becomes text; properties win over headers."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from streamproc.connectors.amqp091.headers import texts


def of(headers=None, **properties):
    made = Basic.Properties(headers=headers, **properties)
    return texts(ContentHeader(0, 0, made), 7)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "text"),
        ("", ""),
        (b"bytes", "bytes"),
        (b"\xff", "�"),
        (True, "true"),
        (False, "false"),
        (42, "42"),
        (-1.5, "-1.5"),
        (Decimal("1.10"), "1.10"),
        (None, ""),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05+00:00"),
        ({"a": [1, b"x"]}, '{"a":[1,"x"]}'),
        ([], "[]"),
    ],
)
def test_a_value_of_any_type_becomes_text(value, expected):
    assert of({"h": value})["h"] == expected


def test_properties_have_names_of_headers_and_win():
    lies = dict.fromkeys(("reply-to", "correlation-id", "content-type", "messageId"), "lie")
    found = of(lies | {"own": "1"}, reply_to="r", correlation_id="c", content_type="t")
    assert found == {
        "own": "1",
        "reply-to": "r",
        "correlation-id": "c",
        "content-type": "t",
        "messageId": "7",
    }


def test_properties_that_are_missing_are_left_out():
    assert of() == {"messageId": "7"}
