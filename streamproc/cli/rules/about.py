"""One connection, its service, and where each value of theirs comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import msgspec

from streamproc.config.annotation import extra, options
from streamproc.config.connection import Connection
from streamproc.config.endpoint import EndpointOptions
from streamproc.config.section import Section
from streamproc.config.service import Service

Origin = Literal["default", "service", "connection"]


class Row(NamedTuple):
    """A rule in force. ``value``: for people; ``origin``: who says so."""

    rule: str
    value: str
    origin: Origin


@dataclass
class About:
    """*raw*: the service file as written. *shown*: the connection, without secrets."""

    service: Service
    connection: Connection
    options: Section
    raw: Mapping[str, Any]
    shown: Mapping[str, Any]
    told: set[str] = field(default_factory=set)
    """Options of the connection that a section has shown; ``rest`` shows the others."""

    @property
    def endpoint(self) -> EndpointOptions | None:
        """The options, where this is a connection that pushes to an endpoint."""
        return self.options if isinstance(self.options, EndpointOptions) else None

    def of_service(self, section: str, option: str, rule: str, unit: str = "") -> Row:
        """An option of a section of the service."""
        group = getattr(self.service, section)
        key = _key(group, option)
        written = self.raw.get(_key(self.service, section))
        origin: Origin = "default"
        if isinstance(written, Mapping) and key in written:
            origin = "service"
        return Row(rule, worded(getattr(group, option), unit), origin)

    def of_both(self, section: str, option: str, rule: str, unit: str = "") -> Row:
        """An option of the service that the connection may set for itself."""
        if self.endpoint is not None:
            own = f"{section}_{option}"
            self.told.add(own)
            if (value := getattr(self.endpoint, own)) is not None:
                return Row(rule, worded(value, unit), "connection")
        return self.of_service(section, option, rule, unit)

    def of_connection(self, option: str, rule: str, unit: str = "") -> Row:
        """An option in specificConfig."""
        self.told.add(option)
        key = _key(self.options, option)
        given = self.connection.specific_config.get(key)
        if given is None:
            return Row(rule, worded(getattr(self.options, option), unit), "default")
        shown = self.shown["specificConfig"].get(key)
        if shown != given:  # a secret, or taken from elsewhere
            return Row(rule, worded(shown), "connection")
        return Row(rule, worded(getattr(self.options, option), unit), "connection")

    def field(self, name: str, rule: str) -> Row:
        """A field of the connection itself."""
        value = getattr(self.connection, name)
        usual = next(f for f in options(Connection) if f.name == name).default
        return Row(rule, worded(value), "default" if value == usual else "connection")

    def others(self) -> Iterator[Row]:
        """Options of the connection that no section has shown."""
        for option in options(type(self.options)):
            if option.name in self.told:
                continue
            if extra(option.type, "secret"):
                given = option.encode_name in self.connection.specific_config
                value = "set (hidden)" if given else "none"
                yield Row(option.encode_name, value, "connection" if given else "default")
            else:
                yield self.of_connection(option.name, option.encode_name)


def worded(value: Any, unit: str = "") -> str:
    """A value for people."""
    if value is None:
        return "no limit" if unit else "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}{unit}"
    if isinstance(value, int):
        return _bytes(value) if unit == " bytes" else f"{value}{unit}"
    if isinstance(value, str):
        return value or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return msgspec.json.encode(value).decode()


def _bytes(value: int) -> str:
    for size, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if value >= size and value % size == 0:
            return f"{value // size} {unit}"
    return f"{value} bytes"


def _key(group: msgspec.Struct, option: str) -> str:
    fields = options(type(group))
    return next(f.encode_name for f in fields if f.name == option)
