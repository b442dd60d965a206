"""The envelope as the protocol describes it, slowly: JSON object <-> signal."""

from __future__ import annotations

import json
from typing import Any

import orjson

from streamproc.errors import SignalError
from streamproc.kernels.signal import ABSENT, Signal, Topic
from streamproc.protocol import errors, headers, topic

MAX_DEPTH = 128
MAX_SEGMENTS = 64


def parse(payloads: list[bytes], max_header_bytes: int) -> list[Signal | SignalError]:
    results: list[Signal | SignalError] = []
    for payload in payloads:
        try:
            results.append(_parse(payload, max_header_bytes))
        except SignalError as error:
            results.append(error)
    return results


def _parse(payload: bytes, max_header_bytes: int) -> Signal:
    if payload == b"":
        raise errors.empty_payload()
    try:
        envelope = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise errors.not_json(str(error)) from None
    if not isinstance(envelope, dict):
        raise errors.not_json("it is not an object")
    if _depth(envelope) > MAX_DEPTH:
        raise errors.not_json(f"it is nested more than {MAX_DEPTH} levels deep")
    topic_text = _required(envelope, "topic")
    path = _required(envelope, "path")
    about = topic.parse(topic_text)
    path = _pointer(path, about)
    return Signal(
        about,
        path,
        _headers(_optional(envelope, "headers", dict, "an object"), max_header_bytes),
        envelope.get("value", ABSENT),
        _optional(envelope, "extra", dict, "an object"),
        _status(_optional(envelope, "status", int, "a whole number")),
        _optional(envelope, "revision", int, "a whole number"),
        _optional(envelope, "timestamp", str, "a string"),
        _optional(envelope, "fields", str, "a string"),
        _optional(envelope, "metadata", dict, "an object"),
    )


def _depth(value: Any) -> int:
    depth = 0
    level = [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [
            item
            for container in level
            for item in (container.values() if isinstance(container, dict) else container)
        ]
    return depth


def _required(envelope: dict[str, Any], field: str) -> str:
    if envelope.get(field) is None:
        raise errors.missing(field)
    if not isinstance(envelope[field], str):
        raise errors.wrong_type(field, envelope[field], "a string")
    return envelope[field]


def _optional(envelope: dict[str, Any], field: str, kind: type, expected: str) -> Any:
    value = envelope.get(field)
    if value is not None and type(value) is not kind:
        raise errors.wrong_type(field, value, expected)
    return value


def _status(status: int | None) -> int | None:
    if status is not None and not 100 <= status <= 599:
        raise errors.wrong_type("status", status, "an HTTP status")
    return status


def _pointer(path: str, about: Topic) -> str:
    if not path.startswith("/"):
        path = "/" + path
    if path.count("/") > MAX_SEGMENTS:
        raise errors.bad_pointer(path, f"it has more than {MAX_SEGMENTS} segments")
    if about.criterion == "messages":
        return path  # the subject at its end may hold any slashes
    if "//" in path:
        raise errors.bad_pointer(path, "it has an empty segment")
    return path.removesuffix("/") or "/"


def _headers(found: dict[str, Any] | None, limit: int) -> dict[str, str]:
    accepted: dict[str, Any] = {}
    for name, value in (found or {}).items():
        if value is not None and name.lower() not in headers.REFUSED:
            accepted[name.lower()] = value
    result = {}
    for name, value in accepted.items():
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        result[name] = headers.normal(name, text)
    size = sum(len(name.encode()) + len(text.encode()) for name, text in result.items())
    if size > limit:
        raise errors.headers_too_large(size, limit)
    return result


def encode(signals: list[Signal]) -> list[bytes]:
    return [_dump(_envelope(signal)) for signal in signals]


def _envelope(signal: Signal) -> dict[str, Any]:
    assert signal.topic is not None
    envelope: dict[str, Any] = {
        "topic": signal.topic.full,
        "headers": {
            name: _external(name, text)
            for name, text in signal.headers.items()
            if name not in headers.WITHHELD
        },
        "path": signal.path,
    }
    if signal.value is not ABSENT:
        envelope["value"] = signal.value
    for field in ("extra", "status", "revision", "timestamp", "metadata", "fields"):
        value = getattr(signal, field)
        if value is not None:
            envelope[field] = value
    return envelope


def _external(name: str, text: str) -> Any:
    if name in headers.BOOLEANS and text in ("true", "false"):
        return text == "true"
    if name in headers.JSON or name in headers.NUMBERS:
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return text
        if name == "requested-acks" and isinstance(value, list):
            return [label for label in value if label not in headers.DITTO_LABELS]
        return value
    return text


def _dump(envelope: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(envelope)
    except TypeError:
        return json.dumps(envelope, separators=(",", ":")).encode()
