"""The clients of this worker: each Assign brings what runs closer to what should.

Level triggered: an Assign says all that should run. A client that is to go, or has changed,
drains and closes first; its successor is started when it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from streamproc.config.connection import Connection
from streamproc.config.service import Service
from streamproc.control import Assign, ClientRef, Replay, Replayed, Report
from streamproc.errors import DeliveryRefused
from streamproc.kernels.delivery import Delivery
from streamproc.store.parked import parked_store
from streamproc.telemetry import events as tell
from streamproc.telemetry.redact import secrets_of
from streamproc.telemetry.slots import Block
from streamproc.twin.policy import Policies
from streamproc.worker.client import Client
from streamproc.worker.crash import watch
from streamproc.worker.deadletters import DeadLetters, Rule
from streamproc.worker.dispatch import Dispatcher
from streamproc.worker.flow import Flow
from streamproc.worker.inlet import Inlet
from streamproc.worker.intake import IntakeMetrics, Process
from streamproc.worker.ledger import ClientLedger
from streamproc.worker.outlet import Outlet
from streamproc.worker.parking import Parking, Then
from streamproc.worker.poison import Park, Place, Poison
from streamproc.worker.replays import Replays
from streamproc.worker.routes import Routes, shares_sources
from streamproc.worker.tally import Tally
from streamproc.worker.upkeep import Upkeep
from streamproc.worker.writer import Writer

PARK_AGAIN_S = 5.0  # what waits for a client that is no more, where there was no room


class Clients:
    """``descriptors``: of listening sockets, by name. ``changed``: there is something to report.
    ``again``: the last Assign is to be applied once more.
    """

    def __init__(
        self,
        index: int,
        bus_dir: Path,
        block: Block,
        descriptors: Mapping[str, int],
        changed: Callable[[], None],
        again: Callable[[], None],
    ) -> None:
        self.here: dict[str, Client] = {}
        # Made by the first Assign.
        self.parking: Parking | None = None
        self.poison: Poison | None = None
        self.upkeep: Upkeep | None = None
        self.letters: DeadLetters | None = None
        self.dispatcher: Dispatcher | None = None
        self._writer = Writer()
        self._index = index
        self._bus_dir = bus_dir
        self._block = block
        self._descriptors = descriptors
        self._changed = changed
        self._again = again
        self._tally = Tally(block)
        self._closing: dict[str, asyncio.Task[None]] = {}
        self._replays: Replays | None = None
        self._service: Service | None = None
        self._taken = -1  # generation that reports speak of
        self._reloads = 0  # that this worker knows of
        self._known: set[str] = set()  # clients that are, here or elsewhere
        self._intake_metrics: dict[tuple[str, str], IntakeMetrics] = {}

    def apply(self, assign: Assign) -> None:
        """Run what it says, and nothing else. Its listening sockets are here."""
        service = self._service = assign.service
        tell.configure(service.log, f"worker {self._index}")
        tell.hide(secrets_of(assign.connections, service))
        self._prepare(service)
        connections = {connection.id: connection for connection in assign.connections}
        flow_of = self._flows(assign)
        wanted = {ref.id: ref for ref in assign.clients}
        for client_id, client in list(self.here.items()):
            if wanted.get(client_id) == client.ref:
                client.reroute(partial(flow_of, client.connection))
            elif client_id not in self._closing:
                task = self._close(client, service.supervision.drain_s)
                self._closing[client_id] = watch(task)
        for client_id, ref in wanted.items():
            if client_id not in self.here:
                connection = connections[ref.connection_id]
                self.here[client_id] = self._start(
                    ref, connection, service, partial(flow_of, connection)
                )
        resume, self._reloads = assign.reloads != self._reloads, assign.reloads
        for client in self.here.values():
            if client.outlet is not None:
                if resume:
                    client.outlet.pace.resume()
                client.outlet.shares_sources = shares_sources(client.connection, assign.connections)
        self._locate(assign)
        self._look_after_stores(assign)
        self._bring_letters(service, assign.connections)
        self._taken = assign.generation
        self._changed()

    def report(self) -> Report | None:
        """All clients that are here; None before the first Assign."""
        if self._taken < 0:
            return None
        return Report(self._taken, [client.report() for client in self.here.values()])

    def replay(self, message: Replay, answer: Callable[[Replayed], None]) -> None:
        """Send parked deliveries again. Before the first Assign no client lives here."""
        if self._replays is None:
            answer(Replayed(message.number, {}))
        else:
            self._replays.replay(message, answer)

    def arrived(self, client: str, deliveries: list[Delivery]) -> bool:
        """A peer brings *deliveries*. False: *client* does not live here, or is about to go."""
        outlet = self._outlet_of(client)
        if outlet is None:
            return False
        outlet.offer(deliveries)
        return True

    def waiting_by_peer(self) -> dict[int, int]:
        """Deliveries that wait for credit, by the worker they go to."""
        return {} if self.dispatcher is None else self.dispatcher.waiting_by_peer()

    def close_stores(self) -> None:
        """Finish what is being written, and let go. Everything else must be closed."""
        self._writer.close()
        if self.parking is not None:
            self.parking.close()
        if self.poison is not None:
            self.poison.close()

    def _prepare(self, service: Service) -> None:
        if self.parking is None:
            self.parking = Parking(lambda: parked_store(service), self._writer)
            spill_dir = Path(service.data_dir) / "spill"
            self.upkeep = Upkeep(self.parking, self._writer, self._block, spill_dir)
            self._replays = Replays(self.parking, self._tally, self._block, self._outlet_of)
            self.poison = _poison(service)
        elif self.poison is not None:
            self.poison.look()  # clients that come may have left a worker that died
        if self.dispatcher is None:
            self.dispatcher = Dispatcher(
                self._index, self._bus_dir, service.limits, self._tally, self._block, self._park
            )

    def _bring_letters(self, service: Service, connections: list[Connection]) -> None:
        assert self.parking is not None
        if self.letters is None:
            assert self.dispatcher is not None
            self.letters = DeadLetters(
                self.dispatcher.send, self.parking.keep_all, self._tally, self._block
            )
            self.parking.elsewhere = self.letters
        self.letters.rule = Rule.of(service, connections)

    def _look_after_stores(self, assign: Assign) -> None:
        assert self._replays is not None
        assert self.upkeep is not None
        counts = {connection.id: connection.client_count for connection in assign.connections}
        self._replays.client_counts = counts
        self.upkeep.park_what_is_nobodys(
            f"{name}#{index}"
            for name, count in (counts | assign.closed).items()
            for index in range(count)
        )

    def _outlet_of(self, client: str) -> Outlet | None:
        """The target side of a client that lives here and is to stay."""
        here = self.here.get(client)
        return None if here is None or client in self._closing else here.outlet

    def _locate(self, assign: Assign) -> None:
        assert self.dispatcher is not None
        outlets = {
            client_id: client.outlet
            for client_id, client in self.here.items()
            if client.outlet is not None and client_id not in self._closing
        }
        self.dispatcher.assign(assign.locations, outlets)
        self._known = {
            f"{connection.id}#{index}"
            for connection in assign.connections
            for index in range(connection.client_count)
        }
        self.dispatcher.forget_all_but(self._known)

    def _flows(self, assign: Assign) -> Callable[[Connection, int], Process]:
        """What makes the flow of a source of a connection, under this configuration."""
        dispatcher = self.dispatcher
        assert dispatcher is not None
        routes = Routes(assign.connections)
        policies = Policies.build(assign.service)
        limits = assign.service.limits

        def flow_of(connection: Connection, index: int) -> Process:
            inlet = Inlet(connection, index, connection.sources[index], limits)
            return Flow(inlet, routes, policies, dispatcher, self._tally, self._block)

        return flow_of

    def _start(
        self,
        ref: ClientRef,
        connection: Connection,
        service: Service,
        process_of: Callable[[int], Process],
    ) -> Client:
        assert self.parking is not None
        return Client(
            ref,
            connection,
            service,
            process_of=process_of,
            metrics_of=self._metrics_of,
            tally=self._tally,
            parking=self.parking,
            place_of=self._place_of,
            writer=self._writer,
            block=self._block,
            listeners=self._descriptors,
            changed=self._changed,
        )

    def _place_of(self, name: str, park: Park | None) -> Place:
        return Place(name) if self.poison is None else self.poison.place(name, park)

    async def _close(self, client: Client, drain_s: float) -> None:
        left = await client.close(drain_s)
        del self.here[client.ref.id]
        del self._closing[client.ref.id]
        assert self.dispatcher is not None
        if left:
            self.dispatcher.left(client.ref.id, left)
        self._changed()
        self._again()  # its successor may be waiting

    def _metrics_of(self, connection: str, source: str) -> IntakeMetrics:
        key = (connection, source)
        if key not in self._intake_metrics:
            self._intake_metrics[key] = IntakeMetrics.of(self._block, connection, source)
        return self._intake_metrics[key]

    def _park(
        self, client: str, deliveries: list[Delivery], error: DeliveryRefused, then: Then
    ) -> None:
        """What waits for a client that is no more; nobody else would try again for what finds
        no room.
        """
        assert self.parking is not None
        assert self._service is not None
        connection = client.rpartition("#")[0]
        ledger = ClientLedger(
            connection, self._tally, self.parking, self._service.retry, self._block
        )

        def parked(count: int) -> None:
            then(count)
            if count < len(deliveries):
                asyncio.get_running_loop().call_later(PARK_AGAIN_S, self._park_again)

        ledger.park(deliveries, error, parked)

    def _park_again(self) -> None:
        assert self.dispatcher is not None
        self.dispatcher.forget_all_but(self._known)


def _poison(service: Service) -> Poison | None:
    """None: there is no telling what workers die of, and the service goes on without."""
    try:
        return Poison(Path(service.data_dir) / "poison", service.supervision.poison_crashes)
    except OSError as error:
        tell.poison_unknown(str(error))
        return None
