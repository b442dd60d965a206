"""Which HTTP statuses mean what: sets as an operator writes them, and the table they make.

A set is a list of statuses (``429``), ranges (``502-504``) and classes (``5xx``). What is named
beats what is meant by a class, so ``5xx`` may be tried again while ``501`` is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal

Meaning = Literal["success", "retry", "permanent", "stop"]
MEANINGS: tuple[Meaning, ...] = ("success", "retry", "permanent", "stop")

FIRST, LAST = 200, 599
_PART = re.compile(r"([1-9][0-9]{2})(?:-([1-9][0-9]{2}))?|([2-5])xx")


class StatusesInvalid(ValueError):
    """A set that cannot be. ``meaning``: whose it is."""

    def __init__(self, meaning: Meaning, message: str) -> None:
        super().__init__(message)
        self.meaning = meaning


def meanings(sets: Mapping[Meaning, str | list[str]]) -> dict[int, Meaning]:
    """What each status from 200 to 599 means; what no set has is permanent.

    Raises StatusesInvalid.
    """
    table: dict[int, Meaning] = {}
    for exact in (False, True):
        given: dict[int, Meaning] = {}
        for meaning in MEANINGS:
            for status in _statuses(meaning, sets[meaning], exact=exact):
                other = given.setdefault(status, meaning)
                if other != meaning:
                    raise StatusesInvalid(meaning, f"{status} is in {other}Status as well")
        table |= given
    return {status: table.get(status, "permanent") for status in range(FIRST, LAST + 1)}


def _statuses(meaning: Meaning, written: str | list[str], *, exact: bool) -> Iterator[int]:
    """Those that are named, or those that are meant by a class."""
    parts = written.split(",") if isinstance(written, str) else written
    for part in parts:
        text = str(part).strip().lower()
        if not text:
            continue
        match = _PART.fullmatch(text)
        if match is None:
            expected = "expected statuses such as 429, 502-504 or 5xx"
            raise StatusesInvalid(meaning, f"{expected}, not {text[:32]!r}")
        first, last, class_ = match.groups()
        if class_ is not None:
            if not exact:
                yield from range(int(class_) * 100, int(class_) * 100 + 100)
            continue
        low, high = int(first), int(last or first)
        if not FIRST <= low <= high <= LAST:
            raise StatusesInvalid(meaning, f"expected statuses from {FIRST} to {LAST}, not {text}")
        if exact:
            yield from range(low, high + 1)
