"""What ``streamproc.kernels.template`` computes, slowly and obviously; without its limits.

Inside, an expression has a list of values, UNRESOLVED, or DELETED.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from streamproc.errors import SignalError
from streamproc.kernels.signal import Signal
from streamproc.lang.plan import Argument, Call, FilterPlan, Pipeline, Plan
from tests.reference import format as formats
from tests.reference import sources

UNRESOLVED = "unresolved"
DELETED = "deleted"
SIGNATURE = "placeholder:function.signature.invalid"
NOT_RESOLVABLE = "placeholder:placeholder.notresolvable"


class Template:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    @property
    def constant(self) -> str | None:
        if self.plan.sources:
            return None
        try:
            values = resolve(self.plan, {}, None, None)
        except SignalError:
            return None
        return values[0] if isinstance(values, list) and len(values) == 1 else None

    def first(
        self,
        headers: Sequence[Mapping[str, str]],
        signals: Sequence[Signal] | None = None,
        now: datetime | None = None,
    ) -> list[Any]:
        results = self.all(headers, signals, now)
        return [(x[0] if x else None) if isinstance(x, tuple) else x for x in results]

    def all(
        self,
        headers: Sequence[Mapping[str, str]],
        signals: Sequence[Signal] | None = None,
        now: datetime | None = None,
    ) -> list[Any]:
        now = now or datetime.now(UTC)
        results: list[Any] = []
        for i, each in enumerate(headers):
            try:
                values = resolve(self.plan, each, signals[i] if signals else None, now)
            except SignalError as error:
                results.append(error)
                continue
            if values is UNRESOLVED:
                results.append(None)
            elif values is DELETED:
                results.append(())
            else:
                results.append(tuple(values))
        return results


def resolve(plan: Plan, headers: Any, signal: Signal | None, now: datetime | None) -> Any:
    scene = Scene(headers, signal, now)
    values = [[piece] if isinstance(piece, str) else scene.pipeline(piece) for piece in plan.pieces]
    if UNRESOLVED in values:
        return UNRESOLVED
    kept = [value for value in values if value is not DELETED]
    if values and not kept:
        return DELETED
    return ["".join(choice) for choice in itertools.product(*kept)]


class Scene:
    """One message."""

    def __init__(self, headers: Any, signal: Signal | None, now: datetime | None) -> None:
        self.headers = headers
        self.signal = signal
        self.now = now

    def argument(self, argument: Argument | None) -> Any:
        if argument is None:
            return UNRESOLVED
        if isinstance(argument, str):
            return [argument]
        return sources.values(argument, self.headers, self.signal, self.now) or UNRESOLVED

    def pipeline(self, pipeline: Pipeline) -> Any:
        value = self.argument(pipeline.head)
        for call in pipeline.calls:
            value = self.call(call, value)
        return value

    def call(self, call: Call, value: Any) -> Any:
        if call.function == "delete":
            return DELETED
        if call.function in ("split", "join"):
            if value in (UNRESOLVED, DELETED):
                return UNRESOLVED
            text = call.arguments[0]
            assert isinstance(text, str)
            if call.function == "join":
                return [text.join(value)]
            return [part for each in value for part in split(each, text)] or UNRESOLVED
        if value is DELETED:
            return [""] if call.function == "format" else DELETED
        if call.function == "default":
            return self.argument(call.arguments[0]) if value is UNRESOLVED else value
        if call.function == "filter":
            return self.filter(call.detail, value)
        arguments = [self.first(argument) for argument in call.arguments]
        if call.function == "replace" and arguments[1] is None:
            raise SignalError(SIGNATURE, "")
        if value is UNRESOLVED:
            return UNRESOLVED
        if call.function == "format":
            text = call.arguments[0]
            assert isinstance(text, str)
            return formats.render(text, value)
        results = [TEXTS[call.function](each, *arguments) for each in value]
        return [result for result in results if result is not None] or UNRESOLVED

    def first(self, argument: Argument) -> str | None:
        found = self.argument(argument)
        return None if found is UNRESOLVED else found[0]

    def filter(self, plan: FilterPlan, value: Any) -> Any:
        operator = self.first(plan.operator)
        if operator is None and plan.tested is not None:
            raise SignalError(SIGNATURE, "")
        if value is UNRESOLVED:
            return UNRESOLVED
        tested, compared = self.argument(plan.tested), self.argument(plan.compared)
        if plan.tested is None:
            others = [] if compared is UNRESOLVED else compared
            kept = [v for v in value if any(holds(operator, v, other) for other in others)]
            return kept or UNRESOLVED
        if plan.compared is None:
            return value if tested is not UNRESOLVED and any(tested) else UNRESOLVED
        tested = [""] if tested is UNRESOLVED else tested
        compared = [""] if compared is UNRESOLVED else compared
        pairs = itertools.product(tested, compared)
        return value if any(holds(operator, *pair) for pair in pairs) else UNRESOLVED


def holds(operator: str | None, tested: str, compared: str) -> bool:
    match operator:
        case "eq":
            return tested == compared
        case "ne":
            return tested != compared
        case "exists":
            return (tested != "") == (compared.lower() == "true")
        case "like":
            return re.fullmatch(pattern(compared), tested) is not None
    return False


def pattern(like: str) -> str:
    any_character = "[^\n\r\x85\u2028\u2029]"
    wild = {"*": f"{any_character}*", "?": any_character, "|": "|"}
    return "".join(wild.get(character) or re.escape(character) for character in like)


def split(text: str, separator: str) -> list[str]:
    if separator == "":
        return list(text) if text else [""]
    if separator not in text:
        return [text]
    parts = text.split(separator)
    while parts and parts[-1] == "":
        del parts[-1]
    return parts


def before(text: str, mark: str) -> str | None:
    head, _, _ = text.partition(mark) if mark else ("", "", "")
    return head if mark in text else None


def after(text: str, mark: str) -> str | None:
    return text.split(mark, 1)[1] if mark and mark in text else (None if mark else text)


def trim(text: str) -> str:
    while text and text[0] <= " ":
        text = text[1:]
    while text and text[-1] <= " ":
        text = text[:-1]
    return text


def replace(text: str, old: str | None, new: str) -> str:
    if old:
        return new.join(text.split(old))
    return new + "".join(character + new for character in text)


def url_encode(text: str) -> str:
    plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-*_"
    result = ""
    for character in text:
        if character in plain:
            result += character
        elif character == " ":
            result += "+"
        else:
            result += "".join(f"%{byte:02X}" for byte in utf8(character))
    return result


def url_decode(text: str) -> str:
    result, at = bytearray(), 0
    while at < len(text):
        if text[at] == "%":
            digits = text[at + 1 : at + 3]
            if len(digits) < 2 or not all(c in "0123456789abcdefABCDEF" for c in digits):
                raise SignalError(NOT_RESOLVABLE, "")
            result.append(int(digits, 16))
            at += 3
            continue
        result += b" " if text[at] == "+" else text[at].encode(errors="surrogatepass")
        at += 1
    return decode_runs(result)


def decode_runs(data: bytearray) -> str:
    """UTF-8, what is broken replaced; a lone surrogate that was in the text stays."""
    text = ""
    for piece in re.split(b"(\xed[\xa0-\xbf][\x80-\xbf])", bytes(data)):
        is_surrogate = re.fullmatch(b"\xed[\xa0-\xbf][\x80-\xbf]", piece)
        text += piece.decode(errors="surrogatepass" if is_surrogate else "replace")
    return text


def base64_encode(text: str) -> str:
    return base64.b64encode(b"".join(map(utf8, text))).decode()


def base64_decode(text: str) -> str:
    if re.fullmatch("(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?", text):
        return base64.b64decode(text + "=" * (-len(text) % 4)).decode(errors="replace")
    raise SignalError(NOT_RESOLVABLE, "")


def utf8(character: str) -> bytes:
    return b"?" if "\ud800" <= character <= "\udfff" else character.encode()


TEXTS: dict[str, Any] = {
    "lower": str.lower,
    "upper": str.upper,
    "trim": trim,
    "substring-before": before,
    "substring-after": after,
    "replace": replace,
    "url-encode": url_encode,
    "url-decode": url_decode,
    "base64-encode": base64_encode,
    "base64-decode": base64_decode,
}


def json_object(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
