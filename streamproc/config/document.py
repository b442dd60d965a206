"""A file's text as plain values, with the place of each: what all messages point to.

``.json`` is read as JSON, everything else as YAML 1.2 (so that ``no`` and ``on`` are words,
and every JSON file is YAML as well). Both are bounded in size and depth; an alias may be
used often, but not to blow a small file up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from streamproc.config.problem import Path

MAX_FILE_BYTES = 16 << 20
MAX_DEPTH = 64  # nested lists and mappings
MAX_VALUES = 1_000_000  # in one document, after aliases
MAX_DIGITS = 400  # of a number
SURROGATE = re.compile("[\ud800-\udfff]")  # half a character: nothing could send it on

Mark = tuple[int, int]  # line, column, from 1


class SyntaxProblem(Exception):
    """The text is not a document at all. Says where the reader stopped understanding."""

    def __init__(self, message: str, mark: Mark) -> None:
        super().__init__(message)
        self.message = message
        self.mark = mark


@dataclass
class Document:
    """What a file says. ``marks``: where each value begins, by path; a key's own place for

    the value of a mapping, so that a message points to the name of an option.
    """

    value: Any = None
    marks: dict[Path, Mark] = field(default_factory=dict)
    repeated: list[tuple[Path, Mark]] = field(default_factory=list)  # keys given twice

    def mark(self, path: Path) -> Mark:
        """The place of *path*, or of the nearest thing around it that is there."""
        for end in range(len(path), 0, -1):
            if (mark := self.marks.get(path[:end])) is not None:
                return mark
        return self.marks.get((), (1, 1))


def decoded(data: bytes) -> str:
    """UTF-8 text of a file, without a byte order mark."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        raise SyntaxProblem("expected UTF-8 text, found another byte", (line, column)) from None
