"""AMQP 0.9.1 read and written slowly, by pamqp: what the kernels are compared with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import orjson
import pamqp.frame
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.header import ContentHeader


class Message(NamedTuple):
    """One that the broker delivers, or returns when it has a *reply*."""

    channel: int
    tag: int
    properties: commands.Basic.Properties
    body: bytes
    reply: tuple[int, str, str, str] | None = None  # code, text, exchange, routing key


def frames(message: Message, room: int = 131_064) -> bytes:
    """What the broker sends for *message*, its body in frames of at most *room* bytes."""
    if message.reply is None:
        method: Any = commands.Basic.Deliver("c", message.tag, False, "exchange", "key")
    else:
        method = commands.Basic.Return(*message.reply)
    header = ContentHeader(0, len(message.body), message.properties)
    bodies = [message.body[at : at + room] for at in range(0, len(message.body), room)]
    parts = [method, header, *map(ContentBody, bodies)]
    return b"".join(pamqp.frame.marshal(part, message.channel) for part in parts)


def unmarshalled(data: bytes) -> Iterable[tuple[int, Any]]:
    """(channel, frame) of each frame in *data*."""
    while data:
        taken, channel, frame = pamqp.frame.unmarshal(data)
        data = data[taken:]
        yield channel, frame


def texts(header: ContentHeader, delivery_tag: int) -> dict[str, str]:
    """Message headers, then what the message's properties say, which wins."""
    properties = header.properties
    fields: Mapping[str, Any] = properties.headers or {}
    found = {name: text(value) for name, value in fields.items()}
    if properties.reply_to is not None:
        found["reply-to"] = properties.reply_to
    if properties.correlation_id is not None:
        found["correlation-id"] = properties.correlation_id
    if properties.content_type is not None:
        found["content-type"] = properties.content_type
    found["messageId"] = str(delivery_tag)
    return found


def text(value: Any) -> str:
    """A header's value of any type, as text."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case bytes() | bytearray():
            return value.decode("utf-8", "replace")
        case None:
            return ""
        case datetime():
            return value.isoformat()
        case dict() | list():
            return orjson.dumps(value, default=text).decode()
        case _:
            return str(value)
