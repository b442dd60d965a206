"""What waits for clients that live nowhere: it waits on, or is parked, and never vanishes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamproc.config.connection import Connection
from streamproc.config.service import Limits, Service
from streamproc.control import Assign, Replay, Replayed
from streamproc.kernels.delivery import Delivery
from streamproc.kernels.settlement import Ticket
from streamproc.store.environment import StoreError
from streamproc.store.parked import Parked, ParkedStore
from streamproc.telemetry import events as tell
from streamproc.telemetry.slots import Block
from streamproc.worker import clients as module
from streamproc.worker.clients import Clients

DEADLINE_S = 60.0


class Source:
    """Waits for receipts."""

    def __init__(self) -> None:
        self.parked_: list[int] = []

    def parked(self, client: str, numbers: list[int], cause: str) -> None:
        assert cause == "client_not_configured"
        self.parked_ += numbers

    def delivery(self, number: int) -> Delivery:
        ticket = Ticket((self, "source"), number)
        return Delivery(0, f"k{number}", "out", {}, b"%d" % number, ticket)


def assign(generation: int, folder: Path, *names: str, uri: str = "", **limits: Any) -> Assign:
    connections = [
        msgspec.convert({"id": name, "connectionType": "memory", "uri": uri}, Connection)
        for name in names
    ]
    return Assign(
        generation,
        Service(data_dir=str(folder / "data"), limits=Limits(**limits)),
        connections,
        dict.fromkeys(names, f"{generation}"),
        [],
        {},
        [],
    )


@pytest.fixture
async def clients(tmp_path: Path) -> AsyncIterator[Clients]:
    block = Block.create(tmp_path / "metrics")
    it = Clients(0, tmp_path, block, {}, changed=lambda: None, again=lambda: None)
    yield it
    it.close_stores()


async def store(clients: Clients, job: Callable[[ParkedStore], Any]) -> Any:
    """The result of *job* on the parked store, after what was asked for before."""
    done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    assert clients.parking is not None
    clients.parking.use(job, done.set_result)
    found = await done
    assert not isinstance(found, StoreError)
    return found


async def entries(clients: Clients) -> list[Parked]:
    found: list[Parked] = await store(
        clients, lambda parked: [entry for _, entry in parked.select(lambda _: True)]
    )
    return found


def send(clients: Clients, client: str, *deliveries: Delivery) -> None:
    assert clients.dispatcher is not None
    clients.dispatcher.send(client, list(deliveries))


async def test_before_it_is_told_anything_it_answers_that_nothing_lives_here(
    clients: Clients,
) -> None:
    """Silence would cost who asks the whole time that the master waits for answers."""
    said: list[Replayed] = []
    clients.replay(Replay(7, [1, 2]), said.append)
    assert said == [Replayed(7, {})]
    assert clients.report() is None
    assert not clients.arrived("a#0", [])


async def test_what_waits_for_a_connection_that_changes_waits_on(
    tmp_path: Path, clients: Clients
) -> None:
    source = Source()
    clients.apply(assign(1, tmp_path, "a", uri="one"))
    send(clients, "a#0", source.delivery(1), source.delivery(2))
    clients.apply(assign(2, tmp_path, "a", uri="another"))
    assert await entries(clients) == []
    assert clients.dispatcher is not None
    assert clients.dispatcher.waiting == 2
    assert source.parked_ == []


async def test_what_waits_for_a_connection_that_is_gone_is_parked_and_told(
    tmp_path: Path, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source()
    told: list[tuple[Any, ...]] = []
    monkeypatch.setattr(tell, "delivery_parked", lambda *said: told.append(said))
    clients.apply(assign(1, tmp_path, "a", "b"))
    send(clients, "a#0", source.delivery(1), source.delivery(2))
    send(clients, "b#0", source.delivery(3))
    clients.apply(assign(2, tmp_path, "b"))
    found = await entries(clients)
    assert [entry.payload for entry in found] == [b"1", b"2"]
    assert source.parked_ == [1, 2]
    why = "the client a#0 is no longer configured"
    assert told == [("a", 0, "client_not_configured", why, 2)]


async def test_what_finds_no_room_is_parked_when_there_is_some(
    tmp_path: Path, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PARK_AGAIN_S", 0.01)
    source = Source()
    clients.apply(assign(1, tmp_path, "a", parked_messages=2))
    send(clients, "a#0", *map(source.delivery, range(5)))
    clients.apply(assign(2, tmp_path, parked_messages=2))
    kept: list[bytes] = []
    deadline = time.monotonic() + DEADLINE_S
    while len(kept) < 5 and time.monotonic() < deadline:
        kept += [entry.payload for entry in await entries(clients)]
        await store(clients, lambda parked: parked.drop([n for n, _ in parked.select(bool)]))
        await asyncio.sleep(0.01)
    assert kept == [b"0", b"1", b"2", b"3", b"4"]
    assert source.parked_ == [0, 1, 2, 3, 4]
