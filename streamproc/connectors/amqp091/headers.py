"""The headers of a message from RabbitMQ, as text."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
from pamqp.header import ContentHeader


def texts(header: ContentHeader, delivery_tag: int) -> dict[str, str]:
    """Message headers, then what the message's properties say, which wins."""
    properties = header.properties
    fields = properties.headers
    found = {} if not fields else {str(name): _text(value) for name, value in fields.items()}
    if properties.reply_to is not None:
        found["reply-to"] = properties.reply_to
    if properties.correlation_id is not None:
        found["correlation-id"] = properties.correlation_id
    if properties.content_type is not None:
        found["content-type"] = properties.content_type
    found["messageId"] = str(delivery_tag)
    return found


def _text(value: Any) -> str:
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
            return orjson.dumps(value, default=_text).decode()
        case _:
            return str(value)
