"""The table of connectors: the one place that lists them.

A row says what the connector is called in a connection, its options, where its two sides
are, and what it promises. Schema, lint, docs and conformance tests follow from the row.
Importing this imports no client library: the master and ``lint`` rely on it.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import cast

from streamproc.config.section import Section
from streamproc.connectors.amqp091.config import Amqp091Options
from streamproc.connectors.base import Can, SourceFactory, TargetFactory
from streamproc.connectors.generator.config import GeneratorOptions
from streamproc.connectors.http_ingest.config import HttpIngestOptions
from streamproc.connectors.http_push.config import HttpPushOptions
from streamproc.connectors.kafka.config import KafkaOptions
from streamproc.connectors.memory.config import MemoryOptions


@dataclass(frozen=True)
class Row:
    """One connector."""

    name: str  # connectionType
    title: str
    options: type[Section]
    source: str  # "module:Class", or "" without sources
    target: str  # "module:Class", or "" without targets
    can: Can
    schemes: tuple[str, ...]  # allowed uri schemes; the last is the secure one

    def source_factory(self) -> SourceFactory:
        """The source's class; imports its client library."""
        return cast(SourceFactory, _load(self.source))

    def target_factory(self) -> TargetFactory:
        """The target's class; imports its client library."""
        return cast(TargetFactory, _load(self.target))


def _load(place: str) -> object:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


_AT = "streamproc.connectors."
CONNECTORS: dict[str, Row] = {
    row.name: row
    for row in (
        Row(
            "generator",
            "Generator",
            GeneratorOptions,
            _AT + "generator.source:GeneratorSource",
            "",
            Can.SOURCE | Can.HEADERS,
            (),
        ),
        Row(
            "memory",
            "Memory",
            MemoryOptions,
            _AT + "memory.source:MemorySource",
            _AT + "memory.target:MemoryTarget",
            Can.SOURCE | Can.TARGET | Can.REDELIVER | Can.REJECT | Can.HEADERS | Can.PIPELINE,
            (),
        ),
        Row(
            "http-ingest",
            "HTTP ingestion",
            HttpIngestOptions,
            _AT + "http_ingest.source:HttpIngestSource",
            "",
            Can.SOURCE | Can.REJECT | Can.HEADERS,
            ("http",),
        ),
        Row(
            "kafka",
            "Apache Kafka",
            KafkaOptions,
            _AT + "kafka.source:KafkaSource",
            _AT + "kafka.target:KafkaTarget",
            Can.SOURCE | Can.TARGET | Can.REDELIVER | Can.HEADERS | Can.PIPELINE | Can.SHARE,
            ("tcp", "ssl"),
        ),
        Row(
            "amqp-091",
            "AMQP 0.9.1 (RabbitMQ)",
            Amqp091Options,
            _AT + "amqp091.source:Amqp091Source",
            _AT + "amqp091.target:Amqp091Target",
            Can.SOURCE | Can.TARGET | Can.REDELIVER | Can.REJECT | Can.HEADERS | Can.SHARE,
            ("amqp", "amqps"),
        ),
        Row(
            "http-push",
            "HTTP push",
            HttpPushOptions,
            "",
            _AT + "http_push.target:HttpPushTarget",
            Can.TARGET | Can.HEADERS,
            ("http", "https"),
        ),
    )
}
