"""Plays devices: a source that needs no broker and says the same on every run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from streamproc.connectors.base import Batch, SourceSpec, Verdict
from streamproc.connectors.generator.config import GeneratorOptions
from streamproc.connectors.generator.devices import Devices
from streamproc.connectors.generator.pace import Pace
from streamproc.errors import EndOfStream, SignalError

BATCH_MESSAGES = 100


class GeneratorSource:
    """Generates what ``Devices`` say, at the rate of ``Pace``.

    Nothing is ever sent again: a verdict is counted, in ``verdicts``, and that is all.
    """

    def __init__(self, spec: SourceSpec) -> None:
        options: GeneratorOptions = spec.options
        consumers = spec.source.consumer_count
        self._devices = Devices(
            options,
            part=spec.identity.client_index * consumers + spec.consumer_index,
            parts=spec.identity.client_count * consumers,
        )
        self._pace = Pace(options.rate)
        self._most = min(BATCH_MESSAGES, spec.prefetch)
        self._most_bytes = spec.prefetch_bytes
        self._count = options.count
        self._stop = asyncio.Event()
        self.generated = 0
        self.verdicts = dict.fromkeys(Verdict, 0)

    async def open(self) -> None:
        """Nothing to connect to."""

    async def read(self) -> Batch:
        loop = asyncio.get_running_loop()
        while not self._stop.is_set() and not self._ended:
            wait_s = self._pace.wait_s(loop.time())
            if wait_s > 0:
                await self._sleep(wait_s)
            elif not self._pace.limited:
                await asyncio.sleep(0)  # others want to run too
            if due := self._due(loop.time()):
                return self._batch(due)
        raise EndOfStream("the source was stopped" if self._stop.is_set() else "all was said")

    def settle(
        self,
        origin: Any,
        tokens: Sequence[int],
        verdict: Verdict,
        errors: Mapping[int, SignalError],
    ) -> None:
        self.verdicts[verdict] += len(tokens)

    async def stop(self) -> None:
        self._stop.set()

    async def close(self) -> None:
        """Nothing to let go of."""

    @property
    def _ended(self) -> bool:
        return self._devices.silent or bool(self._count and self.generated >= self._count)

    def _due(self, now: float) -> int:
        due = min(self._most, self._pace.due(now))
        if self._count:
            due = min(due, self._count - self.generated)
        return 0 if self._stop.is_set() else due

    def _batch(self, due: int) -> Batch:
        payloads, headers = self._devices.speak(due, self._most_bytes)
        first = self.generated
        self.generated += len(payloads)
        self._pace.sent(len(payloads))
        return Batch(payloads, headers, list(range(first, self.generated)))

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            pass
