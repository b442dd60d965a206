"""No bytes from a broker crash, hang or mislead what takes AMQP apart."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import pamqp.frame
from pamqp import commands

sys.path.insert(0, str(Path(__file__).parents[2]))

from streamproc.connectors.amqp091 import methods
from streamproc.connectors.amqp091.methods import Malformed, Method
from streamproc.kernels import amqp091
from streamproc.kernels.amqp091 import Decoder
from streamproc.kernels.amqp091_fields import decode_table, decode_texts
from tests.fuzz.fuzzer import run
from tests.reference.amqp091 import Message, frames

FRAME_MAX = 4096
MOST_BODY = 64
EVERY = {method.id: method for method in vars(methods).values() if isinstance(method, Method)}

_RICH = commands.Basic.Properties(
    content_type="text/plain",
    headers={"a": [1, {"b": None}], "n": -7, "t": True, "s": "text", "f": 1.5},
    correlation_id="c",
    reply_to="r",
    message_id="m",
    delivery_mode=2,
)
_SENT = [
    Message(1, 1, commands.Basic.Properties(), b""),
    Message(1, 2, _RICH, b"x" * 100),
    Message(2, 3, _RICH, b"y", (312, "NO_ROUTE", "ex", "key")),
]
_METHODS = [
    commands.Connection.Start(0, 9, {"capabilities": {"basic.nack": True}}, "PLAIN", "en_US"),
    commands.Connection.Tune(2047, 131_072, 60),
    commands.Connection.Close(320, "CONNECTION_FORCED", 0, 0),
    commands.Connection.Blocked("low on memory"),
    commands.Channel.Close(404, "NOT_FOUND", 50, 10),
    commands.Basic.Cancel("0", True),
    commands.Basic.Ack(7, True),
]
SEEDS = [
    *(frames(message, 40) for message in _SENT),
    b"".join(frames(message) for message in _SENT),
    *(pamqp.frame.marshal(method, 1) for method in _METHODS),
]
TOKENS = [
    *(struct.pack(">BHL", kind, 1, size) for kind in (1, 2, 3, 8) for size in (0, 4, 14, 1 << 31)),
    *(struct.pack(">L", method) for method in EVERY),
    *(b"\xce", b"\x00" * 8, b"\xff" * 8, b"\x00\x3c\x00\x00", b"\xfe\xff", b"\x00\x01"),
    *(
        b"\x01aF\x00\x00\x00\x05",
        b"\x01aA\x00\x00\x00\x05",
        b"S\x00\x00\x00\x01",
        b"tbBsuIilLfdDSTAFVx",
    ),
]


def target(data: bytes) -> None:
    """The first byte cuts the rest into pieces, which must change nothing."""
    size, data = data[0] % 40 + 1 if data else 1, data[1:]
    whole, why = _read([data])
    cut, why_of_cut = _read([data[at : at + size] for at in range(0, len(data), size)])
    assert why == why_of_cut
    assert cut == whole or why
    for read in (decode_table, decode_texts):
        try:
            _, taken = read(data)
        except ValueError:
            continue
        assert 4 <= taken <= len(data)
    for method in EVERY.values():
        _arguments(method, data)


def _read(pieces: list[bytes]) -> tuple[list[Any], str]:
    decoder, found, spoiled = Decoder(FRAME_MAX, MOST_BODY), [], []
    try:
        for piece in pieces:
            for channel, method, content in decoder.feed(piece):
                if method == amqp091.DELIVER:
                    assert all(len(body) <= MOST_BODY + 1 for body in content.payloads)
                    assert content.size == sum(map(len, content.payloads))
                    found += zip(content.tags, content.payloads, content.headers, strict=True)
                    spoiled += content.spoiled
                else:
                    found.append((channel, method, content))
                    if method in EVERY and isinstance(content, bytes):
                        _arguments(EVERY[method], content)
    except ValueError as error:
        return [], str(error)
    return [*found, *spoiled], ""


def _arguments(method: Method, data: bytes) -> None:
    try:
        assert len(methods.arguments(method, data)) == len(method.fields)
    except Malformed:
        return


if __name__ == "__main__":
    run(target, SEEDS, TOKENS)
