"""The AMQP 0.9.1 methods that are used, as frames and back. Pure.

What goes out or comes in once a message is read and written by the kernels
(``kernels/amqp091.pyx``, ``kernels/amqp091_publish.pyx``); this is for the rest.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from streamproc.kernels.amqp091_fields import decode_table

PROTOCOL = b"AMQP\x00\x00\x09\x01"  # what a client says first
SHORT = 255  # bytes: names, keys
HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"

_FRAME = struct.Struct(">BHL")  # type, channel, payload size
_METHOD, _END = 1, b"\xce"
_ACK = struct.Struct(">BHLHHQBB")
_INTEGERS = {"B": struct.Struct(">B"), "H": struct.Struct(">H"), "L": struct.Struct(">L")}


class Malformed(ValueError):
    """A method that cannot be read."""


class Method(NamedTuple):
    """``fields``: a letter each. B, H, L: 1, 2, 4 bytes; s, S: short and long text; t: a table;
    ?: a bit, and bits that follow each other share a byte."""

    id: int  # class and method
    fields: str


def _method(class_: int, method: int, fields: str = "") -> Method:
    return Method(class_ << 16 | method, fields)


CONNECTION_START = _method(10, 10, "BBtSS")  # version, properties, mechanisms, locales
CONNECTION_START_OK = _method(10, 11, "tsSs")  # properties, mechanism, response, locale
CONNECTION_SECURE = _method(10, 20, "S")
CONNECTION_TUNE = _method(10, 30, "HLH")  # most channels, largest frame, heartbeat
CONNECTION_TUNE_OK = _method(10, 31, "HLH")
CONNECTION_OPEN = _method(10, 40, "ss?")  # virtual host
CONNECTION_OPEN_OK = _method(10, 41, "s")
CONNECTION_CLOSE = _method(10, 50, "HsHH")  # code, text, of which method
CONNECTION_CLOSE_OK = _method(10, 51)
CONNECTION_BLOCKED = _method(10, 60, "s")  # why
CONNECTION_UNBLOCKED = _method(10, 61)
CHANNEL_OPEN = _method(20, 10, "s")
CHANNEL_OPEN_OK = _method(20, 11, "S")
CHANNEL_FLOW = _method(20, 20, "?")  # whether messages may be sent
CHANNEL_FLOW_OK = _method(20, 21, "?")
CHANNEL_CLOSE = _method(20, 40, "HsHH")  # code, text, of which method
CHANNEL_CLOSE_OK = _method(20, 41)
EXCHANGE_DECLARE = _method(40, 10, "Hss?????t")  # name, type, passive, ...
EXCHANGE_DECLARE_OK = _method(40, 11)
QUEUE_DECLARE = _method(50, 10, "Hs?????t")  # name, passive, ...
QUEUE_DECLARE_OK = _method(50, 11, "sLL")
BASIC_QOS = _method(60, 10, "LH?")  # bytes, messages, of the whole channel
BASIC_QOS_OK = _method(60, 11)
BASIC_CONSUME = _method(60, 20, "Hss????t")  # queue, tag, ...
BASIC_CONSUME_OK = _method(60, 21, "s")
BASIC_CANCEL = _method(60, 30, "s?")  # tag, without an answer
BASIC_PUBLISH = _method(60, 40, "Hss??")  # exchange, routing key, mandatory, immediate
BASIC_RETURN = _method(60, 50, "Hsss")  # code, text, exchange, routing key
CONFIRM_SELECT = _method(85, 10, "?")
CONFIRM_SELECT_OK = _method(85, 11)


def frame(channel: int, method: Method, *arguments: Any) -> bytes:
    """*method* as a frame. Raises ValueError: a text is too long, or is none."""
    parts = [struct.pack(">L", method.id)]
    bits = count = 0
    for kind, value in zip(method.fields, arguments, strict=True):
        if kind == "?":
            bits |= bool(value) << count
            count += 1
            continue
        if count:
            parts.append(bytes((bits,)))
            bits = count = 0
        parts.append(_field(kind, value))
    if count:
        parts.append(bytes((bits,)))
    payload = b"".join(parts)
    return b"".join((_FRAME.pack(_METHOD, channel, len(payload)), payload, _END))


def arguments(method: Method, data: bytes) -> list[Any]:
    """What the kernel gives as the content of *method*, taken apart. Raises Malformed."""
    found: list[Any] = []
    at = bit = 0
    try:
        for kind in method.fields:
            if kind == "?":
                at += bit == 0
                found.append(bool(data[at - 1] >> bit & 1))
                bit += 1
                continue
            bit = 0
            if kind == "t":
                value, size = decode_table(data[at:])
            else:
                value, size = _value(kind, data, at)
            found.append(value)
            at += size
    except (ValueError, struct.error, IndexError) as error:
        said = f"the arguments of {method.id >> 16}.{method.id & 0xFFFF}"
        raise Malformed(f"{said}: {error}") from error
    return found


def ack(channel: int, tag: int, *, multiple: bool) -> bytes:
    """``basic.ack``; *multiple*: of all up to *tag*."""
    return _ACK.pack(_METHOD, channel, 13, 60, 80, tag, multiple, 0xCE)


def nack(channel: int, tags: Sequence[int], *, requeue: bool) -> bytes:
    """``basic.nack`` of each."""
    bits = requeue << 1
    return b"".join([_ACK.pack(_METHOD, channel, 13, 60, 120, tag, bits, 0xCE) for tag in tags])


def publish(channel: int, exchange: str, routing_key: str) -> bytes:
    """``basic.publish`` of what must reach a queue. Raises ValueError."""
    for what, name in (("exchange", exchange), ("routing key", routing_key)):
        if len(name.encode()) > SHORT:
            size = len(name.encode())
            raise ValueError(f"{what} has {size} bytes, at most {SHORT} are possible in AMQP")
    return frame(channel, BASIC_PUBLISH, 0, exchange, routing_key, True, False)


def _field(kind: str, value: Any) -> bytes:
    if kind in _INTEGERS:
        return _INTEGERS[kind].pack(value)
    if kind == "s":
        return _short(value)
    if kind == "S":
        data = value if isinstance(value, bytes) else value.encode()
        return struct.pack(">L", len(data)) + data
    return _table(value)


def _short(text: str) -> bytes:
    data = text.encode()
    if len(data) > SHORT:
        raise ValueError(f"{text[:20]!r}... has {len(data)} bytes, at most {SHORT} are possible")
    return bytes((len(data),)) + data


def _table(fields: Mapping[str, Any]) -> bytes:
    """Of texts, truths, integers and tables: what a client says of itself."""
    parts = []
    for name, value in fields.items():
        match value:
            case bool():
                typed = b"t" + bytes((value,))
            case int():
                typed = b"l" + struct.pack(">q", value)
            case str():
                typed = b"S" + _field("S", value)
            case _:
                typed = b"F" + _table(value)
        parts.append(_short(name) + typed)
    table = b"".join(parts)
    return struct.pack(">L", len(table)) + table


def _value(kind: str, data: bytes, at: int) -> tuple[Any, int]:
    if kind in _INTEGERS:
        integer = _INTEGERS[kind]
        return integer.unpack_from(data, at)[0], integer.size
    lead = 1 if kind == "s" else 4
    size = int.from_bytes(data[at : at + lead])
    if at + lead + size > len(data):
        raise ValueError("a text that is longer than what it is in")
    return data[at + lead : at + lead + size].decode("utf-8", "replace"), lead + size
