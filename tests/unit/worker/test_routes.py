"""Who shares sources with whom."""

from __future__ import annotations

import msgspec

from streamproc.config.connection import Connection
from streamproc.worker.routes import shares_sources


def connection(name: str, *topics: str) -> Connection:
    targets = [{"address": "a", "topics": list(topics)}] if topics else []
    return msgspec.convert({"id": name, "connectionType": "memory", "targets": targets}, Connection)


def test_connections_share_sources_when_they_subscribe_to_the_same() -> None:
    events = connection("a", "_/_/things/twin/events?filter=eq(attributes/x,1)")
    others = connection("b", "_/_/things/twin/events?namespaces=org.acme")
    live = connection("c", "_/_/things/live/events")
    source = connection("d")
    assert shares_sources(events, [events, others, live, source])
    assert shares_sources(others, [events, others, live, source])
    assert not shares_sources(live, [events, others, live, source])
    assert not shares_sources(events, [events, live, source])
    assert not shares_sources(source, [events, source])
