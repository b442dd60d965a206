"""One wire alone, fed by hand: what it makes of reads, wherever they are cut."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streamproc.connectors.http_push.request import Request
from streamproc.connectors.http_push.success import Successes
from streamproc.connectors.http_push.wire import Wire
from streamproc.kernels.delivery import Delivery

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Line(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[Any] = []
        self.unsent = 0
        self.is_aborted = False

    def write(self, data: Any) -> None:
        self.written.append(data)

    def writelines(self, pieces: Any) -> None:
        self.written.extend(pieces)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def abort(self) -> None:
        self.is_aborted = True


class Heard:
    """Reports, as they come."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def accepted(self, delivery: Delivery, wire: Wire, keep: bool) -> None:
        self.calls.append(("accepted", delivery.key, keep))

    def answered(
        self,
        delivery: Delivery,
        wire: Wire,
        keep: bool,
        status: int,
        retry_after: bytes | None,
        excerpt: bytes,
    ) -> None:
        self.calls.append(("answered", delivery.key, keep, status, retry_after, excerpt))

    def broken(self, delivery: Delivery, why: str) -> None:
        self.calls.append(("broken", delivery.key, why))

    def unread(self, delivery: Delivery, request: Request, since: int) -> None:
        self.calls.append(("unread", delivery.key, request, since))

    def gone(self, wire: Wire) -> None:
        self.calls.append(("gone",))


class Bench:
    """A wire between the two."""

    def __init__(self) -> None:
        self.heard, self.line = Heard(), Line()
        self.wire = Wire(self.heard, Successes(frozenset({200, 204})))
        self.wire.connection_made(self.line)

    def send(self, key: str, request: Request = b"GET") -> None:
        self.wire.send(Delivery(0, key, "POST:/", {}, b""), request, 7)

    def read(self, *pieces: bytes) -> list[tuple[Any, ...]]:
        """What is reported as *pieces* come."""
        before = len(self.heard.calls)
        for piece in pieces:
            self.wire.data_received(piece)
        return self.heard.calls[before:]


def test_an_answer_may_come_as_one_or_in_any_pieces() -> None:
    it = Bench()
    for cut in range(len(OK)):
        for pieces in ([OK], [OK[:cut], OK[cut:]] if cut else [OK], [OK]):
            it.send("a")
            assert it.read(*pieces) == [("accepted", "a", True)]
    assert not it.line.is_aborted


def test_what_is_known_may_also_be_the_body_of_a_refusal() -> None:
    it = Bench()
    for _ in range(3):
        it.send("a")
        assert it.read(OK) == [("accepted", "a", True)]
    it.send("b")
    head = f"HTTP/1.1 400 -\r\nContent-Length: {len(OK)}\r\n\r\n".encode()
    assert it.read(head, OK) == [("answered", "b", True, 400, None, OK)]


def test_a_known_answer_twice_is_one_too_many() -> None:
    it = Bench()
    for _ in range(3):
        it.send("a")
        it.read(OK)
    it.send("b")
    assert it.read(OK + OK) == [("accepted", "b", False)]
    it.send("c")
    assert it.read(OK) == [("accepted", "c", True)]
    assert it.read(OK) == []
    assert it.line.is_aborted, "nobody asked"


@pytest.mark.parametrize("warm", [0, 3])
def test_an_answer_before_the_request_was_sent_ends_the_wire(warm: int) -> None:
    it = Bench()
    for _ in range(warm):
        it.send("a")
        it.read(OK)
    it.line.unsent = 1
    it.send("b", (b"head", b"payload"))
    assert it.line.written[-2:] == [b"head", b"payload"]
    assert it.read(OK) == [("accepted", "b", False)]


def test_a_wire_that_is_lost_tells_what_it_knows() -> None:
    fresh = Bench()
    fresh.send("a")
    fresh.wire.connection_lost(None)
    gone = ("gone",)
    assert fresh.heard.calls == [gone, ("broken", "a", "connection closed before the answer")]
    used = Bench()
    used.send("a")
    used.read(OK)
    used.send("b", b"request")
    used.wire.connection_lost(None)
    assert used.heard.calls[1:] == [gone, ("unread", "b", b"request", 7)]
    within = Bench()
    within.send("a")
    within.read(OK)
    within.send("b")
    within.read(OK[:-1])
    within.wire.connection_lost(ConnectionResetError("reset"))
    assert within.heard.calls[1:] == [
        gone,
        ("broken", "b", "connection closed within the answer: reset"),
    ]
    idle = Bench()
    idle.wire.connection_lost(None)
    assert idle.heard.calls == [gone]


def test_what_was_sent_again_is_not_sent_a_third_time() -> None:
    it = Bench()
    it.send("a")
    it.read(OK)
    it.wire.send(Delivery(0, "b", "POST:/", {}, b""), b"request", 7, again=True)
    it.wire.connection_lost(None)
    assert it.heard.calls[-1] == ("broken", "b", "connection closed before the answer")
