"""What waits for a worker that does not read is bounded; what it says is heard whole."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvloop
from hypothesis import given
from hypothesis import strategies as st

from streamproc.config.service import Service
from streamproc.control import (
    LENGTH,
    MAX_FRAME_BYTES,
    Assign,
    Beat,
    Drained,
    FromWorker,
    Ready,
    Stop,
    frame,
    to_worker,
)
from streamproc.master.channel import Channel

BIG = {f"c{i}": "x" * 100 for i in range(20_000)}  # more than a socket's buffer holds


def order(generation: int) -> Assign:
    return Assign(generation, Service(workers=1), [], BIG, [], {}, [])


class Ends:
    """A channel, what it heard, and the worker's end of it."""

    def __init__(self) -> None:
        self.heard: list[FromWorker] = []
        self.broken: list[str] = []
        self.channel = Channel(self.heard.append, self.broken.append)


@asynccontextmanager
async def ends() -> AsyncIterator[tuple[Ends, asyncio.StreamReader, asyncio.StreamWriter]]:
    ours, theirs = socket.socketpair()
    here = Ends()
    loop = asyncio.get_running_loop()
    await loop.create_unix_connection(lambda: here.channel, sock=ours)
    reader, writer = await asyncio.open_unix_connection(sock=theirs, limit=1 << 20)
    try:
        yield here, reader, writer
    finally:
        writer.close()
        here.channel.close()


async def read(reader: asyncio.StreamReader) -> Assign | Stop:
    (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
    return to_worker.decode(await reader.readexactly(length))


def test_of_orders_that_a_worker_has_not_read_only_the_newest_is_kept() -> None:
    async def story() -> None:
        async with ends() as (here, reader, _):
            transport = reader._transport  # type: ignore[attr-defined]
            transport.pause_reading()
            for generation in range(500):
                here.channel.assign(order(generation))
                await asyncio.sleep(0)
            transport.resume_reading()
            seen = []
            while not seen or seen[-1] != 499:
                message = await read(reader)
                assert isinstance(message, Assign)
                seen.append(message.generation)
            assert len(seen) <= 3, seen
            assert seen == sorted(seen)

    uvloop.run(story())


def test_a_stop_goes_before_orders_that_wait_and_makes_them_void() -> None:
    async def story() -> None:
        async with ends() as (here, reader, _):
            transport = reader._transport  # type: ignore[attr-defined]
            transport.pause_reading()
            for generation in range(3):
                here.channel.assign(order(generation))
                await asyncio.sleep(0)
            here.channel.stop(Stop(5.0))
            transport.resume_reading()
            while isinstance(message := await read(reader), Assign):
                assert message.generation == 0
            assert message == Stop(5.0)

    uvloop.run(story())


def test_end_is_end_of_file_and_the_worker_is_still_heard() -> None:
    async def story() -> None:
        async with ends() as (here, reader, writer):
            here.channel.end()
            here.channel.assign(order(1))
            assert await reader.read() == b""
            writer.write(frame(Drained(3)))
            writer.close()
            await here.channel.closed.wait()
            assert here.heard == [Drained(3)]

    uvloop.run(story())


@given(st.lists(st.integers(1, 40), max_size=30))
def test_frames_are_heard_whole_however_they_come(cuts: list[int]) -> None:
    here = Ends()
    messages: list[FromWorker] = [Ready(7), Beat(0.5), Drained(0), Beat(1.0)]
    stream = b"".join(map(frame, messages))
    for size in cuts:
        piece, stream = stream[:size], stream[size:]
        here.channel.data_received(piece)
    here.channel.data_received(stream)
    assert here.heard == messages
    assert here.broken == []


def test_rubbish_breaks_the_channel_once() -> None:
    for rubbish in (
        LENGTH.pack(3) + b"\xc1\xc1\xc1",
        LENGTH.pack(MAX_FRAME_BYTES + 1),
        frame(Stop(1.0)),  # a worker has no orders to give
    ):
        here = Ends()
        here.channel.data_received(frame(Ready(1)) + rubbish)
        assert here.heard == [Ready(1)]
        assert len(here.broken) == 1
