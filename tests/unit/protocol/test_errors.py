"""The error response that a sender of a bad message gets."""

from __future__ import annotations

import orjson
import pytest

from streamproc.errors import SignalError
from streamproc.kernels.envelope import encode, parse
from streamproc.kernels.signal import Signal
from streamproc.protocol import topic
from streamproc.protocol.errors import MAX_SHOWN, error_topic, reply, shown, wrong_type

ERROR = SignalError(
    "things:id.invalid", "the id is bad", description="it should be good", secret="x"
)


def test_it_has_dittos_shape() -> None:
    about = topic.parse("org.acme/t/things/twin/commands/modify")
    cause = Signal(about, "/attributes/x", {"correlation-id": "c", "x-mine": "1"})
    cause.subjects = ("a:1",)
    response = reply(ERROR, about, cause=cause)
    assert orjson.loads(encode([response])[0]) == {
        "topic": "org.acme/t/things/twin/errors",
        "headers": {
            "content-type": "application/json",
            "response-required": False,
            "correlation-id": "c",
        },
        "path": "/",
        "value": {
            "status": 400,
            "error": "things:id.invalid",
            "message": "the id is bad",
            "description": "it should be good",
        },
        "status": 400,
    }
    assert response.subjects == ("a:1",)
    [back] = parse(encode([response]), 5120)
    assert isinstance(back, Signal)
    assert back.topic == response.topic


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a/b/things/live/messages/x", "a/b/things/live/errors"),
        ("a/b/policies/commands/modify", "a/b/policies/errors"),
        ("_/_/things/twin/commands/retrieve", "_/_/things/twin/errors"),
    ],
)
def test_it_is_about_the_entity_of_the_message(text: str, expected: str) -> None:
    found = error_topic(topic.parse(text))
    again = topic.parse(expected)
    assert found.full == expected
    assert (found.entity_id, found.channel) == (again.entity_id, again.channel)


@pytest.mark.parametrize(
    ("device_id", "expected"),
    [
        ("org.acme:t", "org.acme/t/things/twin/errors"),
        ("org.acme:t:x", "org.acme/t:x/things/twin/errors"),
        ("", "_/_/things/twin/errors"),
        ("t", "_/_/things/twin/errors"),
        (":t", "_/_/things/twin/errors"),
        ("a:", "_/_/things/twin/errors"),
        ("a:b/things/twin/commands/x", "_/_/things/twin/errors"),
    ],
)
def test_an_unknown_entity_is_taken_from_the_device_id(device_id: str, expected: str) -> None:
    response = reply(ERROR, None, external={"device_id": device_id, "correlation-id": "c"})
    assert response.topic is not None
    assert response.topic.full == expected
    assert response.headers["correlation-id"] == "c"


def test_nothing_is_known() -> None:
    response = reply(ERROR, None)
    assert response.topic is not None
    assert response.topic.full == "_/_/things/twin/errors"
    assert response.entity_id is None


def test_a_senders_text_is_repeated_in_part() -> None:
    assert shown("short") == "'short'"
    assert len(shown("x" * 10_000)) <= MAX_SHOWN + 3
    assert "\n" not in shown("a\nb")


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (None, "null"),
        (True, "a boolean"),
        (7, "the number 7"),
        (0.5, "a fraction"),
        ("x", "a string"),
        ([], "an array"),
        ({}, "an object"),
    ],
)
def test_what_was_found_is_named(value: object, named: str) -> None:
    assert f"is {named}," in str(wrong_type("status", value, "a whole number"))
