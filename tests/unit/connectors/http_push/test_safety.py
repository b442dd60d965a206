"""Addresses are checked as they are connected to, and names looked up anew."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from streamproc.config.connection import Connection
from streamproc.config.hosts import HostCheck, address_of
from streamproc.config.service import Hosts
from streamproc.connectors.http_push import dial as dialling
from streamproc.connectors.http_push import safety
from streamproc.connectors.http_push.dial import dial
from streamproc.connectors.http_push.endpoint import Endpoint
from streamproc.connectors.http_push.safety import Place, Reach, in_turn
from streamproc.errors import Misconfigured, NotConnected
from tests.conformance.runner import soon

V4, V6 = socket.AF_INET, socket.AF_INET6


class Names:
    """A resolver of the test's: each name has what it is given, and counts who asks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.addresses: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.wait: asyncio.Event | None = None
        monkeypatch.setattr(safety, "_resolved", self._resolved)
        monkeypatch.setattr(safety, "FRESH_S", -1.0)

    async def _resolved(self, host: str, port: int) -> list[Place]:
        self.asked.append(host)
        if self.wait is not None:
            await self.wait.wait()
        if host not in self.addresses:
            raise OSError("no such name")
        return [Place(V6 if ":" in text else V4, (text, port)) for text in self.addresses[host]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


class Listener:
    """Counts connections."""

    def __init__(self) -> None:
        self.connections = 0
        self._server: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        self._server = await asyncio.start_server(self._serve, host, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    def close(self) -> None:
        if self._server is not None:
            self._server.close()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    made = Listener()
    yield made
    made.close()


def endpoint(port: int, host: str = "h.example", **rules: Any) -> Endpoint:
    uri = f"http://{host}:{port}"
    return Endpoint(Connection(id="c", connection_type="http-push", uri=uri), Hosts(**rules))


async def connect(end: Endpoint) -> str:
    """-> the address that was connected to"""
    protocol = await soon(end.connect(Noting, 10))
    where = protocol.peer
    protocol.transport.abort()
    return where


class Noting(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.peer: str = transport.get_extra_info("peername")[0]


@pytest.mark.parametrize(
    "address",
    [
        *("169.254.169.254", "169.254.1.1", "fe80::1", "fd00:ec2::254", "100.100.100.200"),
        *("168.63.129.16", "192.0.0.192", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"),
        "2002:a9fe:a9fe::1",
    ],
)
async def test_metadata_and_link_local_addresses_are_refused_without_any_rule(
    names: Names, address: str
) -> None:
    names.addresses["h.example"] = [address]
    with pytest.raises(Misconfigured, match=r"h\.example may not be reached: it has"):
        await connect(endpoint(80))
    literal = f"[{address}]" if ":" in address else address
    names.addresses[address] = [address]
    with pytest.raises(Misconfigured, match="may not be reached"):
        await connect(endpoint(80, literal))
    assert HostCheck(Hosts()).refusal(literal), "lint says it, too"


@pytest.mark.parametrize("host", ["2852039166", "0xa9fea9fe", "169.254.43518", "0251.0376.1"])
async def test_no_spelling_of_an_address_gets_past(host: str) -> None:
    """What the system's resolver makes of it is what counts."""
    with pytest.raises(Misconfigured, match=r"may not be reached: it has|link-local"):
        await soon(Reach(host, 80, Hosts()).places())


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "8.8.8.8", "fd00::1", "::1"])
async def test_other_addresses_are_not(names: Names, address: str) -> None:
    names.addresses["h.example"] = [address]
    (place,) = await Reach("h.example", 80, Hosts()).places()
    assert place.address[0] == address


@pytest.mark.parametrize("allowed", ["h.example", "169.254.169.254"])
async def test_what_is_allowed_is_reached(names: Names, allowed: str) -> None:
    names.addresses["h.example"] = ["169.254.169.254"]
    rules = Hosts(allowed=[allowed], blocked_subnets=["0.0.0.0/0"])
    assert len(await Reach("h.example", 80, rules).places()) == 1


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ({"blocked": ["h.example"]}, "is a host that is blocked"),
        ({"blocked": ["127.0.0.1"]}, "loopback"),
        ({"blocked": ["93.184.216.34"]}, "loopback"),
        ({"blocked_subnets": ["93.0.0.0/8"]}, "loopback"),
        ({"blocked_regex": r".*\.example"}, "blocked by pattern"),
    ],
)
async def test_a_rule_holds_for_the_address_that_is_connected_to(
    names: Names, listener: Listener, rules: dict[str, Any], says: str
) -> None:
    port = await listener.start()
    names.addresses["h.example"] = ["127.0.0.1"]
    with pytest.raises(Misconfigured, match=says):
        await connect(endpoint(port, **rules))
    assert listener.connections == 0


async def test_a_blocked_name_blocks_its_addresses(names: Names) -> None:
    names.addresses |= {"h.example": ["93.184.216.34"], "bad.example": ["93.184.216.34"]}
    reach = Reach("h.example", 80, Hosts(blocked=["bad.example", "gone.example"]))
    with pytest.raises(Misconfigured, match="a blocked address"):
        await reach.places()


async def test_a_name_that_moves_gains_nothing(names: Names, listener: Listener) -> None:
    """DNS rebinding: what lint saw was fine, what is connected to is not."""
    port = await listener.start()
    names.addresses["h.example"] = ["93.184.216.34"]
    end = endpoint(port, blocked_subnets=["192.0.2.0/24"])
    assert not HostCheck(
        Hosts(blocked_subnets=["192.0.2.0/24"]), lambda *_: ["93.184.216.34"]
    ).refusal("h.example")
    names.addresses["h.example"] = ["127.0.0.1"]
    with pytest.raises(Misconfigured, match="loopback"):
        await connect(end)
    assert listener.connections == 0


async def test_of_several_addresses_those_that_may_be_reached_are_used(names: Names) -> None:
    names.addresses["h.example"] = ["169.254.169.254", "10.0.0.1", "fe80::1"]
    places = await Reach("h.example", 80, Hosts()).places()
    assert [place.address[0] for place in places] == ["10.0.0.1"]


async def test_each_connect_follows_the_name(names: Names, listener: Listener) -> None:
    port = await listener.start("127.0.0.1")
    other = Listener()
    try:
        await other.start("127.0.0.2", port)
        end = endpoint(port)
        for address in ("127.0.0.1", "127.0.0.2", "127.0.0.1"):
            names.addresses["h.example"] = [address]
            assert await connect(end) == address
    finally:
        other.close()


async def test_connects_that_come_together_share_a_look_up(names: Names) -> None:
    names.addresses["h.example"] = ["10.0.0.1"]
    names.wait = asyncio.Event()
    reach = Reach("h.example", 80, Hosts())
    asking = [asyncio.create_task(reach.places()) for _ in range(10)]
    await asyncio.sleep(0)
    asking[0].cancel()  # takes the answer from nobody else
    names.wait.set()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert [isinstance(each, list) for each in found] == [False] + [True] * 9
    assert names.asked == ["h.example"]


async def test_a_name_without_address_is_tried_again(names: Names, listener: Listener) -> None:
    port = await listener.start()
    end = endpoint(port)
    with pytest.raises(NotConnected, match=r"cannot resolve h\.example"):
        await connect(end)
    names.addresses["h.example"] = ["127.0.0.1"]
    assert await connect(end) == "127.0.0.1"


def test_addresses_take_turns() -> None:
    four = [Place(V4, (f"4.{n}", 1)) for n in range(3)]
    six = [Place(V6, (f"6.{n}", 1)) for n in range(2)]

    def order(turn: int) -> list[str]:
        return [place.address[0] for place in in_turn(six + four, turn)]

    assert order(0) == ["6.0", "4.0", "6.1", "4.1", "4.2"]
    assert order(1) == ["6.1", "4.1", "6.0", "4.2", "4.0"]
    assert {order(turn)[0] for turn in range(9)} == {"6.0", "6.1"}
    assert in_turn([], 3) == []


class Attempts:
    """Stands for the operating system: some addresses answer, some refuse, some are silent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **tempers: str) -> None:
        self.tempers = tempers
        self.sockets: list[socket.socket] = []
        self.tried: list[str] = []
        self._all_tried = asyncio.Event()
        monkeypatch.setattr(dialling, "_connected", self._connected)

    async def _connected(self, place: Place) -> socket.socket:
        name = place.address[0]
        self.tried.append(name)
        if self.tempers[name] == "refuses":
            raise ConnectionRefusedError(111, "refused")
        if self.tempers[name] == "silent":
            await asyncio.Event().wait()
        if len(self.tried) == len(self.tempers):
            self._all_tried.set()
        if self.tempers[name] == "together":
            await self._all_tried.wait()
        made = socket.socket()
        self.sockets.append(made)
        return made

    @property
    def still_open(self) -> int:
        return sum(made.fileno() >= 0 for made in self.sockets)

    def places(self) -> list[Place]:
        return [Place(V4, (name, 1)) for name in self.tempers]


async def test_a_silent_address_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "STAGGER_S", 0.01)
    them = Attempts(monkeypatch, a="silent", b="silent", c="answers")
    won = await soon(dial(them.places()))
    assert them.tried == ["a", "b", "c"]
    assert won in them.sockets
    won.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_after_a_refusal_the_next_is_tried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "STAGGER_S", 1e6)
    them = Attempts(monkeypatch, a="refuses", b="refuses", c="answers", d="answers")
    won = await soon(dial(them.places()))
    assert them.tried == ["a", "b", "c"]
    won.close()


async def test_the_last_refusal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    them = Attempts(monkeypatch, a="refuses", b="refuses")
    with pytest.raises(ConnectionRefusedError):
        await soon(dial(them.places()))


async def test_two_that_answer_at_once_leave_one_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "STAGGER_S", 0.0)
    them = Attempts(monkeypatch, a="together", b="together", c="together")
    won = await soon(dial(them.places()))
    assert len(them.sockets) == 3
    assert them.still_open == 1
    won.close()


async def test_who_gives_up_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "STAGGER_S", 0.0)
    them = Attempts(monkeypatch, a="silent", b="silent")
    task = asyncio.create_task(dial(them.places()))
    while len(them.tried) < 2:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert them.still_open == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("64:ff9b::102:304", "1.2.3.4"),
        ("2002:102:304::", "1.2.3.4"),
        ("1.2.3.4", "1.2.3.4"),
        ("x", None),
    ],
)
def test_an_address_is_taken_for_what_it_reaches(text: str, means: str | None) -> None:
    found = address_of(text)
    assert (None if found is None else str(found)) == means
