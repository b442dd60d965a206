"""What a template parses to: immutable, checked, ready for the kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from streamproc.lang.scopes import Scope


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value comes from, decided as far as the text allows.

    ``kind`` is the whole placeholder where its names are fixed (``thing:id``), else its
    prefix (``header``, ``time``, ``thing-json``); ``never`` is known and has no value.
    ``detail`` is the TimePlan of ``time``, the keys of ``thing-json``.
    """

    kind: str
    name: str
    detail: Any = None
    any_case: bool = False  # of a header's name


Argument: TypeAlias = str | Source


class FilterPlan(NamedTuple):
    """``fn:filter`` in one form: is there a *tested* that stands to *compared* as *operator* says.

    *tested* None: the input itself. *compared* None: for ``exists`` without a third argument.
    """

    tested: Argument | None
    operator: Argument
    compared: Argument | None


@dataclass(frozen=True, slots=True)
class Call:
    """One function of a pipeline. ``detail`` is what the function's row prepared."""

    function: str
    arguments: tuple[Argument, ...]
    detail: Any = None


@dataclass(frozen=True, slots=True)
class Pipeline:
    """``head | function | ...``; without a head it begins unresolved."""

    head: Argument | None
    calls: tuple[Call, ...]
    position: int  # of the expression in the template


@dataclass(frozen=True, slots=True)
class Plan:
    """A parsed template: texts and pipelines in turn, no empty text, no two texts in a row.

    The empty template has no pieces and resolves to the empty text.
    """

    text: str
    scope: Scope
    pieces: tuple[str | Pipeline, ...]

    @property
    def constant(self) -> str | None:
        """The text, if there is nothing to resolve."""
        if not self.pieces:
            return ""
        piece = self.pieces[0]
        return piece if len(self.pieces) == 1 and isinstance(piece, str) else None

    @property
    def sources(self) -> tuple[Source, ...]:
        """Every placeholder in it, in order."""
        found: list[Source] = []
        for piece in self.pieces:
            if isinstance(piece, Pipeline):
                parts = [piece.head, *(a for call in piece.calls for a in call.arguments)]
                found += [part for part in parts if isinstance(part, Source)]
        return tuple(found)
