"""Patterns of ``fn:format``: text to plan to text.

{name}  {/path/to}        a value of the JSON object; an array gives several
{#list}...{/list}         what is between, for each element; {.} is an element itself
\\{  \\}                    braces
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from streamproc.errors import ExpressionError
from streamproc.kernels.signal import ABSENT
from streamproc.lang import limits, pointer
from streamproc.lang.texts import json_text

MAX_SECTIONS: Final = 16  # inside each other
MAX_PATTERN: Final = 4096  # characters

_OPEN: Final = re.compile(r"(?<!\\)\{#([^}]+)\}")
# Not a section, and not the end of one: those have a single key after the slash.
_FIELD: Final = re.compile(r"(?<!\\)\{(?!#)(?!/[^/}]+\})([^}]+)\}")


@dataclass(frozen=True, slots=True)
class Field:
    keys: pointer.Keys
    itself: bool  # {.}


@dataclass(frozen=True, slots=True)
class Section:
    keys: pointer.Keys
    parts: tuple[Part, ...]


Part: TypeAlias = str | Field | Section


@dataclass(frozen=True, slots=True)
class Format:
    """A parsed pattern."""

    text: str
    parts: tuple[Part, ...]

    def render(self, document: dict[str, Any]) -> list[str]:
        """All texts that *document* gives; SignalError where they are too many or too long."""
        return _of_object(self.parts, document)


def parse(text: str) -> Format:
    """Parse a pattern. Raises ExpressionError."""
    if len(text) > MAX_PATTERN:
        raise _invalid(f"the pattern has {len(text)} characters, at most {MAX_PATTERN} are", "")
    return Format(text, tuple(_parts(text, 0)))


def _parts(text: str, depth: int) -> Iterator[Part]:
    if depth > MAX_SECTIONS:
        raise _invalid(f"sections are nested more than {MAX_SECTIONS} deep", "")
    at = 0
    while (opened := _OPEN.search(text, at)) is not None:
        yield from _flat(text[at : opened.start()])
        name = opened[1]
        end = _end_of_section(text, opened.end(), name)
        if end < 0:
            raise _invalid(f"the section {{#{name}}} has no end", f"add {{/{name}}}")
        yield Section(_keys(name), tuple(_parts(text[opened.end() : end], depth + 1)))
        at = end + len(name) + 3
    yield from _flat(text[at:])


def _end_of_section(text: str, at: int, name: str) -> int:
    """Where the end tag of a section stands whose inside begins at *at*; -1 without one."""
    opening, ending = f"{{#{name}}}", f"{{/{name}}}"
    depth = 1
    while True:
        end = text.find(ending, at)
        if end < 0:
            return -1
        inner = text.find(opening, at, end)
        if inner >= 0:
            depth += 1
            at = inner + len(opening)
        elif depth == 1:
            return end
        else:
            depth -= 1
            at = end + len(ending)


def _flat(text: str) -> Iterator[Part]:
    """Text and fields, no sections."""
    at = 0
    for found in _FIELD.finditer(text):
        if found.start() > at:
            yield _unescaped(text[at : found.start()])
        yield Field(_keys(found[1]), found[1] == ".")
        at = found.end()
    if at < len(text):
        yield _unescaped(text[at:])


def _unescaped(text: str) -> str:
    return text.replace("\\{", "{").replace("\\}", "}")


def _keys(name: str) -> pointer.Keys:
    try:
        return pointer.parse(name)
    except ExpressionError as error:
        raise _invalid(str(error), error.hint) from None


def _invalid(what: str, hint: str) -> ExpressionError:
    return ExpressionError("placeholder:function.signature.invalid", what, hint=hint)


def _of_object(parts: tuple[Part, ...], document: dict[str, Any]) -> list[str]:
    columns: list[list[str]] = []
    for part in parts:
        if isinstance(part, str):
            columns.append([part])
            continue
        value = pointer.get(document, part.keys)
        if value is ABSENT or value is None or value == []:
            columns.append([""])
        elif isinstance(part, Field):
            columns.append(
                [json_text(item) for item in value]
                if isinstance(value, list)
                else [json_text(value)]
            )
        else:
            elements = value if isinstance(value, list) else [value]
            columns.append(_of_elements(part.parts, elements))
    return limits.product(columns)


def _of_elements(parts: tuple[Part, ...], elements: list[Any]) -> list[str]:
    texts: list[str] = []
    length = 0
    for element in elements:
        found = _of_element(parts, element)
        texts += found
        length += sum(map(len, found))
        limits.check(len(texts), length)
    return texts


def _of_element(parts: tuple[Part, ...], element: Any) -> list[str]:
    if isinstance(element, dict):
        return _of_object(parts, element)
    texts = [
        part if isinstance(part, str) else json_text(element) if _is_itself(part) else ""
        for part in parts
    ]
    return ["".join(texts)]


def _is_itself(part: Field | Section) -> bool:
    return isinstance(part, Field) and part.itself
