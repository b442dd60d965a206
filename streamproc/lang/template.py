"""Templates: text with ``{{ placeholder | function() }}`` to an immutable plan, once.

    template    := (text | "{{" expression "}}" | "${" expression "}")*
    expression  := head ("|" function)*           at most 10 functions
    head        := prefix ":" name  |  function   (which then begins unresolved)
    function    := "fn:" name "(" (argument ("," argument)*)? ")"
    argument    := 'text' | "text" | prefix ":" name

Quotes hide ``|``, ``,`` and ``)``, but not the end of the expression. A quote after a
backslash does not end the text; the backslash stays (spec: Ditto 4.1, 5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Final, NoReturn

from streamproc.errors import ExpressionError
from streamproc.lang import limits, pointer, timeexpr
from streamproc.lang.functions import FUNCTIONS, SIGNATURE_INVALID, Function
from streamproc.lang.plan import Argument, Call, Pipeline, Plan, Source
from streamproc.lang.scopes import PLACEHOLDERS, THING_JSON_REFUSED, Scope

__all__ = ["Plan", "Scope", "contains_placeholder", "parse", "parse_condition"]

UNRESOLVED: Final = "placeholder:unresolved"
UNKNOWN_FUNCTION: Final = "placeholder:function.unknown"
TOO_COMPLEX: Final = "placeholder:function.too.complex"

_BLANK: Final = "".join(map(chr, range(0x21)))  # what Java trims
_SPACE: Final = " \t\n\v\f\r"
_QUOTED: Final = re.compile(r"""'(?:\\'|[^'])*+'|"(?:\\"|[^"])*+\"""")
_PLACEHOLDER_ARGUMENT: Final = re.compile(r"[A-Za-z0-9_-]+:[^,\s]+\Z")


def parse(text: str, scope: Scope, *, connection_id: str | None = None) -> Plan:
    """The plan of *text*. Raises ExpressionError with position and, where there is one, a hint.

    ``connection:id`` becomes text here; without a *connection_id* it stays unresolved.
    """
    if len(text) > limits.MAX_TEMPLATE:
        raise ExpressionError(
            TOO_COMPLEX,
            f"the template has {len(text)} characters, at most {limits.MAX_TEMPLATE} are allowed",
        )
    reader = _Reader(scope, connection_id)
    pieces: list[str | Pipeline] = []
    at = 0
    for count, (start, begin, end, after) in enumerate(_expressions(text), 1):
        if count > limits.MAX_PIPELINES:
            raise ExpressionError(
                TOO_COMPLEX,
                f"the template has more than {limits.MAX_PIPELINES} placeholders",
                position=start,
            )
        pieces += [text[at:start], reader.pipeline(text, begin, end)]
        at = after
    pieces.append(text[at:])
    return Plan(text, scope, tuple(_merged(pieces)))


def parse_condition(
    text: str, scope: Scope, *, piped: str = "true", connection_id: str | None = None
) -> Plan:
    """The plan of ``fn:default('piped') | text``: a condition of a mapper, or a filter of
    requested acknowledgements. It holds if the plan resolves (spec: Ditto 2.5, 9.1).
    """
    if len(text) > limits.MAX_TEMPLATE:
        raise ExpressionError(
            TOO_COMPLEX,
            f"the condition has {len(text)} characters, at most {limits.MAX_TEMPLATE} are allowed",
        )
    reader = _Reader(scope, connection_id)
    return Plan(text, scope, (Pipeline(piped, reader.calls(_stages(text, 0, len(text))), 0),))


def contains_placeholder(text: str) -> bool:
    """Whether there is anything in *text* that ``parse`` takes for an expression."""
    return next(_expressions(text), None) is not None


def _expressions(text: str) -> Iterator[tuple[int, int, int, int]]:
    """Where each expression stands: start, begin and end of what is inside, and after it."""
    at = 0
    endings = {"{{": "}}", "${": "}"}
    while found := [(i, mark) for mark in endings if (i := text.find(mark, at)) >= 0]:
        start, mark = min(found)
        end = text.find(endings[mark], start + 2)
        if end < 0:
            del endings[mark]  # nor is there an end for a later one
        else:
            at = end + len(endings[mark])
            yield start, start + 2, end, at


def _merged(pieces: Iterable[str | Pipeline]) -> Iterator[str | Pipeline]:
    """Without empty texts, neighbouring texts as one; a pipeline of mere text is text."""
    text = ""
    for piece in pieces:
        if isinstance(piece, Pipeline) and not (isinstance(piece.head, str) and not piece.calls):
            if text:
                yield text
                text = ""
            yield piece
        else:
            text += piece if isinstance(piece, str) else str(piece.head)
    if text:
        yield text


class _Stage:
    """A part of an expression between pipes, trimmed, and where it begins in the template."""

    __slots__ = ("position", "text")

    def __init__(self, text: str, begin: int, end: int) -> None:
        while begin < end and text[begin] in _BLANK:
            begin += 1
        self.position = begin
        self.text = text[begin:end].rstrip(_BLANK)


def _stages(text: str, begin: int, end: int) -> list[_Stage]:
    """The expression between *begin* and *end*, cut at pipes outside quotes."""
    stages: list[_Stage] = []
    at = start = begin
    while at < end:
        char = text[at]
        if char in "'\"":
            quoted = _QUOTED.match(text, at, end)
            if quoted is None:
                _fail(UNRESOLVED, f"the quote {char} has no end", at, f"add {char}")
            at = quoted.end()
        elif char == "|":
            _expect_stage(start, at)
            stages.append(_Stage(text, start, at))
            at = start = at + 1
        else:
            at += 1
    _expect_stage(start, end)
    stages.append(_Stage(text, start, end))
    return stages


def _expect_stage(start: int, end: int) -> None:
    if start == end:
        _fail(UNRESOLVED, "a placeholder or function is missing", start, "write {{ header:name }}")


class _Reader:
    """Turns expressions of one template into pipelines."""

    def __init__(self, scope: Scope, connection_id: str | None) -> None:
        self._scope = scope
        self._connection_id = connection_id

    def pipeline(self, text: str, begin: int, end: int) -> Pipeline:
        stages = _stages(text, begin, end)
        if len(stages) > limits.MAX_FUNCTIONS + 1:
            _fail(
                TOO_COMPLEX,
                f"{len(stages) - 1} functions in a row, at most {limits.MAX_FUNCTIONS} are allowed",
                stages[limits.MAX_FUNCTIONS + 1].position,
                "",
            )
        first = stages[0]
        if first.text.startswith("fn:"):
            return Pipeline(None, self.calls(stages), first.position)
        head = self.source(first.text, first.position)
        return Pipeline(head, self.calls(stages[1:]), first.position)

    def calls(self, stages: list[_Stage]) -> tuple[Call, ...]:
        if len(stages) > limits.MAX_FUNCTIONS + 1:  # a head that is a function counts as head
            _fail(TOO_COMPLEX, "too many functions in a row", stages[0].position, "")
        return tuple([self._call(stage) for stage in stages])

    def source(self, text: str, position: int) -> Argument:
        """The placeholder that *text* is."""
        prefix, colon, name = text.partition(":")
        bare = prefix.strip(_BLANK)
        if bare not in self._scope.prefixes or not colon:
            self._fail_prefix(bare, position)
        if bare != prefix:
            name = text[len(bare) + 1 :]  # Ditto takes the name from where it would begin
        if not name:
            _fail(UNRESOLVED, f"a name is missing after {bare}:", position, "")
        if bare in self._scope.never:
            self._check_name(bare, name, position)
            return Source("never", name)
        try:
            if bare == "time":
                return Source(bare, name, timeexpr.parse(name))
            if bare == "thing-json" and name not in THING_JSON_REFUSED:
                return Source(bare, name, pointer.parse(name))
        except ExpressionError as error:
            _fail(error.code, str(error), position, error.hint)
        if bare == "thing-json":
            _fail(UNRESOLVED, f"thing-json:{name} is not known", position, f"write thing:{name}")
        self._check_name(bare, name, position)
        if bare == "header":
            return Source(bare, name, any_case=self._scope.any_case)
        if bare == "connection":
            return Source("never", name) if self._connection_id is None else self._connection_id
        return Source(f"{bare}:{name}", name)

    def _call(self, stage: _Stage) -> Call:
        text, position = stage.text, stage.position
        name, bracket, _ = text.removeprefix("fn:").partition("(")
        function = FUNCTIONS.get(name)
        if function is None or not bracket or not text.startswith("fn:"):
            _fail_function(text, name, position)
        at = len(name) + 3
        arguments = self._arguments(function, text[at:], position + at)
        if function.prepare is None:
            return Call(name, arguments)
        try:
            return Call(name, arguments, function.prepare(arguments))
        except ExpressionError as error:
            _fail(error.code, f"fn:{name}: {error}", position, error.hint)

    def _arguments(self, function: Function, text: str, position: int) -> tuple[Argument, ...]:
        """What stands in ``(...)``; *text* is all of it and nothing else."""
        if not text.endswith(")"):
            _fail_signature(function, position, f"{text[-10:]!r} is not expected after the call")
        end = len(text) - 1
        found: list[Argument] = []
        at = _skip(text, 1, end)
        while at < end or found:
            if len(found) == len(function.parameters):
                _fail_signature(function, position + at, "too many arguments")
            argument, at = self._argument(function, len(found), text, at, end, position)
            found.append(argument)
            if at == end:
                break
            at = _skip(text, at + 1, end)
        if len(found) < function.fewest:
            count = f"{len(found)} of at least {function.fewest} arguments"
            _fail_signature(function, position, f"there are {count}" if found else "no argument")
        return tuple(found)

    def _argument(
        self, function: Function, index: int, text: str, at: int, end: int, position: int
    ) -> tuple[Argument, int]:
        """One argument, and where the comma or the end after it stands."""
        quoted = _QUOTED.match(text, at, end)
        if quoted is not None:
            after = _skip(text, quoted.end(), end)
            if after < end and text[after] != ",":
                _fail_signature(function, position + after, f"{text[after]!r} after a text")
            return quoted[0][1:-1], after
        after = text.find(",", at, end)
        after = end if after < 0 else after
        name = text[at:after].rstrip(_SPACE)
        parameter = function.parameters[index]
        if not parameter.placeholder or _PLACEHOLDER_ARGUMENT.match(name) is None:
            wanted = "a quoted text" + (" or a placeholder" if parameter.placeholder else "")
            _fail_signature(
                function, position + at, f"{parameter.name} is {name!r}, expected {wanted}"
            )
        if name.startswith("fn:"):
            _fail_signature(
                function, position + at, "a function is no argument; put it before, with a pipe"
            )
        return self.source(name, position + at), after

    def _check_name(self, prefix: str, name: str, position: int) -> None:
        names = self._scope.names(prefix)
        if not names or name in names:
            return
        close = get_close_matches(name, names, 1)
        hint = (
            f"did you mean {prefix}:{close[0]}?"
            if close
            else "known are " + ", ".join(f"{prefix}:{each}" for each in names)
        )
        _fail(UNRESOLVED, f"{prefix}:{name} is not known", position, hint)

    def _fail_prefix(self, prefix: str, position: int) -> NoReturn:
        known = sorted(self._scope.prefixes)
        if not known:
            _fail(UNRESOLVED, f"no placeholder is allowed in the {self._scope.title}", position, "")
        what = f"the placeholder {prefix!r} is not known"
        if prefix in PLACEHOLDERS and prefix in self._scope.prefixes:
            _fail(UNRESOLVED, f"{what}: it has no name", position, f"write {prefix}:name")
        if prefix in PLACEHOLDERS:
            what = f"{prefix}: is not allowed in the {self._scope.title}"
        close = get_close_matches(prefix, known, 1)
        hint = (
            f"did you mean {close[0]}:?"
            if close and close[0] != prefix
            else "allowed are " + ", ".join(f"{each}:" for each in known)
        )
        _fail(UNRESOLVED, what, position, hint)


def _skip(text: str, at: int, end: int) -> int:
    while at < end and text[at] in _SPACE:
        at += 1
    return at


def _fail_function(text: str, name: str, position: int) -> NoReturn:
    bare = name.strip()
    if bare in FUNCTIONS:
        _fail(
            UNKNOWN_FUNCTION,
            f"{text[:64]!r} is no function call",
            position,
            f"write {FUNCTIONS[bare].signature}, with no blank before the bracket",
        )
    close = get_close_matches(bare.lower(), FUNCTIONS, 1)
    hint = (
        f"did you mean fn:{close[0]}?"
        if close
        else "known are " + ", ".join(f"fn:{each}" for each in FUNCTIONS)
    )
    _fail(UNKNOWN_FUNCTION, f"the function {text[:64]!r} is not known", position, hint)


def _fail_signature(function: Function, position: int, what: str) -> NoReturn:
    _fail(SIGNATURE_INVALID, f"fn:{function.name}: {what}", position, f"write {function.signature}")


def _fail(code: str, what: str, position: int, hint: str) -> NoReturn:
    raise ExpressionError(code, what, position=position, hint=hint)
