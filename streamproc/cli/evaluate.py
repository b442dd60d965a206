"""``streamproc eval``: one expression from a person, or cases from a program."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import orjson

from streamproc.cli.caret import pointed
from streamproc.errors import ExpressionError, StreamprocError
from streamproc.evaluate import OPS
from streamproc.evaluate.cases import answer_all, operation
from streamproc.evaluate.stages import stages

EXIT_ERROR = 1

_EXAMPLES = """\
examples:
  streamproc eval --template '{{ thing:name | fn:upper() }}' --context ctx.json
  streamproc eval --template 'x-{{ header:device_id }}' --header device_id=org.acme:d1
  streamproc eval --rql 'gt(attributes/x,4)' --thing thing.json
  streamproc eval --rql 'eq(topic:action,"modified")' --message event.json --explain
  streamproc eval < cases.ndjson

FILE is a file of JSON, - for standard input, or the JSON itself.

A context has any of: headers, thingId, policyId, topic, resource, subjects, connectionId,
sourceAddress, message, extra, thing, now.

Without --template or --rql, cases are read from standard input: one JSON object a line,
{"id": ..., "op": ..., ...}, each answered by one line, {"id": ..., "result": ...} or
{"id": ..., "error": code, "message": ...}. Operations: """


def main(argv: list[str]) -> int:
    """Evaluate; 0 unless an expression could not be evaluated."""
    options = _parser().parse_args(argv)
    if options.template is None and options.rql is None:
        return _answer_cases()
    expression = options.rql if options.template is None else options.template
    try:
        context = _context(options)
        if options.template is None:
            lines = _filter(options, context)
        else:
            lines = _template(expression, context)
        for line in lines:
            print(line)
    except StreamprocError as error:
        print(_complaint(error, expression), file=sys.stderr)
        return EXIT_ERROR
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="streamproc eval",
        description="Try a template, a filter or a rule of a connection, without a broker.",
        epilog=_EXAMPLES + ", ".join(OPS) + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--template", metavar="TEXT", help="show what a template gives, step by step")
    what.add_argument("--rql", metavar="FILTER", help="show whether a filter lets a thing pass")
    parser.add_argument("--context", metavar="FILE", help="sources of placeholders")
    parser.add_argument("--thing", metavar="FILE", help="a thing")
    parser.add_argument("--message", metavar="FILE", help="a Ditto protocol message")
    parser.add_argument(
        "--header",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a header of the context; may be given again",
    )
    parser.add_argument(
        "--explain", action="store_true", help="why a filter says so: each part, what it saw"
    )
    return parser


def _answer_cases() -> int:
    if sys.stdin.isatty():
        print(
            "reading cases, one JSON object a line, until Ctrl-D; see streamproc eval --help",
            file=sys.stderr,
        )
    answer_all(cast(io.BufferedReader, sys.stdin.buffer), sys.stdout.buffer)
    return 0


def _context(options: argparse.Namespace) -> dict[str, Any]:
    context = _read(options.context, "--context") if options.context else {}
    own: dict[str, str] = {}
    if options.message:
        message = context["message"] = _read(options.message, "--message")
        sent = message.get("headers")
        if isinstance(sent, dict):
            own = {n: text for n, text in sent.items() if isinstance(text, str)}
    if options.thing:
        thing = context["thing"] = _read(options.thing, "--thing")
        if isinstance(thing.get("thingId"), str):
            context.setdefault("thingId", thing["thingId"])
    for header in options.header:
        name, equals, value = header.partition("=")
        if not equals:
            raise _Unusable(f"--header {header!r} has no value, expected NAME=VALUE")
        own[name] = value
    headers = context.get("headers") or {}
    if not isinstance(headers, dict):
        raise _Unusable("the headers of the context are not a JSON object")
    context["headers"] = headers | own
    return context


def _read(source: str, option: str) -> dict[str, Any]:
    """The JSON object that an option names."""
    try:
        if source.lstrip().startswith("{"):
            text = source.encode()
        elif source == "-":
            text = sys.stdin.buffer.read()
        else:
            text = Path(source).read_bytes()
        value = orjson.loads(text)
    except OSError as error:
        raise _Unusable(f"{option} {source}: {error.strerror}") from None
    except orjson.JSONDecodeError as error:
        raise _Unusable(f"{option} {source}: it is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise _Unusable(f"{option} {source}: it is not a JSON object")
    return value


def _template(text: str, context: dict[str, Any]) -> Iterator[str]:
    """What each expression gives on its way, and the whole."""
    result = operation("template")({"template": text, "context": context})
    for expression in stages(text, context):
        yield expression.text
        width = max(len(stage.text) for stage in expression.stages) + 2
        for i, stage in enumerate(expression.stages):
            yield f"  {'| ' if i else '  '}{stage.text:{width}}{_shown(stage.value)}"
    yield f"result  {_shown(result)}"


def _filter(options: argparse.Namespace, context: dict[str, Any]) -> Iterator[str]:
    case: dict[str, Any] = {"filter": options.rql, "context": context, "explain": options.explain}
    if "message" in context:
        case["message"] = context["message"]
    elif "thing" in context:
        case["thing"] = context["thing"]
    else:
        raise _Unusable("a filter needs something to look at, give --thing or --message")
    result = operation("rql")(case)
    if options.explain:
        yield from _explained(result, 0)
        result = result["outcome"]
    yield f"result  {orjson.dumps(result).decode()}"
    if result is False and not options.explain:
        yield "        --explain tells why"


def _explained(part: dict[str, Any], depth: int) -> Iterator[str]:
    """An expression, whether it holds, what it saw; and below it its parts."""
    saw = ""
    if part.get("absent"):
        saw = "   saw nothing there"
    elif "saw" in part:
        saw = f"   saw {_shown(part['saw'])}"
    mark = "yes" if part["outcome"] else "no "
    yield f"{'  ' * depth}{mark}  {part['expression']}{saw}"
    for below in part.get("parts", ()):
        yield from _explained(below, depth + 1)


def _shown(value: Any) -> str:
    """A value as JSON; a state or an error in words."""
    if isinstance(value, StreamprocError):
        return f"error: {value.code}: {value}"
    if value == {"unresolved": True}:
        return "unresolved: no value"
    if value == {"deleted": True}:
        return "deleted"
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # a lone surrogate, a number of more than 64 bits
        return repr(value)


class _Unusable(StreamprocError):
    """What was given to the command is not what it takes."""


def _complaint(error: StreamprocError, expression: str) -> str:
    """The error, and where in the expression it is."""
    lines = [f"error: {error}"]
    if isinstance(error, ExpressionError):
        if error.position is not None:
            lines += [f"  {line}" for line in pointed(expression, error.position).split("\n")]
        if error.hint:
            lines.append(f"  hint: {error.hint}")
    if not isinstance(error, _Unusable):
        lines.append(f"  code: {error.code}")
    return "\n".join(lines)
