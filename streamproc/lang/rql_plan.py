"""What an RQL filter parses to: immutable, checked, ready for the kernel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from streamproc.lang.timeexpr import TimePlan

Span: TypeAlias = tuple[int, int]  # offsets in Plan.text: code points, from 0, end excluded
Value: TypeAlias = str | int | float | bool | TimePlan | None

COMPARISONS: Final = ("eq", "ne", "gt", "ge", "lt", "le", "like", "ilike")


@dataclass(frozen=True, slots=True)
class Field:
    """A place in the thing: the keys to follow from its root."""

    text: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A value that the signal has beside its thing; ``time`` only for ``time:now...``."""

    text: str
    prefix: str
    name: str
    time: TimePlan | None = None


Property: TypeAlias = Field | Placeholder


@dataclass(frozen=True, slots=True)
class Compare:
    operator: str  # one of COMPARISONS
    property: Property
    value: Value
    span: Span = field(default=(0, 0), compare=False)


@dataclass(frozen=True, slots=True)
class In:
    property: Property
    values: tuple[Value, ...]
    span: Span = field(default=(0, 0), compare=False)


@dataclass(frozen=True, slots=True)
class Exists:
    property: Property
    span: Span = field(default=(0, 0), compare=False)


@dataclass(frozen=True, slots=True)
class Empty:
    property: Property
    span: Span = field(default=(0, 0), compare=False)


@dataclass(frozen=True, slots=True)
class Logical:
    """``not`` has one part, ``and`` and ``or`` have one or more."""

    operator: str  # and, or, not
    parts: tuple[Expression, ...]
    span: Span = field(default=(0, 0), compare=False)


Expression: TypeAlias = Compare | In | Exists | Empty | Logical


@dataclass(frozen=True, slots=True)
class Plan:
    """A parsed filter and the text it came from."""

    text: str
    root: Expression


class Explanation(NamedTuple):
    """Why an expression holds or not: its text, the outcome, the value it saw, its parts.

    ``saw`` is ABSENT for a property without a value, and for ``and``, ``or`` and ``not``.
    """

    expression: str
    outcome: bool
    saw: Any
    parts: tuple[Explanation, ...]
