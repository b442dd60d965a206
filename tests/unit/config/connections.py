"""A good connection of each type, to be spoilt one thing at a time."""

from __future__ import annotations

import copy
from typing import Any

from streamproc.config.problem import Path

_SOURCE = {"addresses": ["telemetry"], "authorizationContext": ["ditto:sub"]}
_TARGET = {
    "address": "events",
    "topics": ["_/_/things/twin/events"],
    "authorizationContext": ["ditto:sub"],
}
_QOS = {"qos": 1}
_URIS = {
    "amqp-091": "amqps://user:pw@broker.example.com:5671",
    "amqp-10": "amqps://user:pw@broker.example.com:5671",
    "mqtt": "tcp://broker.example.com:1883",
    "mqtt-5": "tcp://broker.example.com:1883",
    "kafka": "tcp://broker.example.com:9092",
    "http-push": "https://api.example.com:443",
    "http-ingest": "http://0.0.0.0:8090",
}
_OWN: dict[str, dict[str, Any]] = {
    "kafka": {"specificConfig": {"bootstrapServers": "broker.example.com:9092"}},
}


def good(kind: str) -> dict[str, Any]:
    """A connection that Ditto, or this project for its own types, takes."""
    more = _QOS if kind.startswith("mqtt") else {}
    source, target = {**_SOURCE, **more}, {**_TARGET, **more}
    if kind == "http-push":
        target["address"] = "POST:/x"
    elif kind == "amqp-091":
        target["address"] = "exchange/key"
    elif kind == "http-ingest":
        source["addresses"] = ["/in"]
    elif kind == "hono":
        target["address"] = "command"
    connection: dict[str, Any] = {
        "id": "conn-1",
        "connectionType": kind,
        "connectionStatus": "open",
        **copy.deepcopy(_OWN.get(kind, {})),
    }
    if kind in _URIS:
        connection["uri"] = _URIS[kind]
    if kind != "http-push":
        connection["sources"] = [source]
    if kind not in ("http-ingest", "generator"):
        connection["targets"] = [target]
    return copy.deepcopy(connection)


class Gone:
    """A name that is the same in every process: it is part of those of tests."""

    def __repr__(self) -> str:
        return "GONE"


GONE = Gone()


def changed(connection: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """*connection* with values put at dotted paths: ``{"targets.0.address": "x"}``."""
    result = copy.deepcopy(connection)
    for place, value in changes.items():
        *way, last = steps(place)
        at: Any = result
        for step in way:
            at = at.setdefault(step, {}) if isinstance(at, dict) else at[step]
        if value is GONE:
            del at[last]
        elif isinstance(at, list) and last == len(at):
            at.append(value)
        else:
            at[last] = value
    return result


def steps(place: str) -> Path:
    return tuple(int(step) if step.isdigit() else step for step in place.split("."))
