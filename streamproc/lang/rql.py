"""RQL filters: ``and(gt(attributes/count,4),like(topic:action,"mod*"))``. Text to plan.

    expression := cmp(property,value) | in(property,value,...) | and(...) | or(...)
                | not(expression) | exists(property) | empty(property)
    cmp        := eq ne gt ge lt le like ilike
    value      := number | "text" | 'text' | true | false | null | time:now...

Blanks are possible only before the filter, after a value, and after a comma of and/or. The
kernel ``streamproc.kernels.rql`` runs plans.
"""

from __future__ import annotations

import math
import re
from difflib import get_close_matches
from typing import Final, NoReturn, cast

from streamproc.errors import ExpressionError
from streamproc.lang import rql_property, timeexpr
from streamproc.lang.rql_plan import (
    COMPARISONS,
    Compare,
    Empty,
    Exists,
    Expression,
    In,
    Logical,
    Plan,
    Property,
    Value,
)
from streamproc.lang.rql_property import CODE

MAX_LENGTH: Final = 32_768  # characters
MAX_DEPTH: Final = 64  # expressions inside each other
MAX_NODES: Final = 4_096  # expressions and values
MAX_PATTERN: Final = 1_024  # characters of a like or ilike pattern
INTEGERS: Final = range(-(2**63), 2**63)  # what Ditto's values can hold

OPERATORS: Final = (*COMPARISONS, "in", "and", "or", "not", "exists", "empty")

_BLANKS: Final = re.compile(r"[ \n\r\t\f]*")
_WORD: Final = re.compile(r"\w*")
_ESCAPE: Final = r"\\(?:[{0}\\/bfnrt]|u[0-9A-Fa-f]{{4}})"
_STRINGS: Final = {
    quote: re.compile(rf"(?:[^{quote}\\]|{_ESCAPE.format(quote)})*+") for quote in ("'", '"')
}
_PROPERTY: Final = re.compile(rf"(?:[^,)\"\\]|{_ESCAPE.format(chr(34))})*+")
_ESCAPED: Final = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)")
_LETTERS: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_NUMBER: Final = re.compile(r"[+-]?(?:[1-9][0-9]+|[0-9])(\.[0-9]+)?")
_CONSTANTS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None}


def parse(text: str, *, check_properties: bool = True) -> Plan:
    """Parse a filter; raises ExpressionError ``rql.expression.invalid`` with the place in it.

    Without *check_properties* only the grammar is checked, not what the properties and
    values mean; such a plan is not for the kernel.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(
            CODE, f"the filter has {len(text)} characters, {MAX_LENGTH} are allowed"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        what = "half a surrogate pair is no character"
        raise ExpressionError(CODE, what, position=error.start) from error
    return Plan(text, _Parser(text, check_properties).parse())


class _Parser:
    """One pass from left to right; ``at`` is the next character."""

    def __init__(self, text: str, check: bool) -> None:
        self.text = text
        self.check = check
        self.at = 0
        self.nodes = 0

    def parse(self) -> Expression:
        self.skip_blanks()
        root = self.expression(1)
        if self.at < len(self.text):
            self.fail(f"the filter ends here, but {self.found()} follows", self.blank_hint())
        return root

    def expression(self, depth: int) -> Expression:
        start = self.at
        self.count()
        if depth > MAX_DEPTH:
            self.fail(f"more than {MAX_DEPTH} expressions are inside each other")
        operator = self.operator()
        if operator in ("and", "or", "not"):
            parts = self.parts(operator, depth)
            self.close(operator)
            return Logical(operator, parts, (start, self.at))
        subject = self.property(existence=operator in ("exists", "empty"))
        if operator in ("exists", "empty"):
            self.close(operator)
            kind = Exists if operator == "exists" else Empty
            return kind(subject, (start, self.at))
        self.comma()
        if operator == "in":
            values = self.values()
            self.close(operator)
            return In(subject, values, (start, self.at))
        value_at = self.at
        value = self.value()
        if self.check and operator in ("like", "ilike"):
            self.check_pattern(operator, value, value_at)
        self.close(operator)
        return Compare(operator, subject, value, (start, self.at))

    def parts(self, operator: str, depth: int) -> tuple[Expression, ...]:
        parts = [self.expression(depth + 1)]
        while self.text.startswith(",", self.at):
            if operator == "not":
                self.fail("not takes one expression, found a second", "write not(or(...,...))")
            self.at += 1
            self.skip_blanks()
            parts.append(self.expression(depth + 1))
        return tuple(parts)

    def operator(self) -> str:
        """The operator and its opening parenthesis."""
        start = self.at
        self.at = cast(re.Match[str], _WORD.match(self.text, start)).end()
        word = self.text[start : self.at]
        if word not in OPERATORS:
            self.at = start
            what = f"{word!r}" if word else self.found()
            self.fail(f"expected an operator, found {what}", self.operator_hint(word))
        if not self.text.startswith("(", self.at):
            self.fail(f"expected ( after {word}, found {self.found()}", self.blank_hint())
        self.at += 1
        return word

    def property(self, *, existence: bool) -> Property:
        start = self.at
        end = cast(re.Match[str], _PROPERTY.match(self.text, start)).end()
        self.at = end
        if self.text.startswith('"', end):
            self.fail(
                "a quote is not allowed in a property", 'write properties without quotes, or \\"'
            )
        if self.text.startswith("\\", end):
            self.fail_escape('"')
        name = self.unescaped(start, end)
        if self.check:
            return rql_property.parse(name, start, existence=existence)
        return rql_property.unchecked(name)

    def values(self) -> tuple[Value, ...]:
        values = [self.value()]
        while self.text.startswith(",", self.at):
            self.at += 1
            values.append(self.value())
        return tuple(values)

    def value(self) -> Value:
        self.count()
        first = self.text[self.at : self.at + 1]
        value: Value
        if first in _STRINGS:
            value = self.string(first)
        elif first and first in "+-0123456789":
            value = self.number()
        elif self.text.startswith("time:", self.at):
            value = self.time()
        else:
            value = self.constant()
        self.skip_blanks()
        return value

    def constant(self) -> bool | None:
        word = next((word for word in _CONSTANTS if self.text.startswith(word, self.at)), None)
        if word is None:
            self.fail(f"expected a value, found {self.found()}", self.value_hint())
        self.at += len(word)
        return _CONSTANTS[word]

    def string(self, quote: str) -> str:
        start = self.at + 1
        end = cast(re.Match[str], _STRINGS[quote].match(self.text, start)).end()
        if end == len(self.text):
            self.fail(f"the text that begins here is not closed by {quote}")
        self.at = end
        if self.text[end] == "\\":
            self.fail_escape(quote)
        self.at += 1
        return self.unescaped(start, end)

    def number(self) -> int | float:
        found = _NUMBER.match(self.text, self.at)
        if found is None:
            self.fail(f"expected a number, found {self.found()}")
        if found[1] is not None:
            real = float(found[0])
            if math.isinf(real):
                self.fail("the number is too large")
            self.at = found.end()
            return real
        following = self.text[found.end() : found.end() + 1]
        if following in ("e", "E", ".") or following.isdigit():
            self.at = found.end()
            self.fail(
                f"{following!r} cannot follow here", "no leading zero, no exponent, 1.0 not 1."
            )
        if found[0] == "-0":
            self.fail("-0 is not possible", "write 0")
        # Digits first: a number of a thousand digits is refused before it is computed.
        if len(found[0]) > 20 or int(found[0]) not in INTEGERS:
            self.fail("the integer does not fit 64 bits", f"the largest is {INTEGERS[-1]}")
        self.at = found.end()
        return int(found[0])

    def time(self) -> timeexpr.TimePlan | None:
        start = self.at + len("time:")
        end = cast(re.Match[str], _PROPERTY.match(self.text, start)).end()
        name = self.text[start:end]
        if not name:
            self.at = start
            self.fail("expected a name after time:", "write time:now")
        self.at = end
        try:
            return timeexpr.parse(name.rstrip(" \n\r\t\f"))
        except ExpressionError as error:
            if not self.check:
                return None
            self.at = start + (error.position or 0)
            self.fail(str(error), error.hint)

    def check_pattern(self, operator: str, value: Value, at: int) -> None:
        end, self.at = self.at, at
        if not isinstance(value, str):
            self.fail(f"{operator} takes a text", 'write the pattern in quotes: "a*"')
        if len(value) > MAX_PATTERN:
            self.fail(f"the pattern has {len(value)} characters, {MAX_PATTERN} are allowed")
        self.at = end

    def comma(self) -> None:
        if not self.text.startswith(",", self.at):
            self.fail(f"expected a comma and a value, found {self.found()}")
        self.at += 1

    def close(self, operator: str) -> None:
        if not self.text.startswith(")", self.at):
            self.fail(f"expected ) to end {operator}, found {self.found()}", self.blank_hint())
        self.at += 1

    def unescaped(self, start: int, end: int) -> str:
        raw = self.text[start:end]
        if "\\" not in raw:
            return raw
        text = _ESCAPED.sub(_unescape, raw)
        # Two \u of a surrogate pair are one character; half a pair is none.
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self.at = start
            self.fail("half a surrogate pair is no character", "write both \\u of the pair")

    def skip_blanks(self) -> None:
        self.at = cast(re.Match[str], _BLANKS.match(self.text, self.at)).end()

    def count(self) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self.fail(f"the filter has more than {MAX_NODES} expressions and values")

    def found(self) -> str:
        """What is at the current place, for a message."""
        if self.at >= len(self.text):
            return "the end"
        return "a blank" if self.text[self.at].isspace() else repr(self.text[self.at])

    def blank_hint(self) -> str:
        return "no blank allowed here" if self.text[self.at : self.at + 1].isspace() else ""

    def operator_hint(self, word: str) -> str:
        if self.at < len(self.text) and self.text[self.at].isspace():
            return "no blank allowed here"
        lower = word.lower()
        close = [lower] if lower in OPERATORS else get_close_matches(lower, OPERATORS, 1, 0.7)
        if close:
            return f"did you mean {close[0]}?"
        return f"operators are {', '.join(OPERATORS)}; write eq(attributes/a,1), not a=1"

    def value_hint(self) -> str:
        if self.blank_hint():
            return "no blank allowed here"
        word = cast(re.Match[str], _WORD.match(self.text, self.at))[0]
        if word.lower() in _CONSTANTS:
            return f"did you mean {word.lower()}?"
        return f'texts are in quotes: "{word}"' if word else ""

    def fail_escape(self, quote: str) -> NoReturn:
        self.fail(
            f"{self.text[self.at : self.at + 2]} is no escape",
            f"possible are \\{quote} \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX",
        )

    def fail(self, message: str, hint: str = "") -> NoReturn:
        raise ExpressionError(CODE, message, position=self.at, hint=hint)


def _unescape(found: re.Match[str]) -> str:
    escaped = found[1]
    return chr(int(escaped[1:], 16)) if len(escaped) > 1 else _LETTERS.get(escaped, escaped)
