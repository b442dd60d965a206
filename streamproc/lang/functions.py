"""The functions of templates: one table for parser, kernel, documentation and tests.

Every example is a test, and is shown in ``docs/reference/functions.md``. What a function
computes is in ``kernels/template``; what can be decided from the text is decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from streamproc.errors import ExpressionError
from streamproc.lang import format as formats
from streamproc.lang import limits
from streamproc.lang.plan import Argument, FilterPlan

UNRESOLVED: Final = MappingProxyType({"unresolved": True})
DELETED: Final = MappingProxyType({"deleted": True})

Expected: TypeAlias = str | tuple[str, ...] | Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class Example:
    """A template, what it can refer to, and what comes out."""

    template: str
    expect: Expected
    headers: Mapping[str, str] = field(default_factory=dict)
    subjects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    summary: str
    placeholder: bool = False  # a placeholder may stand in place of a quoted text
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Function:
    """A row. ``prepare`` turns arguments into what the kernel wants to have ready, or refuses
    them with an ExpressionError.
    """

    name: str
    parameters: tuple[Parameter, ...]
    summary: str
    examples: tuple[Example, ...]
    prepare: Callable[[tuple[Argument, ...]], Any] | None = field(default=None, compare=False)

    @property
    def fewest(self) -> int:
        """Arguments it must have."""
        return sum(not parameter.optional for parameter in self.parameters)

    @property
    def signature(self) -> str:
        """As it is shown to people: ``fn:replace(from, to)``."""
        names = [f"[{p.name}]" if p.optional else p.name for p in self.parameters]
        return f"fn:{self.name}({', '.join(names)})"


SIGNATURE_INVALID: Final = "placeholder:function.signature.invalid"
OPERATORS: Final = ("eq", "ne", "like", "exists")


def _filter(arguments: tuple[Argument, ...]) -> FilterPlan:
    """Which of its three forms a filter has; decided by the text, never by a message."""
    tested: Argument | None
    compared: Argument | None
    if len(arguments) == 3:
        tested, operator, compared = arguments
    elif arguments[1] == "exists":
        tested, operator, compared = arguments[0], arguments[1], None
    else:
        tested, operator, compared = None, arguments[0], arguments[1]
    if operator == "like" and isinstance(compared, str) and len(compared) > limits.MAX_LIKE:
        raise ExpressionError(
            SIGNATURE_INVALID,
            f"the pattern has {len(compared)} characters, at most {limits.MAX_LIKE} are allowed",
        )
    return FilterPlan(tested, operator, compared)


def _format(arguments: tuple[Argument, ...]) -> formats.Format:
    text = arguments[0]
    assert isinstance(text, str)
    try:
        return formats.parse(text)
    except ExpressionError as error:
        raise ExpressionError(SIGNATURE_INVALID, str(error), hint=error.hint) from None


def _headers(**headers: str) -> Mapping[str, str]:
    return headers


_A: Final = _headers(a="Hello")
_THREE: Final = ("user:anna", "user:bert", "group:all")
FUNCTIONS: Final[dict[str, Function]] = {
    row.name: row
    for row in (
        Function(
            "default",
            (Parameter("value", "what to use instead", placeholder=True),),
            "The value where the input is unresolved. What was deleted stays deleted.",
            (
                Example("{{ header:b | fn:default('none') }}", "none", _A),
                Example("{{ header:b | fn:default(header:a) }}", "Hello", _A),
                Example("{{ header:a | fn:default('none') }}", "Hello", _A),
                Example("{{ header:b | fn:default(header:c) }}", UNRESOLVED, _A),
                Example("{{ header:a | fn:delete() | fn:default('none') }}", DELETED, _A),
            ),
        ),
        Function(
            "filter",
            (
                Parameter("tested", "the text to look at", placeholder=True),
                Parameter("operator", "`eq`, `ne`, `like` or `exists`", placeholder=True),
                Parameter("compared", "what to compare it with", placeholder=True, optional=True),
            ),
            "Lets the input through, unchanged, if the tested text passes; else the result is "
            "unresolved. Without *tested*, as `fn:filter(operator, compared)`, each value of "
            "the input is tested itself. `fn:filter(tested, 'exists')` passes if *tested* has a "
            "value that is not empty; with `'false'` as third argument, if it has none. "
            "In `like`, `*` stands for any text, `?` for one character, `|` separates "
            "alternatives. A missing *tested* or *compared* counts as the empty text. "
            "Unresolved input stays unresolved: begin with `fn:default('...')` where the input "
            "does not matter.",
            (
                Example("{{ header:a | fn:filter(header:qos,'ne','0') }}", "Hello", _A),
                Example(
                    "{{ header:a | fn:filter(header:qos,'ne','0') }}",
                    UNRESOLVED,
                    _headers(a="Hello", qos="0"),
                ),
                Example("{{ header:a | fn:filter('like','H*|h*') }}", "Hello", _A),
                Example("{{ header:a | fn:filter(header:b,'exists','false') }}", "Hello", _A),
                Example("{{ header:a | fn:filter(header:b,'exists') }}", UNRESOLVED, _A),
                Example(
                    "{{ request:subjectId | fn:filter('like','user:*') }}",
                    ("user:anna", "user:bert"),
                    subjects=_THREE,
                ),
            ),
            _filter,
        ),
        Function(
            "substring-before",
            (Parameter("text", "where to cut"),),
            "What stands before the first occurrence of *text*; unresolved if there is none.",
            (
                Example(
                    "{{ header:id | fn:substring-before(':') }}", "acme", _headers(id="acme:car:1")
                ),
                Example("{{ header:a | fn:substring-before(':') }}", UNRESOLVED, _A),
            ),
        ),
        Function(
            "substring-after",
            (Parameter("text", "where to cut"),),
            "What stands after the first occurrence of *text*; unresolved if there is none.",
            (
                Example(
                    "{{ header:id | fn:substring-after(':') }}", "car:1", _headers(id="acme:car:1")
                ),
                Example("{{ header:a | fn:substring-after(':') }}", UNRESOLVED, _A),
            ),
        ),
        Function(
            "lower",
            (),
            "In lower case.",
            (Example("{{ header:a | fn:lower() }}", "äbc", _headers(a="ÄBC")),),
        ),
        Function(
            "upper",
            (),
            "In upper case.",
            (Example("{{ header:a | fn:upper() }}", "ÄBC", _headers(a="äbc")),),
        ),
        Function(
            "trim",
            (),
            "Without blanks and control characters at both ends.",
            (Example("{{ header:a | fn:trim() }}", "b c", _headers(a=" \tb c\n")),),
        ),
        Function(
            "replace",
            (
                Parameter("from", "what to replace, literally", placeholder=True),
                Parameter("to", "what to put in its place", placeholder=True),
            ),
            "With every *from* replaced. A missing *from* counts as the empty text.",
            (
                Example("{{ header:a | fn:replace('.','/') }}", "a/b/c", _headers(a="a.b.c")),
                Example(
                    "{{ header:a | fn:replace(header:x,'-') }}", "a-b", _headers(a="a+b", x="+")
                ),
            ),
        ),
        Function(
            "split",
            (Parameter("separator", "where to cut, literally"),),
            "The parts between separators, as several values. Empty parts at the end are left "
            "out. The empty separator cuts between all characters.",
            (
                Example("{{ header:a | fn:split(',') }}", ("x", "", "y"), _headers(a="x,,y,,")),
                Example("{{ header:a | fn:split('|') }}", ("x", "y"), _headers(a="x|y")),
                Example("{{ header:a | fn:split(',') }}", "Hello", _A),
            ),
        ),
        Function(
            "join",
            (Parameter("delimiter", "what to put between values"),),
            "All values as one; unresolved if there are none, or if they were deleted.",
            (
                Example(
                    "{{ request:subjectId | fn:join(' ') }}",
                    "user:anna user:bert group:all",
                    subjects=_THREE,
                ),
                Example("{{ header:b | fn:join(',') }}", UNRESOLVED, _A),
            ),
        ),
        Function(
            "delete",
            (),
            "Deletes the value: the rest of the template stands without it, and a header "
            "mapping that is nothing else leaves the header out.",
            (
                Example("{{ header:a | fn:delete() }}", DELETED, _A),
                Example("x-{{ header:a | fn:delete() }}", "x-", _A),
            ),
        ),
        Function(
            "url-encode",
            (),
            "As in a form: UTF-8, `%xx`, and `+` for a blank.",
            (Example("{{ header:a | fn:url-encode() }}", "%C3%A4+%26+b", _headers(a="ä & b")),),
        ),
        Function(
            "url-decode",
            (),
            "The reverse of `fn:url-encode`. A broken `%xx` is an error of the message.",
            (Example("{{ header:a | fn:url-decode() }}", "ä & b", _headers(a="%C3%A4+%26+b")),),
        ),
        Function(
            "base64-encode",
            (),
            "The UTF-8 bytes in base64, with padding.",
            (Example("{{ header:a | fn:base64-encode() }}", "SGVsbG8=", _A),),
        ),
        Function(
            "base64-decode",
            (),
            "The reverse of `fn:base64-encode`; padding may be missing. Anything else that is "
            "not base64 is an error of the message.",
            (Example("{{ header:a | fn:base64-decode() }}", "Hello", _headers(a="SGVsbG8")),),
        ),
        Function(
            "format",
            (Parameter("pattern", "text with `{name}`, `{/path/to}` and `{#list}…{/list}`"),),
            "Each value that is a JSON object, written out by *pattern*. What is missing or "
            "null gives the empty text. An array gives several values. `{#list}…{/list}` "
            "repeats what is between for each element, in which `{.}` is the element if it is "
            "no object. `\\{` and `\\}` are braces. Values that are no objects are left out; if "
            "nothing is left, or all was deleted, the result is the empty text.",
            (
                Example(
                    "{{ header:a | fn:format('{tenant}:{roles}') }}",
                    ("acme:op", "acme:admin"),
                    _headers(a='{"tenant":"acme","roles":["op","admin"]}'),
                ),
                Example(
                    "{{ header:a | fn:format('{#users}{/name/last}-{role}{/users}') }}",
                    ("Doe-", "Roe-x"),
                    _headers(
                        a='{"users":[{"name":{"last":"Doe"}},{"name":{"last":"Roe"},"role":"x"}]}'
                    ),
                ),
                Example(
                    "{{ header:a | fn:format('t:{#tags}{.}{/tags}') }}",
                    ("t:a", "t:1"),
                    _headers(a='{"tags":["a",1]}'),
                ),
                Example("{{ header:b | fn:format('{x}') }}", UNRESOLVED, _A),
                Example("{{ header:a | fn:format('{x}') }}", "", _A),
                Example("{{ header:a | fn:delete() | fn:format('{x}') }}", "", _A),
            ),
            _format,
        ),
    )
}
