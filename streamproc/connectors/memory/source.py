"""Reads queues of the memory broker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamproc.connectors.base import Batch, SourceSpec, Verdict
from streamproc.connectors.memory.queue import MEMORY, Session
from streamproc.errors import EndOfStream, NotConnected, SignalError


class MemorySource:
    """Takes messages from the queues named by the source's addresses."""

    def __init__(self, spec: SourceSpec) -> None:
        self._names: list[str] = list(spec.source.addresses)
        self._prefetch = spec.prefetch
        self._prefetch_bytes = spec.prefetch_bytes
        self._session: Session | None = None
        self._stopped = False

    async def open(self) -> None:
        self._end()
        MEMORY.check()
        self._session = Session(MEMORY, self._names)
        MEMORY.watch(self._end)

    async def read(self) -> Batch:
        while not self._stopped:
            session = self._session
            if session is None:
                raise NotConnected("the link to the memory broker was lost")
            items, tokens = session.take(self._prefetch, self._prefetch_bytes)
            if items:
                payloads = [item.payload for item in items]
                return Batch(payloads, [item.headers for item in items], tokens, session)
            await MEMORY.change()
        raise EndOfStream("the source was stopped")

    def settle(
        self,
        origin: Any,
        tokens: Sequence[int],
        verdict: Verdict,
        errors: Mapping[int, SignalError],
    ) -> None:
        assert isinstance(origin, Session)  # one that has ended has nothing open: all is quiet
        if verdict is Verdict.REDELIVER:
            origin.give_back(tokens)
            return
        for token in tokens:
            if verdict is Verdict.ACCEPT:
                origin.done(token)
            else:
                origin.reject(token, errors.get(token))

    async def stop(self) -> None:
        self._stopped = True
        MEMORY.wake()

    async def close(self) -> None:
        self._end()
        MEMORY.wake()

    def _end(self) -> None:
        session, self._session = self._session, None
        MEMORY.unwatch(self._end)
        if session is not None:
            session.end()
