"""The master's end of a worker's control socket. What waits to be written never piles up.

Orders are level triggered: of several that a slow worker has not read yet only the newest
matters, so at most one is with the kernel or on its way there and one waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import msgspec

from streamproc.control import (
    LENGTH,
    MAX_FRAME_BYTES,
    Assign,
    FromWorker,
    Replay,
    Stop,
    frame,
    from_worker,
)


class Channel(asyncio.Protocol):
    """``heard`` gets each message, ``broke`` a sentence when the worker breaks the protocol."""

    def __init__(self, heard: Callable[[FromWorker], None], broke: Callable[[str], None]) -> None:
        self.closed = asyncio.Event()
        self._heard = heard
        self._broke = broke
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._writable = False
        self._ended = False
        self._assign: Assign | None = None
        self._stop: Stop | None = None

    def assign(self, assign: Assign) -> None:
        """Send it, unless a newer one comes before it can be."""
        self._assign = assign
        self._push()

    def stop(self, stop: Stop) -> None:
        """Send it, before any order that still waits."""
        self._stop = stop
        self._push()

    def replay(self, message: Replay) -> bool:
        """Send it, if that can be done at once."""
        if not self._writable or self._transport is None:
            return False
        self._transport.write(frame(message))
        return True

    def end(self) -> None:
        """End of file for the worker: it drains and ends. It may still be heard."""
        self._ended, self._writable = True, False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def close(self) -> None:
        """Let go."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        transport.set_write_buffer_limits(high=0)
        self._transport = transport
        if self._ended:
            transport.write_eof()
        self.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._writable = False
        self.closed.set()

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = not self._ended
        self._push()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            at = self._read()
        except msgspec.DecodeError as error:
            self._give_up(f"sent a frame that cannot be read: {error}")
            return
        del self._buffer[:at]

    def _read(self) -> int:
        """Hear every whole frame; -> where the rest begins."""
        at, end = 0, len(self._buffer)
        while end - at >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._buffer, at)
            if length > MAX_FRAME_BYTES:
                self._give_up(f"sent a frame of {length} bytes")
                return end
            after = at + LENGTH.size + length
            if after > end:
                break
            self._heard(from_worker.decode(bytes(self._buffer[at + LENGTH.size : after])))
            at = after
        return at

    def _give_up(self, reason: str) -> None:
        self._buffer.clear()
        self.close()
        self._broke(reason)

    def _push(self) -> None:
        while self._writable and self._transport is not None:
            if self._stop is not None:
                message: Assign | Stop = self._stop
                self._stop = self._assign = None
            elif self._assign is not None:
                message, self._assign = self._assign, None
            else:
                return
            self._transport.write(frame(message))
