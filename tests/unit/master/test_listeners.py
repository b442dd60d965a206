"""Sockets that outlive workers: opened all or none, closed for everybody."""

from __future__ import annotations

import socket

import pytest

from streamproc.config.connection import Connection
from streamproc.errors import ConfigError
from streamproc.master.listeners import Listeners, address_of, wanted


def ingest(identity: str, uri: str, kind: str = "http-ingest") -> Connection:
    return Connection(id=identity, connection_type=kind, uri=uri)  # type: ignore[arg-type]


def test_only_ingestion_needs_listeners_and_each_once() -> None:
    connections = [
        ingest("a", "http://0.0.0.0:8080/x"),
        ingest("b", "http://0.0.0.0:8080"),
        ingest("c", "http://Host"),
        ingest("d", "http://[::1]:9000"),
        ingest("e", "https://elsewhere:443", kind="http-push"),
    ]
    assert wanted(connections) == ["0.0.0.0:8080", "::1:9000", "host:80"]


def test_a_listener_listens_and_is_opened_once() -> None:
    listeners = Listeners()
    listeners.open(["127.0.0.1:0"])
    first = listeners.sockets["127.0.0.1:0"]
    listeners.open(["127.0.0.1:0"])
    assert listeners.sockets["127.0.0.1:0"] is first
    port = first.getsockname()[1]
    assert listeners.addresses() == {"127.0.0.1:0": f"127.0.0.1:{port}"}
    socket.create_connection(("127.0.0.1", port), timeout=60).close()
    listeners.close_all_but([])


def test_all_are_opened_or_none() -> None:
    listeners = Listeners()
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ConfigError, match=r"cannot listen on .*: Address already in use"),
    ):
        listeners.open(["127.0.0.1:0", address_of(taken)])
    assert listeners.sockets == {}


def test_what_is_closed_is_closed_for_those_with_a_copy_too() -> None:
    listeners = Listeners()
    listeners.open(["127.0.0.1:0"])
    port = listeners.sockets["127.0.0.1:0"].getsockname()[1]
    with listeners.sockets["127.0.0.1:0"].dup():
        listeners.close_all_but([])
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=60)
        listeners.open([f"127.0.0.1:{port}"])
        socket.create_connection(("127.0.0.1", port), timeout=60).close()
    listeners.close_all_but([])


def test_ipv6_addresses_are_shown_in_brackets() -> None:
    listeners = Listeners()
    try:
        listeners.open(["::1:0"])
    except ConfigError:
        pytest.skip("no IPv6 on this machine")
    assert listeners.addresses()["::1:0"].startswith("[::1]:")
    listeners.close_all_but([])
