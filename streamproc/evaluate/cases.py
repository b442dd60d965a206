"""Cases in, answers out: one JSON object a line each, in the same order.

Reads as much as there is and answers it before it waits for more, so a person or a program
can hold a conversation; a line that is too long costs a fixed amount of memory.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Protocol, cast

import orjson

from streamproc.errors import StreamprocError
from streamproc.evaluate import OPS

MAX_LINE_BYTES = 16 << 20
CHUNK_BYTES = 1 << 16

Operation = Callable[[dict[str, Any]], Any]


class Input(Protocol):
    """A binary stream whose ``read1`` returns what is there."""

    def read1(self, size: int, /) -> bytes:
        """At least one byte unless the stream has ended."""


def answer_all(source: Input, sink: BinaryIO, max_line_bytes: int = MAX_LINE_BYTES) -> int:
    """Answer every line of *source* on *sink*; how many."""
    count = 0
    for lines in _lines(source, max_line_bytes):
        for line in lines:
            sink.write(answer(line, max_line_bytes))
        count += len(lines)
        sink.flush()
    return count


def answer(line: bytes | None, max_line_bytes: int = MAX_LINE_BYTES) -> bytes:
    """The answer to one line, which is None where it was too long to keep."""
    case: Any = None
    try:
        if line is None:
            raise _bad(f"the line has more than {max_line_bytes} bytes")
        case = _object(line)
        result = operation(case.get("op"))(case)
        reply = {"id": case.get("id"), "result": result}
    except StreamprocError as error:
        reply = _failed(case, error.code, str(error))
    except Exception as error:  # noqa: BLE001 - a bug in one case must not silence the rest
        reply = _failed(case, "internal", f"{type(error).__name__}: {error}")
    return _encode(reply) + b"\n"


def operation(name: object) -> Operation:
    """The function of an op; imports its module."""
    if not isinstance(name, str) or name not in OPS:
        raise _bad(f"the op is {name!r}, expected one of {', '.join(OPS)}")
    module, _, function = OPS[name].partition(":")
    return cast(Operation, getattr(importlib.import_module(module), function))


def _lines(source: Input, limit: int) -> Iterator[list[bytes | None]]:
    """Lines that came together; too long ones are None."""
    rest = b""
    dropping = False  # inside a line that was answered as too long
    while chunk := source.read1(CHUNK_BYTES):
        whole = chunk.split(b"\n")
        whole[0] = rest + whole[0]
        rest = whole.pop()
        if dropping and whole:
            del whole[0]
            dropping = False
        ready: list[bytes | None] = [None if len(line) > limit else line for line in whole]
        if dropping:
            rest = b""
        elif len(rest) > limit:
            ready.append(None)
            rest, dropping = b"", True
        yield ready
    if rest:
        yield [rest]


def _object(line: bytes) -> dict[str, Any]:
    try:
        case = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise _bad(f"the line is not JSON: {error}") from None
    if not isinstance(case, dict):
        raise _bad("the line is not a JSON object")
    return case


def _bad(message: str) -> StreamprocError:
    error = StreamprocError(message)
    error.code = "eval.case.invalid"
    error.status = 400
    return error


def _failed(case: object, code: str, message: str) -> dict[str, Any]:
    name = case.get("id") if isinstance(case, dict) else None
    return {"id": name, "error": code, "message": message}


def _encode(reply: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(reply)
    except TypeError:  # a lone surrogate, a number of more than 64 bits
        return json.dumps(reply).encode()
