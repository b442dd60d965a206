"""What a configuration asks for: clients, with versions that change when they must restart."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import msgspec

from streamproc.config.connection import Connection
from streamproc.config.service import Service
from streamproc.control import ClientRef

# Part of every version: a client is built with them. Of a connection, what only people read is
# not part of it.
_SERVICE_FIELDS = ("limits", "retry", "breaker", "twin", "policies", "namespaces")
_UNREAD: dict[str, Any] = {
    "name": None,
    "tags": [],
    "revision": None,
    "created": None,
    "modified": None,
}
# Bound at the start of the service; a reload cannot change them.
FIXED_FIELDS = ("workers", "management", "data_dir")

_canonical = msgspec.json.Encoder(order="deterministic")


@dataclass(frozen=True)
class Desired:
    """A configuration as workers will be told of it."""

    service: Service  # without connections
    connections: dict[str, Connection]  # those to be open
    blanks: dict[str, Connection]  # the same, as workers see them that run no client of them
    versions: dict[str, str]
    closed: dict[str, int]  # those that should not be open, with their clients

    @classmethod
    def of(cls, service: Service) -> Desired:
        """From a valid configuration."""
        shared = _canonical.encode([getattr(service, name) for name in _SERVICE_FIELDS])
        connections = {
            connection.id: connection
            for connection in service.connections
            if connection.connection_status == "open"
        }
        return cls(
            msgspec.structs.replace(service, connections=[], connections_dir=None),
            connections,
            {name: _blank(connection) for name, connection in connections.items()},
            {name: _version(connection, shared) for name, connection in connections.items()},
            {
                connection.id: connection.client_count
                for connection in service.connections
                if connection.id not in connections
            },
        )

    def clients(self) -> dict[tuple[str, int], ClientRef]:
        """Every client that should run, by connection and index."""
        return {
            (name, index): ClientRef(name, index, self.versions[name])
            for name, connection in self.connections.items()
            for index in range(connection.client_count)
        }


def difference(old: Desired, new: Desired) -> tuple[list[str], list[str], list[str]]:
    """Ids of the connections that are added, changed, removed."""
    before, after = old.versions, new.versions
    return (
        sorted(after.keys() - before.keys()),
        sorted(name for name in after.keys() & before.keys() if before[name] != after[name]),
        sorted(before.keys() - after.keys()),
    )


def keep_fixed(old: Service, new: Service) -> tuple[Service, list[str]]:
    """*new* with what only a restart can change as it was, and the names of what differed."""
    fixed = {name: getattr(old, name) for name in FIXED_FIELDS}
    changed = [name for name, value in fixed.items() if getattr(new, name) != value]
    return msgspec.structs.replace(new, **fixed), changed


def _blank(connection: Connection) -> Connection:
    """Its targets, and nothing to log in by."""
    return msgspec.structs.replace(
        connection,
        uri="",
        credentials=None,
        ca=None,
        ssh_tunnel=None,
        specific_config={},
        sources=[],
    )


def _version(connection: Connection, shared: bytes) -> str:
    read = msgspec.structs.replace(connection, **_UNREAD)
    return blake2b(_canonical.encode(read) + shared, digest_size=8).hexdigest()
