"""One client of a connection, as it runs here: its sources' consumers and its target side."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import quote

from streamproc.config.connection import Connection
from streamproc.config.options import options_of
from streamproc.config.section import Section
from streamproc.config.service import Service
from streamproc.connectors import CONNECTORS
from streamproc.connectors.base import Can, Identity, SourceSpec, TargetSpec, Ways
from streamproc.control import ClientRef, ClientReport, ClientState
from streamproc.kernels.delivery import Delivery
from streamproc.kernels.settlement import Ticket
from streamproc.store.queue import Queue
from streamproc.telemetry import events as tell
from streamproc.telemetry.slots import Block
from streamproc.worker.condemned import poison_of_source
from streamproc.worker.gate import Rules
from streamproc.worker.intake import Intake, IntakeMetrics, Process
from streamproc.worker.ledger import ClientLedger
from streamproc.worker.outlet import Outlet
from streamproc.worker.overflow import SpillRule
from streamproc.worker.parking import Parking
from streamproc.worker.poison import Park, Place
from streamproc.worker.spill import Spill
from streamproc.worker.tally import Tally
from streamproc.worker.waiting import until
from streamproc.worker.writer import Writer

PIPELINE_DEPTH = 1 << 20  # of one key in flight; the client's capacity bounds it

# The state of a client is the worst of its links; later is worse.
SEVERITY: tuple[ClientState, ...] = (
    "ended",
    "open",
    "held",
    "draining",
    "opening",
    "failed",
    "misconfigured",
)


class Client:
    """Runs from construction until ``close``."""

    def __init__(
        self,
        ref: ClientRef,
        connection: Connection,
        service: Service,
        *,
        process_of: Callable[[int], Process],
        metrics_of: Callable[[str, str], IntakeMetrics],
        tally: Tally,
        parking: Parking,
        place_of: Callable[[str, Park | None], Place],
        writer: Writer,
        block: Block,
        listeners: Mapping[str, int],
        changed: Callable[[], None],
    ) -> None:
        self.ref = ref
        self.connection = connection
        self.outlet: Outlet | None = None
        self.intakes: list[tuple[int, Intake]] = []  # index of the source, consumer
        self._changed = changed
        row = CONNECTORS[connection.connection_type]
        options = options_of(connection)
        identity = Identity(
            connection_id=connection.id,
            client_index=ref.index,
            client_count=connection.client_count,
        )
        if connection.targets:
            factory = row.target_factory()
            ordered, pipelined = _ways(row.can, options)
            rules = Rules.of(service, options, connection.client_count)
            ledger = ClientLedger(connection.id, tally, parking, rules.retry, block)
            self.outlet = Outlet(
                lambda outlet: factory(
                    TargetSpec(
                        identity=identity,
                        connection=connection,
                        options=options,
                        receipts=outlet,
                        service=service,
                    )
                ),
                depth=PIPELINE_DEPTH if pipelined else 1,
                retry=rules.retry,
                rules=rules,
                ledger=ledger,
                changed=changed,
                place=place_of(f"target of {connection.id}", None),
                spill=_spill_rule(ref.id, service, ledger, writer),
                ordered=ordered,
            )
        limits = service.limits
        for index, source in enumerate(connection.sources):
            for consumer in range(source.consumer_count):
                spec = SourceSpec(
                    identity=identity,
                    connection=connection,
                    options=options,
                    source=source,
                    consumer_index=consumer,
                    prefetch=limits.source_window_messages,
                    prefetch_bytes=limits.source_window_bytes,
                    max_message_bytes=limits.max_message_bytes,
                    listeners=listeners,
                    tell=partial(tell.source_noted, connection.id, str(index)),
                )
                intake = Intake(
                    connection.id,
                    str(index),
                    f"source {index}/{consumer} {','.join(source.addresses)}",
                    row.source_factory()(spec),
                    process_of(index),
                    max_messages=limits.source_window_messages,
                    max_bytes=limits.source_window_bytes,
                    at_once=source.qos == 0,
                    metrics=metrics_of(connection.id, str(index)),
                    changed=changed,
                    place=place_of(
                        f"source {index} of {connection.id}",
                        poison_of_source(parking, connection, index, block),
                    ),
                )
                self.intakes.append((index, intake))

    def report(self) -> ClientReport:
        """The client and its links, for people."""
        links = [intake.link.report() for _, intake in self.intakes]
        if self.outlet is not None:
            links.append(self.outlet.link.report())
        worst = max((SEVERITY.index(link.state) for link in links), default=0)
        return ClientReport(self.ref, SEVERITY[worst], links)

    def reroute(self, process_of: Callable[[int], Process]) -> None:
        """Other connections have changed: let the sources feed a new flow."""
        for index, intake in self.intakes:
            intake.process = process_of(index)

    def stop_sources(self) -> None:
        """Take no more messages."""
        for _, intake in self.intakes:
            intake.stop()

    @property
    def sources_drained(self) -> bool:
        """Every message taken is settled."""
        return all(intake.drained for _, intake in self.intakes)

    @property
    def unsettled(self) -> int:
        return sum(intake.window.messages for _, intake in self.intakes)

    def oldest_s(self) -> dict[int, float]:
        """Age of the oldest unsettled message, by source."""
        now = time.monotonic()
        ages: dict[int, float] = {}
        for index, intake in self.intakes:
            ages[index] = max(ages.get(index, 0.0), intake.window.oldest(now))
        return ages

    async def close(self, drain_s: float) -> list[Delivery]:
        """Stop intake, drain for at most *drain_s*, let go.

        -> what its target did not take and this worker's sources wait for, in order; what
        peers sent is given back to them.
        """
        self.stop_sources()
        deadline = time.monotonic() + drain_s
        await until(lambda: self.sources_drained, deadline)
        for _, intake in self.intakes:
            await intake.close()
        if self.outlet is None:
            return []
        await self.outlet.drain(max(0.0, deadline - time.monotonic()))
        return self._given_back(await self.outlet.close())

    def _given_back(self, left: list[Delivery]) -> list[Delivery]:
        own: list[Delivery] = []
        peers: dict[tuple[object, str], list[int]] = {}
        for delivery in left:
            owner = delivery.owner
            if isinstance(owner, Ticket):
                peers.setdefault(owner.peer, []).append(owner.number)
            else:
                own.append(delivery)
        for (inbound, client), numbers in peers.items():
            inbound.back(client, numbers)  # type: ignore[attr-defined]
        return own


def _ways(can: Can, options: Section) -> tuple[bool, bool]:
    """Whether deliveries of a key wait for each other, and whether the target sees to that."""
    if isinstance(options, Ways):
        return options.ordered, options.pipelined
    return True, Can.PIPELINE in can


def _spill_rule(
    client: str, service: Service, ledger: ClientLedger, writer: Writer
) -> SpillRule | None:
    """Where and when deliveries of *client* go to disk; None where they never do."""
    options = service.spill
    path = Path(service.data_dir) / "spill" / quote(client, safe="")

    def make(out: Callable[[list[Delivery]], None]) -> Spill:
        queue = Queue(path, options.max_bytes)
        later = asyncio.get_running_loop().call_later
        return Spill(client, queue, writer, ledger, out, later)

    if options.mode == "off" and not path.exists():
        return None
    begins = options.mode == "auto"
    return SpillRule(make, path.exists, begins, options.after_s, options.window_messages)
