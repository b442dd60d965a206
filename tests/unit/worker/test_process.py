"""What a worker answers before the master has told it what to run."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

from streamproc.control import LENGTH, Replay, Replayed, frame, from_worker
from streamproc.telemetry.slots import Block
from streamproc.worker.listeners import Listeners
from streamproc.worker.process import Worker


class Told:
    """In the place of the control channel's writer."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.said.append(from_worker.decode(data[LENGTH.size :]))


async def test_who_runs_nothing_yet_says_so_when_asked_to_replay(tmp_path: Path) -> None:
    """Silence would cost who asks the whole time that the master waits for answers."""
    here, there = socket.socketpair()
    with here, there:
        block = Block.create(tmp_path / "metrics")
        worker = Worker(0, tmp_path, block, Listeners(here))
        told = Told()
        worker._writer = told  # type: ignore[assignment]
        reader = asyncio.StreamReader()
        reader.feed_data(frame(Replay(7, [1, 2])))
        reader.feed_eof()
        await worker._listen(reader)
    assert told.said == [Replayed(7, {})]
