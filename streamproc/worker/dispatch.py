"""Brings deliveries to clients, wherever these live, and receipts back to their sources.

One outbox a client. The master says where clients live (``Assign.locations``); this follows,
and tries again when a client has not arrived where it was announced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

from streamproc.config.service import Limits
from streamproc.errors import ClientNotConfigured, DeliveryRefused
from streamproc.kernels.delivery import Delivery
from streamproc.telemetry import events as tell
from streamproc.telemetry import metrics
from streamproc.telemetry.slots import Block
from streamproc.worker.bus import Answered, Peer
from streamproc.worker.outbox import Outbox
from streamproc.worker.outlet import Outlet
from streamproc.worker.tally import Tally

LOOK_AGAIN_S = 0.05
ANSWER_WITHIN_S = 20.0
"""A worker that a client has left answers for what it was sent, when the client is closed."""

Park = Callable[[str, list[Delivery], DeliveryRefused, Callable[[int], None]], None]


class Dispatcher:
    """The outboxes of this worker, and its connections to peers. Implements ``Sender``."""

    def __init__(
        self,
        index: int,
        bus_dir: Path,
        limits: Limits,
        tally: Tally,
        block: Block,
        park: Park,
    ) -> None:
        self._index = index
        self._bus_dir = bus_dir
        self._limits = limits
        self._tally = tally
        self._block = block
        self._park = park
        self._locations: dict[str, int] = {}
        self._outlets: dict[str, Outlet] = {}
        self._outboxes: dict[str, Outbox] = {}
        self._peers: dict[int, Peer] = {}

    def send(self, client: str, deliveries: list[Delivery]) -> None:
        """Bring *deliveries* to *client*, after all that was sent to it before."""
        outbox = self._outboxes.get(client)
        if outbox is None:
            outbox = self._outbox(client)
        outbox.send(deliveries)

    @property
    def waiting(self) -> int:
        """Deliveries that no client has been handed yet, or without receipt from a peer."""
        return sum(len(outbox) for outbox in self._outboxes.values())

    def waiting_by_peer(self) -> dict[int, int]:
        """Deliveries that wait for credit, by the worker they go to."""
        waiting: dict[int, int] = {}
        for client, outbox in self._outboxes.items():
            index = self._locations.get(client, self._index)
            if index != self._index:
                waiting[index] = waiting.get(index, 0) + outbox.waiting
        return waiting

    # Where clients live.

    def assign(self, locations: dict[str, int], outlets: dict[str, Outlet]) -> None:
        """Clients live there now; *outlets* are the ones that live here."""
        self._locations = locations
        self._outlets = outlets
        for index in set(locations.values()) - {self._index} - self._peers.keys():
            path = self._bus_dir / f"bus-{index}.sock"
            sent = self._block.counter(metrics.BUS_MESSAGES, direction="out", peer=str(index))
            self._peers[index] = Peer(index, str(path), self._index, self, sent)
        for client in self._outboxes.keys() | locations.keys():
            self._locate(client)

    def _locate(self, client: str) -> None:
        outbox = self._outbox(client)
        index = self._locations.get(client)
        if index is None:
            outbox.locate(None)
        elif index == self._index:
            outbox.locate(self._outlets.get(client))
        else:
            outbox.locate(self._peers[index])
        if index is not None and outbox.held_up:
            later = asyncio.get_running_loop().call_later
            later(ANSWER_WITHIN_S, self._insist, client, outbox, outbox.epoch)

    def _insist(self, client: str, outbox: Outbox, epoch: int) -> None:
        """Whoever had the client has not answered in time: better twice than never."""
        if self._outboxes.get(client) is outbox and outbox.held_up and outbox.epoch == epoch:
            tell.peer_silent(self._index, client, outbox.recall())
            outbox.pump()

    def left(self, client: str, deliveries: list[Delivery]) -> None:
        """A client that lived here is closed; *deliveries*, our own, were not delivered."""
        self._outbox(client).put_back(deliveries)

    def forget_all_but(self, known: set[str]) -> None:
        """Clients that are not *known* will not be again: what is left for them is parked."""
        for client in self._outboxes.keys() - known:
            left = self._outboxes.pop(client).clear()
            if left:
                error = ClientNotConfigured(f"the client {client} is no longer configured")
                self._park(client, left, error, partial(self._parked, client, left))

    def _parked(self, client: str, deliveries: list[Delivery], count: int) -> None:
        if count < len(deliveries):  # no room: they wait until there is some, or the target
            self._outbox(client).put_back(deliveries[count:])

    def _outbox(self, client: str) -> Outbox:
        outbox = self._outboxes.get(client)
        if outbox is None:
            outbox = self._outboxes[client] = Outbox(
                client, self._limits.target_window_messages, self._limits.target_window_bytes
            )
        return outbox

    # What peers say.

    def receipts(self, client: str, numbers: list[int]) -> None:
        outbox = self._outbox(client)
        self._tally.delivered(_connection(client), outbox.concluded(numbers))
        outbox.pump()

    def answered(self, client: str, answers: list[Answered]) -> None:
        self._outbox(client).answered(answers)

    def parked(self, client: str, items: list[tuple[int, str]]) -> None:
        outbox = self._outbox(client)
        for number, cause in items:
            self._tally.parked(_connection(client), outbox.concluded((number,)), cause)
        outbox.pump()

    def spilled(self, client: str, numbers: list[int]) -> None:
        outbox = self._outbox(client)
        self._tally.spilled(_connection(client), outbox.concluded(numbers))
        outbox.pump()

    def came_back(self, client: str, numbers: list[int]) -> None:
        self._outbox(client).came_back(numbers)
        asyncio.get_running_loop().call_later(LOOK_AGAIN_S, self._locate, client)

    def peer_up(self, peer: Peer) -> None:
        for outbox in self._outboxes.values():
            if outbox.lives_at(peer):
                outbox.pump()

    def peer_lost(self, peer: Peer) -> None:
        reopened = 0
        for outbox in self._outboxes.values():
            if outbox.was_sent_to(peer):
                reopened += outbox.recall()
                outbox.pump()
        tell.peer_lost(self._index, peer.index, reopened)

    # The end.

    def drained(self) -> None:
        """Tell every peer that nothing more will be sent."""
        for peer in self._peers.values():
            peer.drained()

    async def close(self) -> None:
        for peer in self._peers.values():
            await peer.close()


def _connection(client: str) -> str:
    return client.rpartition("#")[0]
