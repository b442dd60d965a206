"""The uri of a connection: ``scheme://[user:password@]host:port[/path]`` (spec: Ditto 1.3).

Port is mandatory, a query is forbidden. User and password are split at the first colon and
percent-decoded once; without a colon there is neither. Nothing here repeats a password.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from streamproc.config.problem import URI_INVALID
from streamproc.errors import ConfigError

MASK = "*****"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# RFC 3986 reg-name without percent-encoding, plus the underscore that container networks use.
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?\.?\Z")
_PORT = re.compile(r"[0-9]{1,5}\Z")
_SPELLED = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2}|[^\x00-\xa0])*\Z")
_USER_INFO = re.compile(r"\A((?:[^/@]*//)?)([^/@:]*)(:?)(.*)@", re.DOTALL)


class UriInvalid(ConfigError):
    """A uri that names no place to connect to."""

    code = URI_INVALID


@dataclass(frozen=True)
class ConnectionUri:
    """A uri taken apart. ``path`` begins with a slash, or is empty."""

    scheme: str
    host: str  # an IPv6 address without its brackets
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    path: str = ""

    @property
    def authority(self) -> str:
        """``host:port``, with the brackets that an IPv6 address needs."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def masked(self) -> str:
        """For people: the password replaced."""
        user = "" if self.user is None else f"{self.user}:{MASK}@"
        return f"{self.scheme}://{user}{self.authority}{self.path}"

    @classmethod
    def parse(cls, text: str) -> ConnectionUri:
        """Take *text* apart; raises UriInvalid, which does not repeat the text."""
        scheme = _SCHEME.match(text)
        if scheme is None:
            raise UriInvalid("expected scheme://host:port")
        rest = text[scheme.end() :]
        authority, slash, path = rest.partition("/")
        if "?" in rest or "#" in rest:
            raise UriInvalid("expected no query or fragment in a connection uri")
        if not _SPELLED.match(path):
            raise UriInvalid("expected a path without blanks, every % followed by two hex digits")
        user_info, at, place = authority.rpartition("@")
        user, password = _credentials(user_info) if at else (None, None)
        host, port = _place(place)
        return cls(scheme[1].lower(), host, port, user, password, slash + path)


def masked(text: str) -> str:
    """*text* without the password it may hold, whether or not it is a good uri."""
    return _USER_INFO.sub(lambda m: f"{m[1]}{m[2]}:{MASK}@" if m[3] else f"{m[1]}{MASK}@", text)


def _credentials(text: str) -> tuple[str | None, str | None]:
    if "@" in text or not _SPELLED.match(text) or "/" in text:
        raise UriInvalid("expected user and password percent-encoded where they hold @ : / ? # %")
    user, colon, password = text.partition(":")
    if not colon:
        return None, None
    try:
        return unquote_to_bytes(user).decode(), unquote_to_bytes(password).decode()
    except UnicodeDecodeError:
        raise UriInvalid(
            "expected UTF-8 behind the percent-encoding of user and password"
        ) from None


def _place(text: str) -> tuple[str, int]:
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        if not bracket or port[:1] not in ("", ":"):
            raise UriInvalid("expected an IPv6 address as [address]:port")
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise UriInvalid("expected an IPv6 address between the brackets") from None
        port = port[1:]
    else:
        host, _, port = text.rpartition(":") if ":" in text else (text, "", "")
        if not host:
            raise UriInvalid("expected a host")
        if ":" in host:
            raise UriInvalid("expected one colon, between host and port; IPv6 needs brackets")
        if not _HOST.match(host):
            raise UriInvalid("expected a host name of letters, digits, '-', '_' and '.'")
    if not port:
        raise UriInvalid("expected a port after the host")
    if not _PORT.match(port) or not 0 < int(port) < 65536:
        raise UriInvalid("expected a port from 1 to 65535")
    return host, int(port)
