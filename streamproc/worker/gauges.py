"""What is to be read off sources and clients now and then, put where the master finds it.

A gauge of what is not here any more becomes 0: it has gone elsewhere, and is counted there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from streamproc.telemetry import metrics
from streamproc.telemetry.metrics import SOURCE_NUMBERS, Metric
from streamproc.telemetry.slots import Block, Slot
from streamproc.worker.client import Client
from streamproc.worker.gate import STANDINGS

Key = tuple[str, str, str]  # connection, source, number


class Said(Protocol):
    """One consumer of a source, and what it says: counts since it was made, and gauges."""

    @property
    def connection(self) -> str: ...
    @property
    def source(self) -> str: ...
    def numbers(self) -> Mapping[str, float]: ...


class SourceGauges:
    """Adds up, or takes the most of, what the consumers of a source in this worker say."""

    def __init__(self, block: Block) -> None:
        self._block = block
        self._slots: dict[Key, Slot] = {}
        self._counted: dict[tuple[Said, str], float] = {}

    def show(self, consumers: Iterable[Said]) -> None:
        """Called every second or so. A source that is gone shows nothing."""
        found: dict[Key, float] = {}
        counted: dict[tuple[Said, str], float] = {}
        for one in consumers:
            for name, value in one.numbers().items():
                metric = SOURCE_NUMBERS[name]
                key = (one.connection, one.source, name)
                if metric.kind == "counter":
                    counted[one, name] = value
                    value -= self._counted.get((one, name), 0.0)
                if metric.combine == "max":
                    found[key] = max(value, found.get(key, 0.0))
                else:
                    found[key] = found.get(key, 0.0) + value
        self._counted = counted
        for key, value in found.items():
            slot = self._slot(key)
            if SOURCE_NUMBERS[key[2]].kind == "counter":
                slot.add(value)
            else:
                slot.set(value)
        for key, slot in self._slots.items():
            if key not in found and SOURCE_NUMBERS[key[2]].kind == "gauge":
                slot.set(0.0)

    def _slot(self, key: Key) -> Slot:
        slot = self._slots.get(key)
        if slot is None:
            connection, source, name = key
            metric = SOURCE_NUMBERS[name]
            make = self._block.counter if metric.kind == "counter" else self._block.gauge
            slot = self._slots[key] = make(metric, connection=connection, source=source)
        return slot


class ClientGauges:
    """What the clients of this worker hold, by connection, and what waits for its peers."""

    def __init__(self, block: Block) -> None:
        self._block = block
        self._slots: dict[tuple[Metric, tuple[str, ...]], Slot] = {}

    def show(self, clients: Collection[Client], waiting_by_peer: Mapping[int, int]) -> None:
        """Called every second or so."""
        found: dict[tuple[Metric, tuple[str, ...]], float] = {}

        def more(metric: Metric, value: float, *labels: str) -> None:
            before = found.get((metric, labels), 0.0)
            both = (value, before)
            found[metric, labels] = max(both) if metric.combine == "max" else sum(both)

        for client in clients:
            name = client.connection.id
            for index, age_s in client.oldest_s().items():
                more(metrics.OLDEST_UNSETTLED, age_s, name, str(index))
            outlet = client.outlet
            if outlet is None:
                continue
            count, size = outlet.on_disk
            more(metrics.LANE_DEPTH, outlet.lanes.waiting, name)
            more(metrics.ENDPOINT_STATE, STANDINGS.index(outlet.pace.standing().state), name)
            more(metrics.ENDPOINT_LIMIT, outlet.pace.limit, name)
            more(metrics.SPILL_DEPTH, count, name)
            more(metrics.SPILL_BYTES, size, name)
            for cause, times in outlet.pace.take_holds().items():
                holds = metrics.ENDPOINT_HOLDS
                self._block.counter(holds, connection=name, cause=cause).add(times)
        for peer, waiting in waiting_by_peer.items():
            more(metrics.BUS_WAITING, waiting, str(peer))
        for key in self._slots.keys() - found.keys():
            self._slots[key].set(0.0)
        for key, value in found.items():
            slot = self._slots.get(key)
            if slot is None:
                metric, labels = key
                named = dict(zip(metric.labels, labels, strict=True))
                slot = self._slots[key] = self._block.gauge(metric, **named)
            slot.set(value)
