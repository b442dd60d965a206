"""JSON with the place of every value: the standard reader does not tell."""

from __future__ import annotations

import json
import re
from typing import Any

from streamproc.config.document import (
    MAX_DEPTH,
    MAX_DIGITS,
    MAX_VALUES,
    SURROGATE,
    Document,
    Mark,
    SyntaxProblem,
)
from streamproc.config.problem import Path

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_STRING = re.compile(r'"[^"\\\x00-\x1f]*(?:\\.[^"\\\x00-\x1f]*)*"')
_WORDS = (("true", True), ("false", False), ("null", None))


def read_json(text: str) -> Document:
    """The document of a JSON text; raises SyntaxProblem."""
    reader = _Reader(text)
    reader.document.value = reader.value((), reader.space(0), 0)
    if reader.end != len(text):
        raise reader.problem("expected the end of the file", reader.end)
    return reader.document


class _Reader:
    """One pass. ``end``: the offset after the last thing read, blanks skipped."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.end = 0
        self.document = Document()
        self.count = 0
        self._line = 1
        self._line_start = 0

    def space(self, at: int) -> int:
        match = _SPACE.match(self.text, at)
        self.end = match.end() if match else at
        return self.end

    def mark(self, at: int) -> Mark:
        """Line and column of an offset; offsets are asked for in ascending order, mostly."""
        if at < self._line_start:
            self._line, self._line_start = 1, 0
        lines = self.text.count("\n", self._line_start, at)
        if lines:
            self._line += lines
            self._line_start = self.text.rfind("\n", 0, at) + 1
        return self._line, at - self._line_start + 1

    def problem(self, message: str, at: int) -> SyntaxProblem:
        found = repr(self.text[at]) if at < len(self.text) else "the end of the file"
        return SyntaxProblem(f"{message}, found {found}", self.mark(at))

    def value(self, path: Path, at: int, depth: int) -> Any:
        text = self.text
        self.document.marks.setdefault(path, self.mark(at))
        self.count += 1
        if self.count > MAX_VALUES:
            raise SyntaxProblem(f"more than {MAX_VALUES} values", self.mark(at))
        if depth > MAX_DEPTH:
            raise SyntaxProblem(f"nested deeper than {MAX_DEPTH}", self.mark(at))
        match text[at : at + 1]:
            case "{":
                return self._mapping(path, at, depth)
            case "[":
                return self._list(path, at, depth)
            case '"':
                return self._string(at)
            case _:
                return self._word(at)

    def _word(self, at: int) -> Any:
        """A value that has no brackets or quotes."""
        text = self.text
        for word, meaning in _WORDS:
            if text.startswith(word, at):
                self.space(at + len(word))
                return meaning
        number = _NUMBER.match(text, at)
        if number is None:
            raise self.problem("expected a value", at)
        if number.end() - at > MAX_DIGITS:
            raise SyntaxProblem(f"a number of more than {MAX_DIGITS} characters", self.mark(at))
        self.space(number.end())
        if number[1] is None and number[2] is None:
            return int(number[0])
        value = float(number[0])
        if value in (float("inf"), float("-inf")):
            raise SyntaxProblem("a number that is too large", self.mark(at))
        return value

    def _string(self, at: int) -> str:
        match = _STRING.match(self.text, at)
        if match is None:
            raise SyntaxProblem(
                "a text without its closing quote, or over several lines", self.mark(at)
            )
        try:
            value: str = json.loads(match[0])
        except ValueError:
            raise SyntaxProblem("an escape that JSON does not have", self.mark(at)) from None
        if SURROGATE.search(value):
            raise SyntaxProblem("half of a surrogate pair, which is no character", self.mark(at))
        self.space(match.end())
        return value

    def _list(self, path: Path, at: int, depth: int) -> list[Any]:
        items: list[Any] = []
        if self.text[self.space(at + 1) : self.end + 1] == "]":
            self.space(self.end + 1)
            return items
        while True:
            items.append(self.value((*path, len(items)), self.end, depth + 1))
            if not self._more("]"):
                return items

    def _mapping(self, path: Path, at: int, depth: int) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        if self.text[self.space(at + 1) : self.end + 1] == "}":
            self.space(self.end + 1)
            return entries
        while True:
            start = self.end
            if self.text[start : start + 1] != '"':
                raise self.problem("expected a key in double quotes", start)
            key = self._string(start)
            if self.text[self.end : self.end + 1] != ":":
                raise self.problem("expected ':'", self.end)
            child = (*path, key)
            if key in entries:
                self.document.repeated.append((child, self.mark(start)))
            self.document.marks[child] = self.mark(start)
            entries[key] = self.value(child, self.space(self.end + 1), depth + 1)
            if not self._more("}"):
                return entries

    def _more(self, close: str) -> bool:
        """Whether another item follows; takes the comma or the closing bracket."""
        sign = self.text[self.end : self.end + 1]
        if sign not in (",", close) or not sign:
            raise self.problem(f"expected ',' or {close!r}", self.end)
        self.space(self.end + 1)
        return sign == ","
