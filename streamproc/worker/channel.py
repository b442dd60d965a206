"""The worker's end of its control socket. What waits to be written never piles up.

Orders are level triggered: the newest ``Assign`` is what counts. So are reports: while a master
that is stopped or starved reads nothing, none is written, and the next says all.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress

from streamproc.control import (
    LENGTH,
    MAX_FRAME_BYTES,
    Assign,
    Beat,
    Drained,
    FromWorker,
    Ready,
    Replay,
    Replayed,
    Report,
    Stop,
    frame,
    to_worker,
)
from streamproc.telemetry import events as tell

ORPHAN_DRAIN_S = 30.0
MAX_UNREAD_BYTES = 1 << 20  # written, and not read by the master
LAST_WORDS_S = 1.0


class Channel:
    """``stopping`` is set by the order to stop, and by the master's death; ``told`` by an Assign.

    ``report``: what there is to say now, if anything. ``replay``: what answers a Replay.
    """

    def __init__(
        self,
        index: int,
        report: Callable[[], Report | None],
        replay: Callable[[Replay, Callable[[Replayed], None]], None],
    ) -> None:
        self.assign: Assign | None = None
        self.told = asyncio.Event()
        self.stop: Stop | None = None
        self.stopping = asyncio.Event()
        self._index = index
        self._report = report
        self._replay = replay
        self._is_report_due = False
        self._is_reporting = False
        self._writer: asyncio.StreamWriter | None = None

    async def open(self, control: socket.socket) -> asyncio.StreamReader:
        """-> what ``listen`` reads."""
        reader, self._writer = await asyncio.open_connection(sock=control, limit=1 << 20)
        return reader

    async def listen(self, reader: asyncio.StreamReader) -> None:
        """Hear the master, until it is gone."""
        try:
            while True:
                (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
                if length > MAX_FRAME_BYTES:
                    raise ConnectionError(f"a control frame of {length} bytes")
                self._hear(to_worker.decode(await reader.readexactly(length)))
        except (asyncio.IncompleteReadError, ConnectionError):
            if self._writer is not None:
                self._writer.close()
            if self.stop is None:
                tell.master_lost(self._index)
                drain_s = ORPHAN_DRAIN_S
                if self.assign is not None:
                    drain_s = self.assign.service.supervision.drain_s
                self.stop = Stop(drain_s)
                self.stopping.set()

    def ready(self) -> None:
        """Orders may come."""
        self._say(Ready(os.getpid()))

    def beat(self, lag_s: float) -> None:
        """Say that this worker lives, and what could not be said before."""
        if self._say(Beat(lag_s)) and self._is_report_due:
            self._report_now()

    def report_soon(self) -> None:
        """Something has changed: a report of all that changes in this loop round."""
        if not self._is_reporting:
            self._is_reporting = True
            asyncio.get_running_loop().call_soon(self._report_now)

    def drained(self, left: int) -> None:
        """The last word: *left* messages are unsettled."""
        self._say(Drained(left))

    async def flush(self) -> None:
        """Let the master read what was said, if it does."""
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                if self._writer is not None:
                    await self._writer.drain()

    def _hear(self, message: Assign | Stop | Replay) -> None:
        match message:
            case Assign():
                self.assign = message
                self.told.set()
            case Replay():
                self._replay(message, self._answer)
            case Stop():
                self.stop = message
                self.stopping.set()

    def _answer(self, message: Replayed) -> None:
        self._say(message)  # one that is not said is asked for again

    def _report_now(self) -> None:
        self._is_reporting = False
        report = self._report()
        if report is not None:
            self._is_report_due = not self._say(report)

    def _say(self, message: FromWorker) -> bool:
        """-> whether it was said. A master that reads nothing need not hear all of it later."""
        writer = self._writer
        if writer is None or writer.is_closing():
            return False
        if writer.transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            return False
        writer.write(frame(message))
        return True
