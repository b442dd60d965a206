"""``context`` of a case: the sources of placeholders, as headers and a signal."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from streamproc.errors import StreamprocError
from streamproc.kernels.signal import ABSENT, Signal
from streamproc.lang.scopes import SOURCE_ADDRESS_HEADER
from streamproc.protocol.topic import parse as parse_topic


def headers_of(context: Mapping[str, Any]) -> dict[str, str]:
    """Raw headers, with the source address where an MQTT source would put it."""
    headers = texts(context.get("headers") or {}, "headers")
    if "sourceAddress" in context:
        headers[SOURCE_ADDRESS_HEADER] = text(context["sourceAddress"], "sourceAddress")
    return headers


def signal_of(context: Mapping[str, Any]) -> Signal:
    """A signal that knows what *context* says, and nothing else."""
    message = context.get("message")
    topic = context.get("topic")
    resource = context.get("resource") or {}
    if message is not None:
        signal = _of_message(message)
    else:
        signal = Signal(None if topic is None else parse_topic(text(topic, "topic")))
        signal.entity_id = None
        signal.path = resource.get("path")  # type: ignore[assignment]  # None: not known
        signal.resource_type = resource.get("type")
    if "thingId" in context:
        signal.entity_id = text(context["thingId"], "thingId")
    if "policyId" in context:
        signal.policy_id = text(context["policyId"], "policyId")
    if "extra" in context:
        signal.extra = context["extra"]
    if "thing" in context:
        signal.thing = context["thing"]
    signal.subjects = tuple(context.get("subjects") or ())
    return signal


def now_of(context: Mapping[str, Any]) -> datetime | None:
    """The fixed clock, if there is one."""
    now = context.get("now")
    if now is None:
        return None
    try:
        moment = datetime.fromisoformat(text(now, "now"))
    except ValueError:
        raise bad_case(f"'now' is {now!r}, expected an ISO-8601 instant") from None
    if moment.tzinfo is None:
        raise bad_case(f"'now' is {now!r}, expected an instant with a time zone")
    return moment


def text(value: object, name: str) -> str:
    """*value*, which must be a string."""
    if not isinstance(value, str):
        raise bad_case(f"{name!r} is {type(value).__name__}, expected a string")
    return value


def texts(value: object, name: str) -> dict[str, str]:
    """*value*, which must be an object of strings; a new dict."""
    if not isinstance(value, dict):
        raise bad_case(f"{name!r} is {type(value).__name__}, expected an object")
    return {key: text(each, f"{name}/{key}") for key, each in value.items()}


def bad_case(message: str) -> StreamprocError:
    """A case that is not as its op wants it."""
    error = StreamprocError(message)
    error.code = "eval.case.invalid"
    error.status = 400
    return error


def _of_message(message: object) -> Signal:
    if not isinstance(message, dict):
        raise bad_case("'message' is no object, expected a Ditto protocol message")
    path = text(message.get("path", "/"), "message/path")
    return Signal(
        parse_topic(text(message.get("topic"), "message/topic")),
        path=path if path.startswith("/") else f"/{path}",
        headers={},
        value=message.get("value", ABSENT),
        extra=message.get("extra"),
        status=message.get("status"),
        revision=message.get("revision"),
        timestamp=message.get("timestamp"),
    )
