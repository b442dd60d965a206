"""A minimal MQTT 3.1.1 client by raw bytes, for tests: no session of ours is under test here."""

from __future__ import annotations

import socket
import struct
from types import TracebackType
from typing import NamedTuple, Self

from tests.brokers.ports import HOST

CONNACK, PUBLISH, PUBACK, SUBACK = 2, 3, 4, 9
DEADLINE = 30.0  # seconds, for each answer


class Publication(NamedTuple):
    """A message received."""

    topic: str
    payload: bytes
    qos: int
    retained: bool


class MqttClient:
    """``with MqttClient(port) as client``: connected, QoS 0 and 1, one subscription at a time."""

    def __init__(self, port: int, client_id: str = "", *, clean: bool = True) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=DEADLINE)
        self._stream = self._socket.makefile("rb")
        self._packet_id = 0
        self._early: list[Publication] = []
        try:
            flags = 0x02 if clean else 0x00
            variable = _text("MQTT") + bytes([4, flags]) + struct.pack("!H", 0)
            self._send(0x10, variable + _text(client_id))
            answer = self._expect(CONNACK)
            if answer[1]:
                raise ConnectionRefusedError(f"CONNACK {answer[1]}")
        except BaseException:
            self.close()
            raise

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Publish, and with QoS 1 return when the broker has it."""
        packet_id = self._next_id() if qos else b""
        self._send(0x30 | qos << 1 | retain, _text(topic) + packet_id + payload)
        if qos:
            self._expect(PUBACK)

    def subscribe(self, topic_filter: str, qos: int = 1) -> None:
        self._send(0x82, self._next_id() + _text(topic_filter) + bytes([qos]))
        if self._expect(SUBACK)[2] == 0x80:
            raise PermissionError(topic_filter)

    def receive(self, deadline: float = DEADLINE) -> Publication:
        """The next message, settled. Raises TimeoutError when *deadline* seconds have passed."""
        if self._early:
            return self._early.pop(0)
        self._socket.settimeout(deadline)
        try:
            while True:
                head, body = self._packet()
                if head >> 4 == PUBLISH:
                    return self._received(head, body)
        finally:
            self._socket.settimeout(DEADLINE)

    def close(self) -> None:
        """Hang up without a word."""
        self._stream.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def _received(self, head: int, body: bytes) -> Publication:
        qos = head >> 1 & 3
        end = 2 + int(struct.unpack_from("!H", body)[0])
        topic, rest = body[2:end].decode(), body[end:]
        if qos:
            self._send(0x40, rest[:2])
            rest = rest[2:]
        return Publication(topic, rest, qos, bool(head & 1))

    def _expect(self, kind: int) -> bytes:
        while True:
            head, body = self._packet()
            if head >> 4 == kind:
                return body
            if head >> 4 == PUBLISH:
                self._early.append(self._received(head, body))

    def _packet(self) -> tuple[int, bytes]:
        head = self._read(1)[0]
        size = shift = 0
        while True:
            byte = self._read(1)[0]
            size |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return head, self._read(size)

    def _read(self, size: int) -> bytes:
        found = self._stream.read(size)
        if len(found) < size:
            raise ConnectionResetError("the broker hung up")
        return found

    def _send(self, head: int, body: bytes) -> None:
        size, left = bytearray(), len(body)
        while True:
            left, low = divmod(left, 128)
            size.append(low | (0x80 if left else 0))
            if not left:
                break
        self._socket.sendall(bytes([head]) + size + body)

    def _next_id(self) -> bytes:
        self._packet_id = self._packet_id % 0xFFFF + 1
        return struct.pack("!H", self._packet_id)


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("!H", len(data)) + data
