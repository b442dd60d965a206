"""What is kept, where and how much of it: settlement, spill, parking, windows."""

from __future__ import annotations

from collections.abc import Iterator

from streamproc.cli.rules.about import About, Row
from streamproc.worker.routes import shares_sources


def settlement(about: About) -> Iterator[Row]:
    """When a source is told that a message is done."""
    for index, source in enumerate(about.connection.sources):
        if source.qos == 0:
            value = "at once, when it is read (qos 0)"
        else:
            value = "when every target that matched has it, or has it on disk, or it is parked"
        yield Row(f"source {index}", value, "default" if source.qos is None else "connection")


def spill(about: About) -> Iterator[Row]:
    """The disk in front of the target."""
    if not about.connection.targets:
        return
    yield about.of_service("spill", "mode", "spill")
    if about.service.spill.mode == "off":
        return
    others = [c for c in about.service.connections if c.connection_status == "open"]
    if shares_sources(about.connection, others):
        value = "yes: its sources feed other connections too"
    else:
        value = "no: it alone gets what its sources bring, so they wait instead"
    yield Row("used for this connection", value, "default")
    yield about.of_service("spill", "window_messages", "begins when so many wait", " deliveries")
    yield Row("or", "the link is down, the breaker open, or Retry-After holds", "default")
    yield about.of_service("spill", "after_s", "for", " s")
    yield about.of_service("spill", "max_bytes", "most on disk per client", " bytes")


def parking(about: About) -> Iterator[Row]:
    """Where goes what cannot be delivered."""
    if not about.connection.targets:
        return
    first = about.of_service("parking", "connection", "goes to")
    if about.service.parking.connection is None:
        yield first._replace(value="the store in the data folder")
    else:
        yield first._replace(value=f"connection {first.value}, else the store")
        yield about.of_service("parking", "target", "to its target number")
        yield about.of_service(
            "parking", "after_s", "to the store if that does not take it in", " s"
        )
    yield about.of_service("limits", "parked_messages", "most of the service", " messages")
    yield about.of_service("limits", "parked_bytes", "most of the service, in bytes", " bytes")
    yield about.of_service("limits", "parked_age_s", "dropped at the age of", " s")
    yield Row("when it is full", "deliveries that should be parked wait in their lanes", "default")


def windows(about: About) -> Iterator[Row]:
    """Bounds in memory; full means that sources stop reading."""
    limits = "limits"
    if about.connection.sources:
        consumer = "unsettled per consumer"
        yield about.of_service(limits, "source_window_messages", consumer, " messages")
        yield about.of_service(limits, "source_window_bytes", f"{consumer}, in bytes", " bytes")
        yield about.of_service(limits, "max_message_bytes", "largest message", " bytes")
        yield about.of_service(limits, "max_header_bytes", "largest headers", " bytes")
    if about.connection.targets:
        client = "waiting and in flight per client and sending worker"
        yield about.of_service(limits, "target_window_messages", client, " deliveries")
        yield about.of_service(limits, "target_window_bytes", f"{client}, in bytes", " bytes")
