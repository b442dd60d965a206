"""Tables for people, JSON for machines, and a word now and then while it takes long."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SAY_EVERY_S = 2.0  # where there is no terminal to write over


def spread(values: Sequence[float]) -> dict[str, float]:
    """The median, and the range that it comes from."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def table(rows: Sequence[Sequence[object]]) -> str:
    """*rows* in columns, the first row above a line; numbers are flush right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    right = [
        all(isinstance(row[i], int | float) or row[i] == "" for row in rows[1:])
        for i in range(len(widths))
    ]
    lines = [
        "  ".join(
            text.rjust(width) if flush else text.ljust(width)
            for text, width, flush in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in cells
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def mib(count: float) -> float:
    """Bytes as MiB."""
    return round(count / (1 << 20), 2)


def write(path: Path, found: Any) -> None:
    """Whoever waits for the file never sees half of it."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.write_text(json.dumps(found, indent=2) + "\n")
    part.replace(path)


class Progress:
    """One line on standard error that changes; on no terminal, a line now and then."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._last = 0.0
        self._width = 0

    def say(self, text: str) -> None:
        """Show *text* as the present state."""
        now = time.monotonic()
        if self._terminal:
            sys.stderr.write(f"\r{text.ljust(self._width)}")
            self._width = len(text)
        elif now - self._last >= SAY_EVERY_S:
            sys.stderr.write(f"{text}\n")
            self._last = now
        sys.stderr.flush()

    def over(self) -> None:
        """Nothing more will be said of this state."""
        if self._terminal and self._width:
            sys.stderr.write(f"\r{' ' * self._width}\r")
            sys.stderr.flush()
        self._width = 0
        self._last = 0.0
