"""The least of AMQP 0.9.1 that a device and an ear need: nothing here may be slow, or ours."""

from __future__ import annotations

import socket
import struct
from typing import Self

GUEST = b"\0guest\0guest"
FRAME_BYTES = 131_072
METHOD, HEADER, BODY, END = 1, 2, 3, b"\xce"
HAS_HEADERS_AND_MODE = 0x3000
PERSISTENT = 2


def short(text: str) -> bytes:
    """A short string."""
    data = text.encode()
    return bytes((len(data),)) + data


def long(data: bytes) -> bytes:
    """A long string."""
    return struct.pack(">I", len(data)) + data


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + END


def method(channel: int, of: int, number: int, arguments: bytes) -> bytes:
    return frame(METHOD, channel, struct.pack(">HH", of, number) + arguments)


def publication(routing_key: str, headers: dict[str, str], body: bytes) -> bytes:
    """A persistent message to a queue, as three frames."""
    table = long(
        b"".join(short(name) + b"S" + long(value.encode()) for name, value in headers.items())
    )
    return (
        method(1, 60, 40, b"\0\0" + short("") + short(routing_key) + b"\0")
        + frame(
            HEADER,
            1,
            struct.pack(">HHQH", 60, 0, len(body), HAS_HEADERS_AND_MODE)
            + table
            + bytes((PERSISTENT,)),
        )
        + frame(BODY, 1, body)
    )


class Link:
    """A connection with one channel, number 1. A context manager."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""
        start_ok = long(b"") + short("PLAIN") + long(GUEST) + short("en_US")
        self.socket.sendall(b"AMQP\0\0\x09\x01")
        self._expect(10, 10)
        self.socket.sendall(method(0, 10, 11, start_ok))
        self._expect(10, 30)
        self.socket.sendall(method(0, 10, 31, struct.pack(">HIH", 1, FRAME_BYTES, 0)))
        self.socket.sendall(method(0, 10, 40, short("/") + short("") + b"\0"))
        self._expect(10, 41)
        self.socket.sendall(method(1, 20, 10, short("")))
        self._expect(20, 11)

    def consume(self, queue: str) -> None:
        """Have all of *queue* sent, with nothing to acknowledge."""
        no_ack = b"\x02"
        self.socket.sendall(
            method(1, 60, 20, b"\0\0" + short(queue) + short("ear") + no_ack + long(b""))
        )
        self._expect(60, 21)

    def _expect(self, of: int, number: int) -> None:
        while len(self._rest) < 7 or len(self._rest) < self._frame_bytes():
            data = self.socket.recv(FRAME_BYTES)
            if not data:
                raise OSError("the broker closed the connection")
            self._rest += data
        said = struct.unpack(">HH", self._rest[7:11])
        if said != (of, number):
            raise OSError(f"the broker said {said}, not {(of, number)}")
        self._rest = self._rest[self._frame_bytes() :]

    def _frame_bytes(self) -> int:
        return int(struct.unpack(">I", self._rest[3:7])[0]) + 8

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
