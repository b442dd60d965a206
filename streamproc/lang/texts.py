"""Functions of one text that would gain nothing from being compiled.

Each takes what a message brought, and answers or raises a SignalError; none runs longer
than in proportion to what comes in and goes out.
"""

from __future__ import annotations

import binascii
import re
from typing import Any, Final
from urllib.parse import quote_plus, unquote_plus

import orjson

from streamproc.errors import SignalError
from streamproc.lang import limits

_NOT_RESOLVABLE: Final = "placeholder:placeholder.notresolvable"
_BASE64: Final = re.compile("(?:[A-Za-z0-9+/]{4})*+(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?")
_BROKEN_ESCAPE: Final = re.compile("%(?![0-9A-Fa-f]{2})")


def url_encode(text: str) -> str:
    """As an HTML form: letters, digits and ``.-*_`` stay, a blank is ``+``."""
    return quote_plus(text, safe="*", errors="replace").replace("~", "%7E")


def url_decode(text: str) -> str:
    """Raises SignalError for a ``%`` without two hexadecimal digits."""
    broken = _BROKEN_ESCAPE.search(text)
    if broken is not None:
        raise SignalError(
            _NOT_RESOLVABLE,
            f"fn:url-decode found {text[broken.start() : broken.start() + 3]!r}, "
            "expected % and two hexadecimal digits",
        )
    return unquote_plus(text, errors="replace")


def base64_encode(text: str) -> str:
    """The UTF-8 bytes in base64."""
    return binascii.b2a_base64(text.encode(errors="replace"), newline=False).decode("ascii")


def base64_decode(text: str) -> str:
    """Raises SignalError for what is no base64. Missing padding is added."""
    if _BASE64.fullmatch(text) is None:
        raise SignalError(_NOT_RESOLVABLE, f"fn:base64-decode found {text[:64]!r}, no base64")
    padding = "=" * (-len(text) % 4)  # what is left out
    return binascii.a2b_base64(text + padding).decode(errors="replace")


def replace(text: str, old: str, new: str) -> str:
    """Every *old* replaced; the length is known before it is made."""
    if len(new) > len(old):
        limits.check(1, len(text) + text.count(old) * (len(new) - len(old)))
    return text.replace(old, new)


def split(text: str, separator: str) -> list[str]:
    """Parts between separators without the empty ones at the end, of which there may be none.

    A text without the separator is its own only part.
    """
    if not separator:
        limits.check(len(text), len(text))
        return list(text) or [""]
    if separator not in text:
        return [text]
    limits.check(text.count(separator), len(text))
    parts = text.split(separator)
    while parts and not parts[-1]:
        parts.pop()
    return parts


def json_text(value: Any) -> str:
    """A JSON value as text: a string is itself, anything else its JSON."""
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value).decode()
    except TypeError as error:  # deeper than orjson writes, a number of more than 64 bits
        raise SignalError(
            _NOT_RESOLVABLE, f"a value of the message cannot be written: {error}"
        ) from None


def json_object(text: str) -> dict[str, Any] | None:
    """The JSON object that *text* is; None if it is something else."""
    try:
        found = orjson.loads(text)
    except ValueError:  # JSONDecodeError is one; so is what a lone surrogate gives
        return None
    return found if isinstance(found, dict) else None
