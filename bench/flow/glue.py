"""What a worker does around the data path: from a source's batches to its settlements.

Intake, window, flow, dispatcher, lanes, outlet, tally and ledger as they are; the two
connectors cost next to nothing. What they would do to the caches of a processor is missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from bench.e2e.load import Load
from bench.e2e.setup import SOURCE, TARGET
from bench.flow.road import Messages, built
from streamproc.config.service import Limits, Retry
from streamproc.connectors.base import Batch, Receipts, Verdict
from streamproc.errors import EndOfStream, SignalError
from streamproc.kernels.delivery import Delivery
from streamproc.telemetry.slots import Block
from streamproc.worker.dispatch import Dispatcher
from streamproc.worker.flow import Flow
from streamproc.worker.gate import Rules
from streamproc.worker.intake import Intake, IntakeMetrics
from streamproc.worker.ledger import ClientLedger
from streamproc.worker.outlet import Outlet
from streamproc.worker.parking import Parking
from streamproc.worker.tally import Tally
from streamproc.worker.waiting import until

CAPACITY = 10_000  # as of a producer of Kafka
POLL_S = 0.001
DEADLINE_S = 60.0
PARTITIONS = 6


class Glue:
    """One source connection and one target connection in one worker, run again and again."""

    def __init__(self, folder: Path) -> None:
        service, inlet, routes, policies = built()
        self._service = service
        folder.mkdir()
        self._block = block = Block.create(folder / "metrics")
        tally = Tally(block)
        self._dispatcher = Dispatcher(0, folder, Limits(), tally, block, _nothing_is_parked)
        self._flow = Flow(inlet, routes, policies, self._dispatcher, tally, block)
        self._tally = tally
        self.settled = self.rejected = self.delivered = 0

    async def run(self, batches: list[Batch]) -> None:
        """Once through, to the last settlement."""
        ledger = ClientLedger(TARGET, self._tally, cast(Parking, None), Retry(), self._block)
        targets: list[_Target] = []

        def make(outlet: Outlet) -> _Target:
            targets.append(_Target(outlet))
            return targets[0]

        outlet = Outlet(
            make,
            depth=1 << 20,
            retry=Retry(),
            rules=Rules(retry=Retry()),
            ledger=ledger,
            changed=_nothing,
        )
        self._dispatcher.assign({f"{TARGET}#0": 0}, {f"{TARGET}#0": outlet})
        limits = self._service.limits
        source = _Source(batches)
        intake = Intake(
            SOURCE,
            "0",
            "source",
            source,
            self._flow,
            max_messages=limits.source_window_messages,
            max_bytes=limits.source_window_bytes,
            at_once=False,
            metrics=IntakeMetrics.of(self._block, SOURCE, "0"),
            changed=_nothing,
        )
        wanted = sum(len(batch.tokens) for batch in batches)
        loop = asyncio.get_running_loop()
        await until(lambda: source.settled >= wanted, loop.time() + DEADLINE_S)
        await intake.close()
        await outlet.close()
        self.settled += source.settled
        self.rejected += source.rejected
        self.delivered += targets[0].delivered

    def check(self, load: Load, runs: int) -> None:
        """What loses messages would be fast."""
        found = (self.settled, self.rejected, self.delivered)
        wanted = (load.messages * runs, load.intruders * runs, load.wanted * runs)
        if found != wanted:
            raise RuntimeError(f"settled, rejected, delivered: {found}, not {wanted}")


def arrivals(found: Messages, size: int) -> list[Batch]:
    """*found* as a consumer of several partitions hands it out: *size* of one at a time."""
    payloads, headers = found
    made = []
    for number, first in enumerate(range(0, len(payloads), size)):
        chunk = payloads[first : first + size]
        tokens = list(range(first, first + len(chunk)))
        made.append(Batch(chunk, headers[first : first + size], tokens, number % PARTITIONS))
    return made


class _Source:
    """Has everything there at once."""

    def __init__(self, batches: list[Batch]) -> None:
        self._batches = iter(batches)
        self._stopped = asyncio.Event()
        self.settled = 0
        self.rejected = 0

    async def open(self) -> None:
        """Nothing to open."""

    async def read(self) -> Batch:
        batch = next(self._batches, None)
        if batch is None:
            await self._stopped.wait()
            raise EndOfStream("stopped")
        return batch

    def settle(
        self,
        origin: Any,
        tokens: Sequence[int],
        verdict: Verdict,
        errors: Mapping[int, SignalError],
    ) -> None:
        self.settled += len(tokens)
        self.rejected += len(errors)

    async def stop(self) -> None:
        self._stopped.set()

    async def close(self) -> None:
        """Nothing to close."""


class _Target:
    """Has everything at the next look, as a producer whose reports are polled."""

    capacity = CAPACITY

    def __init__(self, receipts: Receipts) -> None:
        self._receipts = receipts
        self._written: list[Delivery] = []
        self._timer: asyncio.TimerHandle | None = None
        self.delivered = 0

    async def open(self) -> None:
        """Nothing to open."""

    def write(self, deliveries: Sequence[Delivery]) -> None:
        self._written += deliveries
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(POLL_S, self._report)

    def _report(self) -> None:
        written, self._written = self._written, []
        self._timer = None
        self.delivered += len(written)
        self._receipts.delivered(written)

    async def close(self) -> None:
        """Nothing is in flight when it is closed here."""


def _nothing() -> None:
    """Nobody looks."""


def _nothing_is_parked(*_: object) -> None:
    raise RuntimeError("nothing is to be parked here")
