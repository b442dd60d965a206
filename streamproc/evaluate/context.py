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
    headers = texts(context.get("headers", {}), "headers")
    if "sourceAddress" in context:
        headers[SOURCE_ADDRESS_HEADER] = text(context["sourceAddress"], "sourceAddress")
    return headers


def signal_of(context: Mapping[str, Any]) -> Signal:
    """A signal that knows what *context* says, and nothing else."""
    message = context.get("message")
    topic = context.get("topic")
    resource = _object(context.get("resource", {}), "resource")
    if message is not None:
        signal = _of_message(message)
    else:
        signal = Signal(None if topic is None else parse_topic(text(topic, "topic")))
        signal.entity_id = None
        # None: not known, as a signal's path never is in the service.
        signal.path = _optional(resource, "path")  # type: ignore[assignment]
        signal.resource_type = _optional(resource, "type")
    if "thingId" in context:
        signal.entity_id = text(context["thingId"], "thingId")
    if "policyId" in context:
        signal.policy_id = text(context["policyId"], "policyId")
    if "extra" in context:
        signal.extra = _object(context["extra"], "extra")
    if "thing" in context:
        signal.thing = _object(context["thing"], "thing")
    subjects = context.get("subjects", [])
    if not isinstance(subjects, list):
        raise bad_case(f"'subjects' is {type(subjects).__name__}, expected an array of strings")
    signal.subjects = tuple([text(subject, "subjects") for subject in subjects])
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
    return {key: text(each, f"{name}/{key}") for key, each in _object(value, name).items()}


def context_of(case: Mapping[str, Any]) -> dict[str, Any]:
    """The context of *case*, empty where there is none."""
    return _object(case.get("context", {}), "context")


def bad_case(message: str) -> StreamprocError:
    """A case that is not as its op wants it."""
    error = StreamprocError(message)
    error.code = "eval.case.invalid"
    error.status = 400
    return error


def _of_message(message: object) -> Signal:
    message = _object(message, "message")
    path = text(message.get("path", "/"), "message/path")
    return Signal(
        parse_topic(text(message.get("topic"), "message/topic")),
        path=path if path.startswith("/") else f"/{path}",
        value=message.get("value", ABSENT),
        extra=_object(message["extra"], "message/extra") if "extra" in message else None,
        revision=message.get("revision"),
        timestamp=_optional(message, "timestamp"),
    )


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise bad_case(f"{name!r} is {type(value).__name__}, expected an object")
    return value


def _optional(values: Mapping[str, Any], name: str) -> str | None:
    return text(values[name], name) if values.get(name) is not None else None
