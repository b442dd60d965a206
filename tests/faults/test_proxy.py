"""The proxy does to connections what its calls say, and nothing else."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from tests.brokers.broker import eventually
from tests.brokers.kafka import Kafka
from tests.brokers.kafka_client import KafkaClient
from tests.brokers.ports import HOST
from tests.faults.proxy import Proxy

PATIENCE = 30.0  # seconds
MOMENT = 0.1  # seconds in which nothing may come


class Echo(socketserver.ThreadingTCPServer):
    """Says back what it hears, and remembers it."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__((HOST, 0), EchoHandler)
        self.heard = b""
        self.errors: list[OSError] = []
        self.hung_up = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class EchoHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Echo)
        try:
            while chunk := self.request.recv(65536):
                self.server.heard += chunk
                self.request.sendall(chunk)
        except OSError as error:
            self.server.errors.append(error)
        self.server.hung_up.set()


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy(echo.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    """A connection that is known to have reached the server."""
    with connect(proxy) as connection:
        said_back(connection, b"hello")
        yield connection


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection((HOST, proxy.port), timeout=PATIENCE)


def said_back(connection: socket.socket, data: bytes) -> None:
    connection.sendall(data)
    heard(connection, data)


def heard(connection: socket.socket, data: bytes) -> None:
    found = b""
    while len(found) < len(data):
        chunk = connection.recv(65536)
        assert chunk, "ended early"
        found += chunk
    assert found == data


def is_silent(connection: socket.socket) -> bool:
    connection.settimeout(MOMENT)
    try:
        return not connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(PATIENCE)


def test_forwards_what_is_larger_than_any_buffer(proxy: Proxy, client: socket.socket) -> None:
    data = bytes(range(256)) * 40_000
    writer = threading.Thread(target=client.sendall, args=(data,))
    writer.start()
    heard(client, data)
    writer.join()


def test_an_orderly_end_passes_through_both_ways(
    proxy: Proxy, client: socket.socket, echo: Echo
) -> None:
    client.shutdown(socket.SHUT_WR)
    assert echo.hung_up.wait(PATIENCE)
    assert client.recv(1) == b""
    assert eventually(lambda: proxy.open == 0)
    assert echo.errors == []


def test_cut_resets_both_sides_and_welcomes_new_connections(
    proxy: Proxy, client: socket.socket, echo: Echo
) -> None:
    proxy.cut()
    assert proxy.open == 0
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert echo.hung_up.wait(PATIENCE)
    assert [type(error) for error in echo.errors] == [ConnectionResetError]
    with connect(proxy) as another:
        said_back(another, b"again")
    assert proxy.accepted == 2


def test_frozen_holds_what_comes_and_thawed_delivers_it_in_order(
    proxy: Proxy, client: socket.socket, echo: Echo
) -> None:
    proxy.freeze()
    client.sendall(b"1")
    client.sendall(b"2")
    with connect(proxy) as another:
        another.sendall(b"3")
        assert is_silent(client)
        assert echo.heard == b"hello"
        proxy.thaw()
        heard(client, b"12")
        heard(another, b"3")


def test_cut_works_on_what_is_frozen(proxy: Proxy, client: socket.socket) -> None:
    proxy.freeze()
    client.sendall(b"1")
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_slow_delays_each_way_keeps_order_and_ends(proxy: Proxy, client: socket.socket) -> None:
    proxy.slow(0.2)
    began = time.monotonic()
    said_back(client, b"late")
    assert time.monotonic() - began >= 0.39
    client.sendall(b"slow")
    proxy.slow(0)
    client.sendall(b"quick")
    heard(client, b"slowquick")


def test_half_close_ends_what_is_heard_and_not_what_is_said(
    proxy: Proxy, client: socket.socket, echo: Echo
) -> None:
    proxy.half_close()
    assert client.recv(1) == b""
    client.sendall(b"still")
    assert eventually(lambda: echo.heard == b"hellostill")


def test_refuse_turns_new_connections_away_and_leaves_the_open_ones(
    proxy: Proxy, client: socket.socket
) -> None:
    proxy.refuse()
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    said_back(client, b"open")
    proxy.accept()
    proxy.accept()
    with connect(proxy) as another:
        said_back(another, b"again")


def test_a_server_that_is_down_resets_the_client() -> None:
    with Proxy() as proxy:
        with pytest.raises(ConnectionResetError), connect(proxy) as connection:
            connection.recv(1)
        assert eventually(lambda: proxy.open == 0)


async def test_calls_may_come_from_a_coroutine(proxy: Proxy, client: socket.socket) -> None:
    proxy.freeze()
    proxy.thaw()
    said_back(client, b"here")


def test_kafka_sends_its_clients_through_the_proxy(real_kafka: type[Kafka]) -> None:
    with Proxy() as proxy, real_kafka(proxied=proxy.port) as kafka:
        proxy.target = kafka.proxied_port
        through = KafkaClient()
        through.bootstrap = f"{HOST}:{proxy.port}"
        kafka.create_topic("t")
        through.produce("t", [(b"k", b"1")])
        met = proxy.accepted
        proxy.cut()
        through.produce("t", [(b"k", b"2")])
        assert [record.value for record in kafka.consume("t", 2)] == [b"1", b"2"]
        assert proxy.accepted > met > 1
