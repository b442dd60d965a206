"""The few AMQP 0.9.1 frames that are sent once a message, as bytes. Pure.

aiormq builds objects for each; these go out by the hundred. What is received, and what is
sent once a link, is left to it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

SHORT = 255  # bytes: names, keys, property values
OVERHEAD = 8  # bytes of a frame around its payload
END = b"\xce"

_METHOD, _HEADER, _BODY = 1, 2, 3
_FRAME = struct.Struct(">BHL")  # type, channel, payload size
_ACK = struct.Struct(">BHLHHQBB")
_HEAD = struct.Struct(">HHQH")  # class, weight, body size, property flags
_LONG = struct.Struct(">L")

_BASIC = 60
_PUBLISH = struct.pack(">HHH", _BASIC, 40, 0)
_MANDATORY = b"\x01"

_CONTENT_TYPE, _HEADERS, _DELIVERY_MODE = 1 << 15, 1 << 13, 1 << 12
_CORRELATION_ID, _MESSAGE_ID = 1 << 10, 1 << 7
_PERSISTENT = b"\x02"


def ack(channel: int, tag: int, *, multiple: bool) -> bytes:
    """``basic.ack``; *multiple*: of all up to *tag*."""
    return _ACK.pack(_METHOD, channel, 13, _BASIC, 80, tag, multiple, 0xCE)


def nack(channel: int, tag: int, *, requeue: bool) -> bytes:
    """``basic.nack`` of one message."""
    return _ACK.pack(_METHOD, channel, 13, _BASIC, 120, tag, requeue << 1, 0xCE)


def cancel(channel: int, consumer_tag: str) -> bytes:
    """``basic.cancel``, without an answer."""
    method = struct.pack(">HH", _BASIC, 30) + _short("consumer tag", consumer_tag) + b"\x01"
    return _frame(_METHOD, channel, method)


def publish(
    channel: int,
    exchange: str,
    routing_key: str,
    headers: Mapping[str, str],
    message_id: str,
    body: bytes,
    frame_max: int,
) -> bytes:
    """A persistent, mandatory message: all its frames. Raises ValueError: it does not fit.

    ``content-type`` and ``correlation-id`` of *headers* become properties as well.
    """
    method = b"".join(
        (
            _PUBLISH,
            _short("exchange", exchange),
            _short("routing key", routing_key),
            _MANDATORY,
        )
    )
    flags = _DELIVERY_MODE | _MESSAGE_ID
    content_type, correlation_id = headers.get("content-type"), headers.get("correlation-id")
    properties = []
    if content_type is not None:
        flags |= _CONTENT_TYPE
        properties.append(_short("content-type", content_type))
    if headers:
        flags |= _HEADERS
        properties.append(_table(headers))
    properties.append(_PERSISTENT)
    if correlation_id is not None:
        flags |= _CORRELATION_ID
        properties.append(_short("correlation-id", correlation_id))
    properties.append(_short("message id", message_id))
    header = _HEAD.pack(_BASIC, 0, len(body), flags) + b"".join(properties)
    if len(header) + OVERHEAD > frame_max:
        raise ValueError(
            f"headers take {len(header)} bytes, the broker's frames at most {frame_max}"
        )
    room = frame_max - OVERHEAD
    return b"".join(
        (
            _frame(_METHOD, channel, method),
            _frame(_HEADER, channel, header),
            *(_frame(_BODY, channel, body[at : at + room]) for at in range(0, len(body), room)),
        )
    )


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return b"".join((_FRAME.pack(kind, channel, len(payload)), payload, END))


def _short(what: str, text: str) -> bytes:
    data = text.encode()
    if len(data) > SHORT:
        raise ValueError(f"{what} has {len(data)} bytes, at most {SHORT} are possible in AMQP")
    return bytes((len(data),)) + data


def _table(headers: Mapping[str, str]) -> bytes:
    fields: list[bytes] = []
    for name, value in headers.items():
        data = value.encode()
        fields += (_short("header name", name), b"S", _LONG.pack(len(data)), data)
    table = b"".join(fields)
    return _LONG.pack(len(table)) + table
