"""What signing takes and gives: a request as it will stand on the wire, and the headers to add."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from streamproc.errors import ConfigError

_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?")

Header = tuple[str, str]


class Signable(NamedTuple):
    """A request. *path* and *query* as on the request line, *host* without the port."""

    method: str
    host: str
    path: str
    query: str | None
    headers: Sequence[Header]  # those of the message
    content_type: str | None
    body: bytes
    message_id: str = ""  # the same each time that a delivery is written


Signer = Callable[[Signable, datetime], list[Header]]
"""A request and the time, in UTC, to the headers that signing adds."""


class ParameterInvalid(ConfigError):
    """A parameter of signing that is missing or cannot be used. Never repeats its value."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Parameters:
    """``credentials.parameters``, read with Ditto's error codes."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given

    def text(self, name: str, default: str | None = None) -> str:
        """A text; one without default is mandatory."""
        value = self._given.get(name)
        if value is None:
            if default is None:
                raise ParameterInvalid("json.field.missing", f"parameter {name!r} is missing")
            return default
        if not isinstance(value, str):
            raise _wrong(name, "a text")
        return value

    def truth(self, name: str, default: bool) -> bool:
        value = self._given.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise _wrong(name, "true or false")
        return value

    def texts(self, name: str, default: Sequence[str]) -> list[str]:
        value = self._given.get(name)
        if value is None:
            return list(default)
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise _wrong(name, "a list of texts")
        return list(value)

    def word(self, name: str, default: str, words: Sequence[str]) -> str:
        """One of *words*, which are upper case; however it is written."""
        value = self.text(name, default).upper()
        if value not in words:
            raise _wrong(name, f"one of {', '.join(words)}")
        return value

    def key(self, name: str) -> bytes:
        """A key in base64, padded or not, as Java reads it."""
        text = self.text(name)
        if not _BASE64.fullmatch(text):
            raise ParameterInvalid(
                "connectivity:message.sending.failed", f"parameter {name!r} is not base64"
            )
        try:
            return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))
        except binascii.Error:
            raise ParameterInvalid(
                "connectivity:message.sending.failed", f"parameter {name!r} is not base64"
            ) from None


def _wrong(name: str, expected: str) -> ParameterInvalid:
    return ParameterInvalid("json.invalid", f"parameter {name!r} is not {expected}")
