"""What has arrived: how many, which for the first time, and whether in order.

Made for tens of millions of messages: an id that ends in ``-<number>`` costs one bit, a key
one entry.
"""

from __future__ import annotations

from typing import Any

import orjson

CHUNK = 1 << 13  # numbers a piece of a bit map
MISSING = object()


class Ids:
    """A set of ids. ``add`` says whether an id is new."""

    def __init__(self) -> None:
        self._bits: dict[tuple[str, int], bytearray] = {}  # by what stands before the number
        self._others: set[str] = set()

    def add(self, name: str) -> bool:
        stem, dash, digits = name.rpartition("-")
        if not (dash and digits.isascii() and digits.isdigit() and len(digits) < 10):
            return self._add_other(name)
        if digits[0] == "0" and digits != "0":
            return self._add_other(name)
        piece, number = divmod(int(digits), CHUNK)
        bits = self._bits.get((stem, piece))
        if bits is None:
            bits = self._bits[stem, piece] = bytearray(CHUNK >> 3)
        place, mask = number >> 3, 1 << (number & 7)
        if bits[place] & mask:
            return False
        bits[place] |= mask
        return True

    def _add_other(self, name: str) -> bool:
        before = len(self._others)
        self._others.add(name)
        return len(self._others) > before


class Group:
    """The ledger of one group: of the requests whose path begins with the same segment."""

    def __init__(self) -> None:
        self.received = 0
        self.unique = 0
        self.duplicated = 0
        self.out_of_order = 0
        self.unreadable = 0  # no id where one should be
        self.forbidden = 0
        self.bytes = 0
        self._ids = Ids()
        self._last: dict[str, int] = {}  # key -> highest sequence number

    def note(self, name: str, key: str | None, seq: int | None) -> None:
        """A message called *name*, number *seq* of *key*, has arrived."""
        if not self._ids.add(name):
            self.duplicated += 1
            return
        self.unique += 1
        if key is None or seq is None:
            return
        last = self._last.get(key, -1)
        if seq > last:
            self._last[key] = seq
        else:
            self.out_of_order += 1

    def figures(self) -> dict[str, int]:
        return {
            "received": self.received,
            "unique": self.unique,
            "duplicated": self.duplicated,
            "out_of_order": self.out_of_order,
            "unreadable": self.unreadable,
            "forbidden": self.forbidden,
            "bytes": self.bytes,
            "keys": len(self._last),
        }


class Ledger:
    """All groups. The arguments are JSON pointers into a body.

    ``forbidden`` counts the bodies that have something there: what should have been refused.
    """

    def __init__(
        self,
        *,
        name: str = "/value/id",
        key: str = "/value/device",
        seq: str = "/value/seq",
        forbidden: str = "",
    ) -> None:
        self._name = _steps(name)
        self._key = _steps(key)
        self._seq = _steps(seq)
        self._forbidden = _steps(forbidden) if forbidden else None
        self._groups: dict[str, Group] = {}
        self.refused = 0  # requests answered with anything but 2xx

    def reset(self) -> None:
        """Forget everything."""
        self._groups.clear()
        self.refused = 0

    def take(self, path: bytes, body: bytes) -> None:
        """A request that is answered 2xx."""
        segment = path[1:].partition(b"/")[0].partition(b"?")[0].decode("latin-1")
        group = self._groups.get(segment)
        if group is None:
            group = self._groups[segment] = Group()
        group.bytes += len(body)
        for message in _messages(body):
            self._note(group, message)

    def _note(self, group: Group, value: Any) -> None:
        group.received += 1
        name = _find(value, self._name)
        if name is MISSING:
            group.unreadable += 1
            return
        if self._forbidden and _find(value, self._forbidden) is not MISSING:
            group.forbidden += 1
        key, seq = _find(value, self._key), _find(value, self._seq)
        group.note(
            str(name),
            None if key is MISSING else str(key),
            seq if isinstance(seq, int) else None,
        )

    def figures(self) -> dict[str, Any]:
        """Totals, and the same of each group."""
        groups = {name: group.figures() for name, group in sorted(self._groups.items())}
        names = Group().figures()
        totals = {name: sum(g[name] for g in groups.values()) for name in names}
        return {**totals, "refused": self.refused, "groups": groups}


def _messages(body: bytes) -> list[Any]:
    """One message, or a batch: a JSON array, or a line each."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            return [orjson.loads(line) for line in body.splitlines()] or [None]
        except orjson.JSONDecodeError:
            return [None]
    return value or [None] if isinstance(value, list) else [value]


def _steps(pointer: str) -> tuple[str, ...]:
    return tuple(
        step.replace("~1", "/").replace("~0", "~") for step in pointer.removeprefix("/").split("/")
    )


def _find(value: Any, steps: tuple[str, ...]) -> Any:
    for step in steps:
        if not isinstance(value, dict) or step not in value:
            return MISSING
        value = value[step]
    return value
