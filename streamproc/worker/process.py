"""A worker process: follows the master's Assign, runs clients, drains and ends.

Level triggered: each Assign says all that should run, and one task brings what runs closer
to it. The master's death (end of file on the control socket) means: drain and end.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from streamproc.config.connection import Connection
from streamproc.config.service import Service
from streamproc.control import (
    EXIT_STOPPED,
    LENGTH,
    MAX_FRAME_BYTES,
    Assign,
    Beat,
    ClientRef,
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
from streamproc.errors import DeliveryRefused
from streamproc.kernels.delivery import Delivery
from streamproc.store.parked import parked_store
from streamproc.telemetry import events as tell
from streamproc.telemetry import metrics
from streamproc.telemetry.redact import secrets_of
from streamproc.telemetry.slots import Block
from streamproc.twin.policy import Policies
from streamproc.worker.bus import Server
from streamproc.worker.client import Client
from streamproc.worker.crash import install, watch
from streamproc.worker.deadletters import DeadLetters, Rule
from streamproc.worker.dispatch import Dispatcher
from streamproc.worker.flow import Flow
from streamproc.worker.gate import STANDINGS
from streamproc.worker.gauges import SourceGauges
from streamproc.worker.inlet import Inlet
from streamproc.worker.intake import IntakeMetrics, Process
from streamproc.worker.ledger import ClientLedger
from streamproc.worker.listeners import Listeners
from streamproc.worker.outlet import Outlet
from streamproc.worker.parking import Parking, Then
from streamproc.worker.poison import Park, Place, Poison
from streamproc.worker.replays import Replays
from streamproc.worker.routes import Routes, shares_sources
from streamproc.worker.tally import Tally
from streamproc.worker.upkeep import Upkeep
from streamproc.worker.waiting import until
from streamproc.worker.writer import Writer

ORPHAN_DRAIN_S = 30.0


class Worker:
    """Implements ``Receiver`` for the bus."""

    def __init__(self, index: int, bus_dir: Path, block: Block, listeners: Listeners) -> None:
        self._index = index
        self._bus_dir = bus_dir
        self._block = block
        self._listeners = listeners
        self._tally = Tally(block)
        self._bus = Server(self, block)
        self._clients: dict[str, Client] = {}
        self._closing: dict[str, asyncio.Task[None]] = {}
        self._assign: Assign | None = None
        self._reloads = 0  # that this worker knows of
        self._taken: int = -1  # generation that reports speak of
        self._wake = asyncio.Event()
        self._stop: Stop | None = None
        self._stopping = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None
        self._reporting = False
        self._intake_metrics: dict[tuple[str, str], IntakeMetrics] = {}
        self._lag = block.gauge(metrics.EVENT_LOOP_LAG, worker=str(index))
        self._gauges = SourceGauges(block)
        self._writer_thread = Writer()
        # Made by the first Assign.
        self._parking: Parking | None = None
        self._poison: Poison | None = None
        self._upkeep: Upkeep | None = None
        self._replays: Replays | None = None
        self._letters: DeadLetters | None = None
        self._dispatcher: Dispatcher | None = None

    async def run(self, control: socket.socket, bus: socket.socket) -> int:
        """-> the exit code."""
        reader, self._writer = await asyncio.open_connection(sock=control, limit=1 << 20)
        install()
        await self._bus.start(bus)
        self._tell(Ready(os.getpid()))
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(self._listen(reader))
            following = group.create_task(self._follow())
            beating = group.create_task(self._beat())
            await self._stopping.wait()
            following.cancel()
            await self._end()
            listening.cancel()
            beating.cancel()
        return EXIT_STOPPED

    # The control channel.

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                (length,) = LENGTH.unpack(await reader.readexactly(4))
                if length > MAX_FRAME_BYTES:
                    raise ConnectionError(f"a control frame of {length} bytes")
                message = to_worker.decode(await reader.readexactly(length))
                if isinstance(message, Assign):
                    self._assign = message
                    self._wake.set()
                elif isinstance(message, Replay):
                    if self._replays is None:  # no Assign yet: no client lives here
                        self._tell(Replayed(message.number, {}))
                    else:
                        self._replays.replay(message, self._tell)
                else:
                    self._stop = message
                    self._stopping.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            self._writer = None
            if self._stop is None:
                tell.master_lost(self._index)
                drain_s = ORPHAN_DRAIN_S
                if self._assign is not None:
                    drain_s = self._assign.service.supervision.drain_s
                self._stop = Stop(drain_s)
                self._stopping.set()

    def _tell(self, message: FromWorker) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(frame(message))

    def _report_soon(self) -> None:
        if not self._reporting:
            self._reporting = True
            asyncio.get_running_loop().call_soon(self._report)

    def _report(self) -> None:
        self._reporting = False
        if self._taken >= 0:
            reports = [client.report() for client in self._clients.values()]
            self._tell(Report(self._taken, reports))

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            every_s = 1.0
            if self._assign is not None:
                every_s = self._assign.service.supervision.heartbeat_s
            due = loop.time() + every_s
            await asyncio.sleep(every_s)
            lag_s = max(0.0, loop.time() - due)
            self._lag.set(lag_s)
            self._gauge()
            if self._upkeep is not None and self._assign is not None:
                self._upkeep.look(self._assign.service.limits.parked_age_s)
            if self._poison is not None:
                self._poison.follow()
            tell.flush()
            self._tell(Beat(lag_s))

    def _gauge(self) -> None:
        oldest: dict[tuple[str, int], float] = {}
        depth: dict[str, int] = {}
        on_disk: dict[str, tuple[int, int]] = {}
        state: dict[str, int] = {}
        limit: dict[str, int] = {}
        for client in self._clients.values():
            name = client.connection.id
            for index, age_s in client.oldest_s().items():
                oldest[name, index] = max(age_s, oldest.get((name, index), 0.0))
            if client.outlet is not None:
                depth[name] = depth.get(name, 0) + client.outlet.lanes.waiting
                pace = client.outlet.pace
                standing = STANDINGS.index(pace.standing().state)
                state[name] = max(standing, state.get(name, 0))
                limit[name] = pace.limit + limit.get(name, 0)
                for cause, times in pace.take_holds().items():
                    holds = metrics.ENDPOINT_HOLDS
                    self._block.counter(holds, connection=name, cause=cause).add(times)
                count, size = on_disk.get(name, (0, 0))
                more, more_bytes = client.outlet.on_disk
                on_disk[name] = (count + more, size + more_bytes)
        self._gauges.show(
            intake for client in self._clients.values() for _, intake in client.intakes
        )
        for (name, index), age_s in oldest.items():
            slot = self._block.gauge(metrics.OLDEST_UNSETTLED, connection=name, source=str(index))
            slot.set(age_s)
        for name, count in depth.items():
            self._block.gauge(metrics.LANE_DEPTH, connection=name).set(count)
        for name, standing in state.items():
            self._block.gauge(metrics.ENDPOINT_STATE, connection=name).set(standing)
            self._block.gauge(metrics.ENDPOINT_LIMIT, connection=name).set(limit[name])
        for name, (count, size) in on_disk.items():
            self._block.gauge(metrics.SPILL_DEPTH, connection=name).set(count)
            self._block.gauge(metrics.SPILL_BYTES, connection=name).set(size)
        if self._dispatcher is not None:
            for peer, count in self._dispatcher.waiting_by_peer().items():
                self._block.gauge(metrics.BUS_WAITING, peer=str(peer)).set(count)

    # Following the master.

    async def _follow(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            assert self._assign is not None
            self._apply(self._assign)

    def _apply(self, assign: Assign) -> None:
        self._listeners.receive(assign.listeners)
        service = assign.service
        tell.configure(service.log, f"worker {self._index}")
        tell.hide(secrets_of(assign.connections, assign.service))
        if self._parking is None:
            self._parking = Parking(lambda: parked_store(service), self._writer_thread)
            self._upkeep = Upkeep(
                self._parking, self._writer_thread, self._block, Path(service.data_dir) / "spill"
            )
            self._replays = Replays(self._parking, self._tally, self._block, self._outlet_of)
            self._poison = _poison(service)
        elif self._poison is not None:
            self._poison.look()  # clients that come may have left a worker that died
        if self._dispatcher is None:
            self._dispatcher = Dispatcher(
                self._index, self._bus_dir, service.limits, self._tally, self._block, self._park
            )
        connections = {connection.id: connection for connection in assign.connections}
        flow_of = self._flows(assign)
        wanted = {ref.id: ref for ref in assign.clients}
        for client_id, client in list(self._clients.items()):
            if wanted.get(client_id) == client.ref:
                client.reroute(partial(flow_of, client.connection))
            elif client_id not in self._closing:
                task = self._close(client, service.supervision.drain_s)
                self._closing[client_id] = watch(task)
        for client_id, ref in wanted.items():
            if client_id not in self._clients:
                connection = connections[ref.connection_id]
                self._clients[client_id] = self._start(
                    ref, connection, service, partial(flow_of, connection)
                )
        resume, self._reloads = assign.reloads != self._reloads, assign.reloads
        for client in self._clients.values():
            if client.outlet is not None:
                if resume:
                    client.outlet.pace.resume()
                client.outlet.shares_sources = shares_sources(client.connection, assign.connections)
        self._locate(assign)
        self._look_after_stores(assign)
        if self._letters is None:
            self._letters = DeadLetters(
                self._dispatcher.send, self._parking.keep_all, self._tally, self._block
            )
            self._parking.elsewhere = self._letters
        self._letters.rule = Rule.of(service, assign.connections)
        self._taken = assign.generation
        self._report_soon()

    def _look_after_stores(self, assign: Assign) -> None:
        assert self._replays is not None
        assert self._upkeep is not None
        counts = {connection.id: connection.client_count for connection in assign.connections}
        self._replays.client_counts = counts
        self._upkeep.park_what_is_nobodys(
            f"{name}#{index}"
            for name, count in (counts | assign.closed).items()
            for index in range(count)
        )

    def _outlet_of(self, client: str) -> Outlet | None:
        """The target side of a client that lives here and is to stay."""
        here = self._clients.get(client)
        return None if here is None or client in self._closing else here.outlet

    def _locate(self, assign: Assign) -> None:
        assert self._dispatcher is not None
        outlets = {
            client_id: client.outlet
            for client_id, client in self._clients.items()
            if client.outlet is not None and client_id not in self._closing
        }
        self._dispatcher.assign(assign.locations, outlets)
        known = {
            f"{connection.id}#{index}"
            for connection in assign.connections
            for index in range(connection.client_count)
        }
        self._dispatcher.forget_all_but(known)

    def _flows(self, assign: Assign) -> Callable[[Connection, int], Process]:
        """What makes the flow of a source of a connection, under this configuration."""
        dispatcher = self._dispatcher
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
        assert self._parking is not None
        return Client(
            ref,
            connection,
            service,
            process_of=process_of,
            metrics_of=self._metrics_of,
            tally=self._tally,
            parking=self._parking,
            place_of=self._place_of,
            writer=self._writer_thread,
            block=self._block,
            listeners=self._listeners.descriptors,
            changed=self._report_soon,
        )

    def _place_of(self, name: str, park: Park | None) -> Place:
        return Place(name) if self._poison is None else self._poison.place(name, park)

    async def _close(self, client: Client, drain_s: float) -> None:
        left = await client.close(drain_s)
        del self._clients[client.ref.id]
        del self._closing[client.ref.id]
        assert self._dispatcher is not None
        if left:
            self._dispatcher.left(client.ref.id, left)
        self._report_soon()
        self._wake.set()  # its successor may be waiting

    def _metrics_of(self, connection: str, source: str) -> IntakeMetrics:
        key = (connection, source)
        if key not in self._intake_metrics:
            self._intake_metrics[key] = IntakeMetrics.of(self._block, connection, source)
        return self._intake_metrics[key]

    def _park(
        self, client: str, deliveries: list[Delivery], error: DeliveryRefused, then: Then
    ) -> None:
        assert self._parking is not None
        assert self._assign is not None
        connection = client.rpartition("#")[0]
        retry = self._assign.service.retry
        ledger = ClientLedger(connection, self._tally, self._parking, retry, self._block)
        ledger.park(deliveries, error, then)

    # What peers bring.

    def arrived(self, client: str, deliveries: list[Delivery]) -> bool:
        here = self._clients.get(client)
        if here is None or here.outlet is None or client in self._closing:
            return False
        here.outlet.offer(deliveries)
        return True

    def peer_changed(self) -> None:
        """Looked at by ``_end``."""

    # The end.

    async def _end(self) -> None:
        """Drain own sources, then serve peers until they are drained too."""
        assert self._stop is not None
        deadline = time.monotonic() + self._stop.drain_s
        clients = list(self._clients.values())
        if self._letters is not None:
            self._letters.end()
        for client in clients:
            client.stop_sources()
        await until(lambda: all(client.sources_idle for client in clients), deadline)
        for client in clients:
            for _, intake in client.intakes:
                await intake.close()
        left = sum(client.unsettled for client in clients)
        self._tell(Drained(left))
        if self._dispatcher is not None:
            self._dispatcher.drained()
        await until(lambda: self._bus.finished, deadline)
        outlets = [client.outlet for client in clients if client.outlet is not None]
        await until(lambda: not any(len(outlet.lanes) for outlet in outlets), deadline)
        for outlet in outlets:
            await outlet.close()
        await self._bus.close()
        if self._dispatcher is not None:
            await self._dispatcher.close()
        self._writer_thread.close()
        if self._parking is not None:
            self._parking.close()
        if self._poison is not None:
            self._poison.close()
        with suppress(ConnectionError):
            if self._writer is not None:
                await self._writer.drain()


def _poison(service: Service) -> Poison | None:
    """None: there is no telling what workers die of, and the service goes on without."""
    try:
        return Poison(Path(service.data_dir) / "poison", service.supervision.poison_crashes)
    except OSError as error:
        tell.poison_unknown(str(error))
        return None
