"""Shows a template at work: what each placeholder gives, and what each function makes of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from streamproc.errors import StreamprocError
from streamproc.evaluate.template import template

_ENDINGS: Final = {"{{": "}}", "${": "}"}
# What stands between two pipes; pipes in quotes separate nothing.
_STAGE: Final = re.compile(r"""(?:'(?:\\'|[^'])*'|"(?:\\"|[^"])*"|[^|'"])+""")


class Stage(NamedTuple):
    """One step of a pipeline and the value after it: as the op answers, or an error."""

    text: str
    value: Any


class Expression(NamedTuple):
    """One ``{{ ... }}`` of a template."""

    text: str
    stages: list[Stage]


def stages(text: str, context: dict[str, Any]) -> list[Expression]:
    """The expressions of a template that parses, each with the values on its way."""
    found = []
    for written, inner in _expressions(text):
        parts = [part.strip() for part in _STAGE.findall(inner)]
        found.append(
            Expression(
                written,
                [
                    Stage(part, _value(" | ".join(parts[: i + 1]), context))
                    for i, part in enumerate(parts)
                ],
            )
        )
    return found


def _value(expression: str, context: dict[str, Any]) -> Any:
    try:
        return template({"template": f"{{{{ {expression} }}}}", "context": context})
    except StreamprocError as error:
        return error


def _expressions(text: str) -> Iterator[tuple[str, str]]:
    """Each expression with its brackets, and what is inside."""
    at = 0
    while starts := [(i, mark) for mark in _ENDINGS if (i := text.find(mark, at)) >= 0]:
        start, mark = min(starts)
        end = text.find(_ENDINGS[mark], start + 2)
        if end < 0:
            at = start + 2
            continue
        at = end + len(_ENDINGS[mark])
        yield text[start:at], text[start + 2 : end]
