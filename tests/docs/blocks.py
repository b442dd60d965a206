"""Blocks of code in the documentation, each with the place it stands in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```", re.DOTALL | re.MULTILINE)


def pages() -> list[Path]:
    """Every page that people read."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """Place and text of each block of *language*."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        for match in _BLOCK.finditer(text):
            indent, kind, body = match.groups()
            if kind == language:
                line = text.count("\n", 0, match.start()) + 1
                lines = [row.removeprefix(indent) for row in body.splitlines()]
                yield f"{page.relative_to(ROOT)}:{line}", "\n".join(lines) + "\n"
