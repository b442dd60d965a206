"""The control socket as a worker has it: what it hears, and how little it says to deaf ears."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from streamproc.control import (
    LENGTH,
    ClientRef,
    ClientReport,
    FromWorker,
    Ready,
    Replay,
    Replayed,
    Report,
    Stop,
    frame,
    from_worker,
)
from streamproc.worker.channel import MAX_UNREAD_BYTES, Channel

DEADLINE_S = 60.0


def report(generation: int, size: int = 0) -> Report:
    ref = ClientRef("c" * size, 0, "1")
    return Report(generation, [ClientReport(ref, "open", [])])


class Master:
    """The other end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def hears(self) -> FromWorker:
        (length,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
        return from_worker.decode(await self._reader.readexactly(length))


@asynccontextmanager
async def channel(
    says: Callable[[], Report | None] = lambda: None,
) -> AsyncIterator[tuple[Channel, Master, asyncio.Task[None]]]:
    def replay(message: Replay, answer: Callable[[Replayed], None]) -> None:
        answer(Replayed(message.number, dict.fromkeys(message.entries, "missing")))

    here, there = socket.socketpair()
    for each in (here, there):  # so that little waits with the kernel
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    it = Channel(0, says, replay)
    listening = asyncio.create_task(it.listen(await it.open(here)))
    reader, writer = await asyncio.open_connection(sock=there)
    try:
        yield it, Master(reader, writer), listening
    finally:
        writer.transport.abort()
        await listening


async def test_it_answers_and_reports_in_order() -> None:
    async with channel(lambda: report(3)) as (it, master, _):
        it.ready()
        it.report_soon()
        it.report_soon()
        assert isinstance(await master.hears(), Ready)
        assert await master.hears() == report(3)
        master.writer.write(frame(Replay(7, [1, 2])))
        assert await master.hears() == Replayed(7, {1: "missing", 2: "missing"})


async def test_the_order_to_stop_and_the_masters_death_both_stop_it() -> None:
    async with channel() as (it, master, _):
        master.writer.write(frame(Stop(5.0)))
        await it.stopping.wait()
        assert it.stop == Stop(5.0)
    assert it.stop == Stop(5.0)
    async with channel() as (it, master, listening):
        master.writer.close()
        await listening
        assert it.stopping.is_set()
        it.beat(0.0)  # to nobody


async def test_nothing_piles_up_for_a_master_that_does_not_read() -> None:
    generation = 0
    async with channel(lambda: report(generation, 10_000)) as (it, master, _):
        writer = it._writer
        assert writer is not None
        while generation < 999:
            generation += 1
            it.report_soon()
            it.beat(0.0)
            await asyncio.sleep(0)
        unread = writer.transport.get_write_buffer_size()
        assert MAX_UNREAD_BYTES / 2 < unread < 2 * MAX_UNREAD_BYTES

        # Reads again: what is new comes with a beat, though nothing has changed since.
        last = None

        async def reads() -> None:
            nonlocal last
            while last is None or last.generation < generation:
                heard = await master.hears()
                last = heard if isinstance(heard, Report) else last

        reading = asyncio.create_task(reads())
        async with asyncio.timeout(DEADLINE_S):
            while not reading.done():
                it.beat(0.0)
                await asyncio.wait([reading], timeout=0.01)
        assert last == report(999, 10_000)


async def test_last_words_are_not_waited_for_without_end(monkeypatch) -> None:
    monkeypatch.setattr("streamproc.worker.channel.LAST_WORDS_S", 0.01)
    async with channel(lambda: report(1, 1_000_000)) as (it, _, _):
        it.report_soon()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        async with asyncio.timeout(DEADLINE_S):
            await it.flush()
