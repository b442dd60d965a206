"""Points at the place in a text that an error is about."""

from __future__ import annotations

import unicodedata
from typing import Final

WIDTH: Final = 78  # columns that are shown of a long text


def pointed(text: str, position: int, width: int = WIDTH) -> str:
    """Two lines: *text*, or the part around *position*, and a caret under it.

    *position* counts code points from 0; at or behind the end the caret stands behind it.
    """
    position = max(0, min(position, len(text)))
    start = 0 if len(text) <= width else max(0, min(position - width // 2, len(text) - width))
    shown = [_printable(char) for char in text[start : start + width]]
    before = "…" if start else ""
    after = "…" if start + width < len(text) else ""
    columns = len(before) + sum(map(_columns, shown[: position - start]))
    return f"{before}{''.join(shown)}{after}\n{' ' * columns}^"


def _printable(char: str) -> str:
    return char if char.isprintable() else " " if char.isspace() else "\N{REPLACEMENT CHARACTER}"


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
