"""The bus: batches of deliveries between workers over Unix sockets; receipts come back.

A worker opens one connection to each peer that it sends to; receipts return on the same
connection. A frame is a 4-byte length and a msgpack array ``[kind, client, items]``:

    "h"  hello       items: index of the sender; answered by the receiver's, and only then does
                            anything else go: a socket may be open with nobody behind it yet
    "d"  deliveries  items: [epoch, [[number, target, key, address, headers, payload], ...],
                             {number: [label, bytes]}]   acknowledgements they are to bring
    "a"  answers     items: [[number, status, payload, kept], ...]   before their receipts
    "r"  receipts    items: [number, ...]                delivered
    "p"  parked      items: [[number, cause], ...]
    "s"  spilled     items: [number, ...]                durable on the peer's disk
    "b"  back        items: [number, ...]                the client has left; send elsewhere
    "z"  drained     the sender will send no more deliveries

An epoch ends when deliveries are sent anew. Whoever gives deliveries of an epoch back gives
back all that follow of it: what is sent anew is in order only if none of it went ahead.
Each delivery that was taken has a receipt in the end, or is given back when its client leaves.

Credits are implicit: a sender has at most a window of deliveries without receipt per client
(``worker/outbox.py``), so a receipt is a credit and nothing can be flooded. Payloads travel
as bytes and are parsed by nobody here. ``Sender`` and ``Receiver`` are the seam where a Kafka bus
can stand in.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any, Protocol, cast

import msgspec
import orjson

from streamproc.control import LENGTH
from streamproc.kernels.delivery import Delivery
from streamproc.kernels.settlement import Ticket, wanting
from streamproc.kernels.signal import ABSENT
from streamproc.protocol.acks import Wanted
from streamproc.telemetry import metrics
from streamproc.telemetry.slots import Block, Slot
from streamproc.worker.crash import watch

MAX_FRAME_BYTES = 256 << 20
FIRST_RECONNECT_S = 0.02
MAX_RECONNECT_S = 0.5
STEADY_S = 1.0  # a connection that lived for less is like none at all

Answered = tuple[int, int, bytes | None, bool]
"""Number, status, payload as JSON, whether it is parked."""

_encode = msgspec.msgpack.Encoder().encode
_decode_any = msgspec.msgpack.Decoder(tuple[str, str, msgspec.Raw]).decode
_decode_deliveries = msgspec.msgpack.Decoder(
    tuple[int, list[tuple[int, int, str, str, dict[str, str], bytes]], dict[int, tuple[str, int]]]
).decode
_decode_numbers = msgspec.msgpack.Decoder(list[int]).decode
_decode_parked = msgspec.msgpack.Decoder(list[tuple[int, str]]).decode
_decode_answers = msgspec.msgpack.Decoder(list[Answered]).decode
_decode_index = msgspec.msgpack.Decoder(int).decode


class Receiver(Protocol):
    """The worker, as its peers see it."""

    def arrived(self, client: str, deliveries: list[Delivery]) -> bool:
        """Take deliveries for *client*; False when it does not live here."""

    def peer_changed(self) -> None:
        """A peer said that it is drained, or went away."""


class Sender(Protocol):
    """The worker's outboxes, as the bus sees them."""

    def receipts(self, client: str, numbers: list[int]) -> None: ...

    def answered(self, client: str, answers: list[Answered]) -> None: ...

    def parked(self, client: str, items: list[tuple[int, str]]) -> None: ...

    def spilled(self, client: str, numbers: list[int]) -> None: ...

    def came_back(self, client: str, numbers: list[int]) -> None: ...

    def peer_up(self, peer: Peer) -> None:
        """Deliveries to clients there can be sent."""

    def peer_lost(self, peer: Peer) -> None:
        """Receipts of what was sent there will not come."""


class _Frames(asyncio.Protocol):
    """Cuts the stream into frames; writes frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.transport: asyncio.Transport | None = None
        self.writable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=4 << 20)

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        at = 0
        end = len(buffer)
        view = memoryview(buffer)
        try:
            while end - at >= 4:
                (length,) = LENGTH.unpack_from(buffer, at)
                if length > MAX_FRAME_BYTES:
                    self.abort()
                    return
                if end - at - 4 < length:
                    break
                kind, client, items = _decode_any(view[at + 4 : at + 4 + length])
                self.frame(kind, client, items)
                del items
                at += 4 + length
        finally:
            view.release()
        del buffer[:at]

    def frame(self, kind: str, client: str, items: msgspec.Raw) -> None:
        raise AssertionError("each side has its own")

    def send(self, kind: str, client: str, items: Any) -> None:
        if self.transport is not None and not self.transport.is_closing():
            body = _encode((kind, client, items))
            self.transport.write(LENGTH.pack(len(body)) + body)

    def close(self) -> None:
        """When what was sent is written."""
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class _Outgoing(_Frames):
    """Our connection to a peer."""

    def __init__(self, peer: Peer, sender: Sender, lost: asyncio.Event) -> None:
        super().__init__()
        self._peer = peer
        self._sender = sender
        self._lost = lost

    def frame(self, kind: str, client: str, items: msgspec.Raw) -> None:
        if kind == "r":
            self._sender.receipts(client, _decode_numbers(items))
        elif kind == "p":
            self._sender.parked(client, _decode_parked(items))
        elif kind == "a":
            self._sender.answered(client, _decode_answers(items))
        elif kind == "s":
            self._sender.spilled(client, _decode_numbers(items))
        elif kind == "b":
            self._sender.came_back(client, _decode_numbers(items))
        elif kind == "h":
            self._peer.greeted(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._sender.peer_up(self._peer)

    def connection_lost(self, error: Exception | None) -> None:
        self._lost.set()


class Peer:
    """A worker we send to; connected for as long as this object is open."""

    def __init__(self, index: int, path: str, own_index: int, sender: Sender, sent: Slot) -> None:
        self.index = index
        self._sent = sent
        self._path = path
        self._own_index = own_index
        self._sender = sender
        self._frames: _Outgoing | None = None
        self._drained = False
        self._task = watch(self._stay_connected())

    @property
    def writable(self) -> bool:
        """Whether deliveries can be sent now."""
        return self._frames is not None and self._frames.writable

    def deliver(
        self, client: str, epoch: int, first_number: int, deliveries: list[Delivery]
    ) -> None:
        """Send *deliveries*, numbered from *first_number* on."""
        assert self._frames is not None
        self._sent.add(len(deliveries))
        self._frames.send(
            "d",
            client,
            (
                epoch,
                [
                    (number, d.target, d.key, d.address, d.headers, d.payload)
                    for number, d in enumerate(deliveries, first_number)
                ],
                {first_number + i: _wanted(deliveries[i]) for i in wanting(deliveries)},
            ),
        )

    def drained(self) -> None:
        """Say that nothing more will be sent, now and after a reconnect."""
        self._drained = True
        if self._frames is not None:
            self._frames.send("z", "", None)

    def greeted(self, frames: _Outgoing) -> None:
        """The peer runs, and reads what *frames* sends."""
        self._frames = frames
        if self._drained:
            frames.send("z", "", None)
        self._sender.peer_up(self)

    async def close(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._frames = None

    async def _stay_connected(self) -> None:
        loop = asyncio.get_running_loop()
        wait_s = FIRST_RECONNECT_S
        while True:
            lost = asyncio.Event()
            try:
                _, frames = await loop.create_unix_connection(
                    lambda lost=lost: _Outgoing(self, self._sender, lost),  # type: ignore[misc]
                    self._path,
                )
            except OSError:
                await asyncio.sleep(wait_s)
                wait_s = min(MAX_RECONNECT_S, wait_s * 2)
                continue
            opened = loop.time()
            frames.send("h", "", self._own_index)
            try:
                await lost.wait()
            finally:
                frames.close()
            self._frames = None
            self._sender.peer_lost(self)
            if loop.time() - opened >= STEADY_S:
                wait_s = FIRST_RECONNECT_S
            await asyncio.sleep(wait_s)
            wait_s = min(MAX_RECONNECT_S, wait_s * 2)


class Inbound(_Frames):
    """A peer's connection to us: brings deliveries, takes receipts back once a loop round."""

    def __init__(self, server: Server, receiver: Receiver) -> None:
        super().__init__()
        self._server = server
        self._receiver = receiver
        self._loop = asyncio.get_running_loop()
        self._receipts: dict[str, list[int]] = {}
        self._parked: dict[str, list[tuple[int, str]]] = {}
        self._flushing = False
        self._epochs: dict[str, int] = {}  # client -> that of its last deliveries
        self._refused: dict[str, int] = {}  # client -> epoch of which nothing more is taken
        self.index = -1
        self.finished = False  # the peer will send no more deliveries

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._server.inbound.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._server.inbound.discard(self)
        self.finished = True
        self._receiver.peer_changed()

    def frame(self, kind: str, client: str, items: msgspec.Raw) -> None:
        if kind == "d":
            deliveries: list[Delivery] = []
            epoch, sent, wanted = _decode_deliveries(items)
            for number, target, key, address, headers, payload in sent:
                ticket = Ticket((self, client), number)
                deliveries.append(Delivery(target, key, address, headers, payload, ticket))
            self._epochs[client] = epoch
            if wanted:
                for delivery in deliveries:
                    if found := wanted.get(delivery.owner.number):
                        delivery.wanted = Wanted(*found)
            if epoch > self._refused.get(client, -1) and self._receiver.arrived(client, deliveries):
                self._server.came_in(self.index, len(deliveries))
            else:
                self._refused[client] = epoch
                self.send("b", client, [d.owner.number for d in deliveries])
        elif kind == "h":
            self.index = _decode_index(items)
            self.send("h", "", None)
        elif kind == "z":
            self.finished = True
            self._receiver.peer_changed()

    def receipts(self, client: str, numbers: list[int]) -> None:
        """The target has them."""
        self._receipts.setdefault(client, []).extend(numbers)
        self._flush_soon()

    def acknowledged(self, client: str, answers: list[tuple[int, Wanted]]) -> None:
        """What their targets answered. Sent at once: their receipts follow."""
        self.send("a", client, [_answered(number, wanted) for number, wanted in answers])

    def parked(self, client: str, numbers: list[int], cause: str) -> None:
        """They are parked here."""
        self._parked.setdefault(client, []).extend((number, cause) for number in numbers)
        self._flush_soon()

    def spilled(self, client: str, numbers: list[int]) -> None:
        """They are on our disk. Told at once: they came in one commit."""
        self.send("s", client, numbers)

    def back(self, client: str, numbers: list[int]) -> None:
        """The client has left with these undelivered."""
        self._refused[client] = self._epochs.get(client, -1)
        self.flush()
        self.send("b", client, numbers)

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send the receipts that have gathered."""
        self._flushing = False
        receipts, self._receipts = self._receipts, {}
        parked, self._parked = self._parked, {}
        for client, numbers in receipts.items():
            self.send("r", client, numbers)
        for client, items in parked.items():
            self.send("p", client, items)


def _wanted(delivery: Delivery) -> tuple[str, int]:
    return delivery.wanted.label, delivery.wanted.max_bytes  # type: ignore[union-attr]


def _answered(number: int, wanted: Wanted) -> Answered:
    ack = wanted.receipt()
    payload = None if ack.payload is ABSENT else orjson.dumps(ack.payload)
    return number, ack.status, payload, wanted.kept


class Server:
    """Listens for peers."""

    def __init__(self, receiver: Receiver, block: Block) -> None:
        self.inbound: set[Inbound] = set()
        self._receiver = receiver
        self._block = block
        self._came_in: dict[int, Slot] = {}
        self._server: asyncio.AbstractServer | None = None

    async def start(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(
            lambda: Inbound(self, self._receiver), sock=listening
        )

    @property
    def finished(self) -> bool:
        """Whether no connected peer will send any more deliveries."""
        return all(inbound.finished for inbound in self.inbound)

    def came_in(self, peer: int, count: int) -> None:
        """*count* deliveries of *peer* were taken."""
        slot = self._came_in.get(peer)
        if slot is None:
            slot = self._came_in[peer] = self._block.counter(
                metrics.BUS_MESSAGES, direction="in", peer=str(peer)
            )
        slot.add(count)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for inbound in list(self.inbound):
            inbound.flush()
            if inbound.transport is not None:
                inbound.transport.close()
