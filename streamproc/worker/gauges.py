"""Numbers that sources say of themselves, put where the master finds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from streamproc.telemetry.metrics import SOURCE_NUMBERS
from streamproc.telemetry.slots import Block, Slot

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
