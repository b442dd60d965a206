"""A worker process: follows the master's Assign, serves its peers, drains and ends.

The master's death (end of file on the control socket) means: drain and end.
"""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

from streamproc.control import EXIT_STOPPED
from streamproc.kernels.delivery import Delivery
from streamproc.telemetry import events as tell
from streamproc.telemetry import metrics
from streamproc.telemetry.slots import Block
from streamproc.worker.bus import Server
from streamproc.worker.channel import Channel
from streamproc.worker.clients import Clients
from streamproc.worker.crash import install
from streamproc.worker.gauges import ClientGauges, SourceGauges
from streamproc.worker.listeners import Listeners
from streamproc.worker.waiting import until


class Worker:
    """Implements ``Receiver`` for the bus."""

    def __init__(self, index: int, bus_dir: Path, block: Block, listeners: Listeners) -> None:
        self._bus = Server(self, block)
        self._listeners = listeners
        self._channel = Channel(
            index,
            lambda: self._clients.report(),
            lambda message, answer: self._clients.replay(message, answer),
        )
        self._clients = Clients(
            index,
            bus_dir,
            block,
            listeners.descriptors,
            changed=self._channel.report_soon,
            again=self._channel.told.set,
        )
        self._lag = block.gauge(metrics.EVENT_LOOP_LAG, worker=str(index))
        self._source_gauges = SourceGauges(block)
        self._client_gauges = ClientGauges(block)

    async def run(self, control: socket.socket, bus: socket.socket) -> int:
        """-> the exit code."""
        channel = self._channel
        reader = await channel.open(control)
        install()
        await self._bus.start(bus)
        channel.ready()
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(channel.listen(reader))
            following = group.create_task(self._follow())
            beating = group.create_task(self._beat())
            await channel.stopping.wait()
            following.cancel()
            await self._end()
            listening.cancel()
            beating.cancel()
        return EXIT_STOPPED

    async def _follow(self) -> None:
        channel = self._channel
        while True:
            await channel.told.wait()
            channel.told.clear()
            assert channel.assign is not None
            self._listeners.receive(channel.assign.listeners)
            self._clients.apply(channel.assign)

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        clients, channel = self._clients, self._channel
        while True:
            every_s = 1.0
            if channel.assign is not None:
                every_s = channel.assign.service.supervision.heartbeat_s
            due = loop.time() + every_s
            await asyncio.sleep(every_s)
            lag_s = max(0.0, loop.time() - due)
            self._lag.set(lag_s)
            here = clients.here.values()
            self._source_gauges.show(intake for client in here for _, intake in client.intakes)
            self._client_gauges.show(here, clients.waiting_by_peer())
            if clients.upkeep is not None and channel.assign is not None:
                clients.upkeep.look(channel.assign.service.limits.parked_age_s)
            if clients.poison is not None:
                clients.poison.follow()
            tell.flush()
            channel.beat(lag_s)

    # What peers bring.

    def arrived(self, client: str, deliveries: list[Delivery]) -> bool:
        return self._clients.arrived(client, deliveries)

    def peer_changed(self) -> None:
        """Looked at by ``_end``."""

    # The end.

    async def _end(self) -> None:
        """Drain own sources, then serve peers until they are drained too."""
        assert self._channel.stop is not None
        deadline = time.monotonic() + self._channel.stop.drain_s
        clients = list(self._clients.here.values())
        dispatcher = self._clients.dispatcher
        if self._clients.letters is not None:
            self._clients.letters.end()
        for client in clients:
            client.stop_sources()
        await until(lambda: all(client.sources_drained for client in clients), deadline)
        await asyncio.gather(*(i.close() for client in clients for _, i in client.intakes))
        self._channel.drained(sum(client.unsettled for client in clients))
        if dispatcher is not None:
            dispatcher.drained()
        await until(lambda: self._bus.finished, deadline)
        outlets = [client.outlet for client in clients if client.outlet is not None]
        await until(lambda: not any(len(outlet.lanes) for outlet in outlets), deadline)
        await asyncio.gather(*(outlet.close() for outlet in outlets))
        await self._bus.close()
        if dispatcher is not None:
            await dispatcher.close()
        self._clients.close_stores()
        await self._channel.flush()
