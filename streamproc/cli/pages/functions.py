"""docs/reference/functions.md: placeholders, where each may stand, and functions."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from streamproc.cli.pages.markdown import code, page, table
from streamproc.lang.functions import FUNCTIONS, Example, Function
from streamproc.lang.scopes import PLACEHOLDERS, Scope

_INTRODUCTION = """\
A template is text with expressions in `{{ }}`: a placeholder, and functions its value passes
through, one after the other, each after a `|`. An expression has a value, several values, is
*unresolved* (there is nothing to put there) or *deleted*. One unresolved expression makes the
whole template unresolved; deleted ones merely vanish. Try one with `streamproc eval
--template`."""


def functions() -> str:
    """The page."""
    return page(
        "streamproc/lang/functions.py` and `streamproc/lang/scopes.py",
        "Placeholders and functions",
        _INTRODUCTION,
        f"## Placeholders\n\n{_placeholders()}",
        f"## Where they may stand\n\n{_scopes()}",
        "## Functions",
        *(_function(function) for function in FUNCTIONS.values()),
    )


def _placeholders() -> str:
    return table(
        ("placeholder", "value", "unresolved when", "example"),
        [
            (
                _names(row.prefix, row.names),
                row.summary + (" May have several values." if row.several else ""),
                row.unresolved,
                code(row.example),
            )
            for row in PLACEHOLDERS.values()
        ],
    )


def _names(prefix: str, names: tuple[str, ...]) -> str:
    return ", ".join(code(f"{prefix}:{name}") for name in names or ("<name>",))


def _scopes() -> str:
    scopes = [scope for scope in vars(Scope).values() if isinstance(scope, Scope)]
    rows = [
        (scope.title, ", ".join(code(f"{p}:") for p in PLACEHOLDERS if p in scope.prefixes))
        for scope in scopes
    ]
    return table(("place", "placeholders"), [(a, b or "none") for a, b in rows])


def _function(function: Function) -> str:
    lines = [f"### {code(function.signature)}", "", function.summary]
    if function.parameters:
        lines += [
            "",
            *(
                f"- {code(p.name)}: {p.summary}"
                f"{'; text or a placeholder' if p.placeholder else '; text'}"
                f"{', may be left out' if p.optional else ''}"
                for p in function.parameters
            ),
        ]
    if function.examples:
        rows = [(code(e.template), _given(e), _result(e.expect)) for e in function.examples]
        lines += ["", table(("template", "with", "gives"), rows)]
    return "\n".join(lines)


def _given(example: Example) -> str:
    given = [f"{name}: {value!r}" for name, value in example.headers.items()]
    if example.subjects:
        given.append(f"subjects: {', '.join(example.subjects)}")
    return ", ".join(map(code, given))


def _result(expect: str | tuple[str, ...] | Mapping[str, bool]) -> str:
    if isinstance(expect, Mapping):
        return f"*{next(iter(expect))}*"
    if isinstance(expect, tuple):
        return code(msgspec.json.encode(list(expect)).decode())
    return code(expect) if expect else "empty text"
