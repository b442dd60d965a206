"""``acks``: which acknowledgements are asked for, and what comes of the answers."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

from streamproc.config.duration import seconds
from streamproc.config.ends import LABEL_INVALID
from streamproc.errors import ExpressionError, SignalError, StreamprocError
from streamproc.evaluate.context import bad_case, context_of, now_of, signal_of, text, texts
from streamproc.kernels.signal import ABSENT
from streamproc.kernels.template import Template
from streamproc.lang.plan import Plan
from streamproc.lang.scopes import Scope
from streamproc.lang.template import parse, parse_condition
from streamproc.protocol import acks
from streamproc.protocol.acks import Acknowledgement, Answer

Case = dict[str, Any]
_ENTITY = "ns/thing"


def acknowledgements(case: Case) -> Any:
    """The answer to one case; see ``kind``."""
    kind = case.get("kind")
    if kind not in _KINDS:
        raise bad_case(f"kind must be one of {', '.join(_KINDS)}, found {kind!r}")
    return _KINDS[kind](case)


def _aggregate(case: Case) -> Case:
    timeout_ms = _number(case.get("timeoutMs", acks.MAX_TIMEOUT_MS), "timeoutMs")
    received = [_acknowledgement(each) for each in _array(case.get("received", []), "received")]
    labels = _labels(case.get("requested", []), "requested")
    found = acks.aggregate(labels, received, timeout_ms)
    return {
        "status": found.status,
        "successful": found.successful,
        "complete": found.complete,
        "missing": [ack.label for ack in found.acks if ack.status == acks.TIMEOUT],
        "failed": [ack.label for ack in found.acks if not ack.successful],
        "succeeded": [ack.label for ack in found.acks if ack.successful],
        "protocolTopic": f"{_ENTITY}/things/{case.get('channel', 'twin')}/acks",
        "protocolValue": found.value(),
        "protocolStatus": found.status,
    }


def _acknowledgement(value: object) -> Acknowledgement:
    fields = _object(value, "received")
    status = _number(fields.get("status"), "received/status")
    label = text(fields.get("label"), "received/label")
    return Acknowledgement(label, status, fields.get("payload", ABSENT))


# What Ditto takes; a service here also takes blanks in the placeholder.
_LABEL = re.compile(r"(?:\{\{\w*[a-z]:[a-z]\w*\}\}:)?[a-zA-Z0-9_:-]{3,165}\Z", re.ASCII)


def _label(case: Case) -> str:
    label = case.get("label")
    if not isinstance(label, str) or not _LABEL.match(label):
        raise ExpressionError(
            LABEL_INVALID,
            f"the label {label!r} is invalid, expected 3 to 165 letters, digits, '-', '_' or ':', "
            "after one placeholder without blanks and a colon if need be",
        )
    return "valid"


_LIVE = frozenset({"liveResponse", "liveCommandResponse", "messageResponse"})


def _settlement(case: Case) -> Case:
    given = _object(case.get("input"), "input")
    if "exceptionStatus" in given:
        status = given["exceptionStatus"]
        of_failure = None if status is None else _number(status, "input/exceptionStatus")
        found = acks.settlement_of_failure(of_failure)
    else:
        answers = [_answer(each) for each in _array(given.get("responses", []), "responses")]
        found = acks.settlement(answers, _number(given.get("expected", len(answers)), "expected"))
    return {"settled": True} if found.settled else {"settled": False, "redeliver": found.redeliver}


def _answer(value: object) -> Answer:
    fields = _object(value, "responses")
    parts = [_number(part, "acks") for part in _array(fields.get("acks", []), "acks")]
    status = _number(fields.get("status"), "responses/status")
    return Answer(status, tuple(parts), live=fields.get("type") in _LIVE)


def _requested_filter(case: Case) -> Any:
    asked = case.get("requestedAcks")
    wanted = acks.requested(
        None if asked is None else _labels(asked, "requestedAcks"),
        _labels(case.get("includes", []), "includes"),
        None if case.get("filter") is None else _condition(case),
    )
    return {"absent": True} if wanted is None else wanted


def _condition(case: Case) -> Callable[[str | None], str | None]:
    expression = text(case.get("filter"), "filter")
    context = context_of(case)
    headers = texts(case.get("externalHeaders", context.get("headers", {})), "externalHeaders")
    headers = {name.lower(): value for name, value in headers.items()}

    def evaluate(piped: str | None) -> str | None:
        plan = _piped(expression, piped)
        found = Template(plan).first([headers], [signal_of(context)], now_of(context))[0]
        if isinstance(found, SignalError):
            raise found
        return found

    return evaluate


def _piped(expression: str, piped: str | None) -> Plan:
    if piped is None:
        return parse(f"{{{{ {expression} }}}}", Scope.SIGNAL)
    return parse_condition(expression, Scope.SIGNAL, piped=piped)


def _of_http(case: Case) -> Case:
    response = _object(case.get("response"), "response")
    label = text(case.get("issuedAckLabel", case.get("label")), "issuedAckLabel")
    status = _number(response.get("status"), "response/status")
    content_type = response.get("contentType")
    body = response.get("body")
    if "bodyBase64" in response:
        body = base64.b64decode(text(response["bodyBase64"], "response/bodyBase64"))
    shown = None if content_type is None else text(content_type, "response/contentType")
    charset = acks.charset_of(shown or "")
    encoded = body if isinstance(body, bytes) else text(body or "", "response/body").encode(charset)
    ack = acks.of_http(label, status, shown, encoded)
    return _shown(ack)


def _of_error(case: Case) -> Case:
    given = _object(case.get("exception", case), "exception")
    error = StreamprocError(text(given.get("message", ""), "exception/message"))
    status = given.get("status")
    error.status = 500 if status is None else _number(status, "exception/status")
    if given.get("description") is not None:
        error.details["description"] = text(given["description"], "exception/description")
    return _shown(acks.of_error(text(case.get("issuedAckLabel", ""), "issuedAckLabel"), error))


def _shown(ack: Acknowledgement) -> Case:
    shown = {"status": ack.status}
    return shown if ack.payload is ABSENT else shown | {"payload": ack.payload}


def _request(case: Case) -> Case:
    headers = _object(case.get("headers", case), "headers")
    channel = case.get("channel", "twin")
    if channel not in ("twin", "live"):
        raise bad_case(f"'channel' is {channel!r}, expected twin or live")
    asked = headers.get("requested-acks", headers.get("requestedAcks"))
    required = headers.get("response-required", headers.get("responseRequired"))
    if isinstance(required, str):
        required = required.strip().lower() == "true"
    found = acks.request(
        channel,
        None if asked is None else _labels(asked, "requested-acks"),
        required,
        _milliseconds(headers.get("timeout")),
    )
    return {
        "requestedAcks": list(found.labels),
        "responseRequired": found.response_required,
        "timeoutMs": found.timeout_ms,
    }


def _milliseconds(value: object) -> int | None:
    if value is None:
        return None
    found_s = seconds(str(value))
    if found_s is None:
        raise SignalError("timeout.invalid", f"the timeout {value!r} is invalid")
    return round(found_s * 1000)


_KINDS: dict[str, Callable[[Case], Any]] = {
    "aggregate": _aggregate,
    "label": _label,
    "settlement": _settlement,
    "requestedAcksFilter": _requested_filter,
    "httpResponseToAck": _of_http,
    "exceptionToAck": _of_error,
    "headerInteraction": _request,
}


def _object(value: object, name: str) -> Case:
    if not isinstance(value, dict):
        raise bad_case(f"{name!r} is {type(value).__name__}, expected an object")
    return value


def _array(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise bad_case(f"{name!r} is {type(value).__name__}, expected an array")
    return value


def _labels(value: object, name: str) -> list[str]:
    return [text(label, name) for label in _array(value, name)]


def _number(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise bad_case(f"{name!r} is {type(value).__name__}, expected a whole number")
    return value
