"""Ditto errors of the protocol: what is said of a bad message, and the response it gets.

The sentences are here once, so that whoever finds a mistake only says which.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from streamproc.errors import SignalError, StreamprocError
from streamproc.kernels.signal import Signal, Topic

MAX_SHOWN: Final = 160  # characters of a sender's text that an error repeats
# Headers of a failed message that its error response carries on: who asked, and for whom.
_CARRIED: Final = ("correlation-id", "traceparent", "tracestate")
_VALUE_KEYS: Final = ("status", "error", "message", "description", "href")


def shown(text: str) -> str:
    """*text* quoted, cut to a length that suits logs and error responses."""
    return repr(text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…")


def empty_payload() -> SignalError:
    """The payload has no byte."""
    return SignalError(
        "connectivity:message.mapping.failed",
        "the message has no payload",
        description="a Ditto protocol message, a JSON object, was expected",
    )


def not_json(reason: str) -> SignalError:
    """The payload is no JSON, or nested too deeply."""
    return SignalError(
        "json.invalid",
        f"the payload is not a Ditto protocol message: {reason}",
        description="a JSON object with topic, headers, path and value was expected",
    )


def missing(field: str) -> SignalError:
    """A required member of the envelope is not there, or null."""
    return SignalError(
        "json.field.missing",
        f"the message has no {field!r}",
        description=f"a Ditto protocol message must have a {field!r}",
    )


def wrong_type(field: str, found: object, expected: str) -> SignalError:
    """A member of the envelope is of the wrong type, or out of range."""
    return SignalError(
        "json.invalid",
        f"{field!r} of the message is {_kind(found)}, expected {expected}",
    )


def headers_too_large(size: int, limit: int) -> SignalError:
    """Names and values of the headers are longer together than allowed."""
    return SignalError(
        "headers.too.large",
        f"the headers have {size} bytes, at most {limit} are allowed",
        description="send fewer or shorter headers",
    )


def bad_pointer(path: str, reason: str) -> SignalError:
    """The path is no JSON pointer."""
    return SignalError(
        "json.pointer.invalid",
        f"the path {shown(path)} is not a JSON pointer: {reason}",
    )


def reply(
    error: StreamprocError,
    topic: Topic | None,
    *,
    cause: Signal | None = None,
    external: Mapping[str, str] | None = None,
) -> Signal:
    """The error response to a message about the entity of *topic*; None: it is not known.

    *cause* is the message that failed, if it came as far as being one: its correlation-id
    goes back to its sender. *external* are the headers it came with: where there is no
    topic their ``device_id`` names the entity, as well as it can.
    """
    value = {key: part for key, part in error.as_dict().items() if key in _VALUE_KEYS}
    headers = {"content-type": "application/json", "response-required": "false"}
    known = external if cause is None else cause.headers
    if known is not None:
        headers.update((name, known[name]) for name in _CARRIED if name in known)
    about = error_topic(topic, "" if external is None else external.get("device_id", ""))
    response = Signal(about, "/", headers, value, status=error.status)
    if cause is not None:
        response.subjects = cause.subjects
    return response


def error_topic(topic: Topic | None, device_id: str = "") -> Topic:
    """The topic of an error about the entity of *topic*, else about the thing *device_id*."""
    if topic is None:
        namespace, _, name = device_id.partition(":")
        if not namespace or not name or "/" in device_id:
            namespace = name = "_"
        group, channel = "things", "twin"
    else:
        namespace, name = topic.namespace, topic.name
        group, channel = topic.group, topic.channel
    middle = group if channel == "none" else f"{group}/{channel}"
    return Topic(f"{namespace}/{name}/{middle}/errors", namespace, name, group, channel, "errors")


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return f"the number {value}"
        case float():
            return "a fraction"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"
