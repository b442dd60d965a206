"""Consumes queues, and acknowledges what is settled, as many messages with one frame as can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamproc.connectors.amqp091 import settings
from streamproc.connectors.amqp091.intake import Intake
from streamproc.connectors.amqp091.link import Link
from streamproc.connectors.base import Batch, SourceSpec, Verdict
from streamproc.errors import EndOfStream, NotConnected, SignalError


class Amqp091Source:
    """One consumer of each queue of one source, all on one channel.

    A message that is to be redelivered goes back to its queue: others that are prefetched may
    overtake it. Once unsettled, the channel's messages come again after it is closed.
    """

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec
        self._intake: Intake | None = None
        self._stopped = False

    async def open(self) -> None:
        await self.close()
        spec = self._spec
        wanted = settings.of(spec, settings.name_of(spec))
        link = await Link.open(wanted, spec.max_message_bytes)
        most_age_s = spec.options.unsettled_timeout / 1000
        intake = Intake(spec.prefetch, spec.prefetch_bytes, most_age_s, spec.tell)
        try:
            await intake.begin(link, spec.source.addresses)
        except BaseException:
            await link.close()
            raise
        self._intake = intake

    async def read(self) -> Batch:
        while True:
            if self._stopped:
                raise EndOfStream("stopped")
            intake = self._intake
            if intake is None:
                raise NotConnected("not open")
            batch = intake.batch()
            if batch is not None:
                return batch
            if intake.error is not None:
                raise intake.error
            await intake.arrival()

    def settle(
        self,
        origin: Any,
        tokens: Sequence[int],
        verdict: Verdict,
        errors: Mapping[int, SignalError],
    ) -> None:
        if origin is self._intake and self._intake is not None:
            self._intake.settle(list(tokens), verdict)

    async def stop(self) -> None:
        self._stopped = True
        if self._intake is not None:
            self._intake.stop()

    async def close(self) -> None:
        intake, self._intake = self._intake, None
        if intake is not None:
            await intake.close()
