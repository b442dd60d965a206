"""What is wrong with a configuration, said so that a person can put it right.

Rules know where in a document they looked and answer with a ``Finding``; the loader, which
knows the files, makes a ``Problem`` of it. The text of a value is kept apart from the
sentence, so that a value which is secret is never repeated.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

CONFIG_INVALID = "connectivity:connection.configuration.invalid"
URI_INVALID = "connectivity:connection.uri.invalid"
KEY_UNKNOWN = "key_unknown"
FIELD_MISSING = "json.field.missing"

Path = tuple[str | int, ...]

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
SHOWN_CHARACTERS = 80


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something at a path of a document. ``warning``: it works, and not as it may seem."""

    path: Path
    message: str  # repeats nothing of the value: it may be secret
    code: str = CONFIG_INVALID
    hint: str = ""
    found: str = ""  # the value, shown after the message unless it is secret
    detail: str = ""  # a better sentence, which repeats parts of the value
    warning: bool = False
    needs: tuple[str, ...] = ()  # keys of the connection without which this says nothing

    def under(self, base: Path) -> Finding:
        """The same, seen from the root of a larger document."""
        return replace(self, path=base + self.path)

    @property
    def sentence(self) -> str:
        """All there is to say, to those who may see the value."""
        if self.detail:
            return self.detail
        return f"{self.message}, found {self.found}" if self.found else self.message

    @property
    def discreet(self) -> str:
        """The same without the value."""
        return self.message


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A finding with the place where it is written. Line and column count from 1."""

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""
    code: str = CONFIG_INVALID

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.file}:{self.line}:{self.column}: {self.path}: {self.message}{hint}"


def json_path(path: Path) -> str:
    """``$.connections[2].targets[0].address``; other keys as ``['content-type']``."""
    return "$" + "".join(_step(step) for step in path)


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if _PLAIN_KEY.match(step) else f"[{quoted(step)}]"


def quoted(value: object) -> str:
    """A value on one line, in quotes if it is text, cut where it is long."""
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a mapping"
    text = repr(value[: SHOWN_CHARACTERS * 2] if isinstance(value, str) else value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def nearest(word: object, known: Iterable[str]) -> str:
    """The known word that was meant, or nothing when none is near."""
    if not isinstance(word, str):
        return ""
    words = {_plain(name): name for name in known}
    near = difflib.get_close_matches(_plain(word[:SHOWN_CHARACTERS]), words, n=1, cutoff=0.7)
    return words[near[0]] if near else ""


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """``did you mean 'x'``, or nothing."""
    return f"did you mean {near!r}" if (near := nearest(word, known)) else ""


def _plain(word: str) -> str:
    """How a word sounds: ``client_count``, ``clientcount`` and ``clientCount`` are one."""
    return re.sub(r"[^a-z0-9]", "", word.lower()) or word
