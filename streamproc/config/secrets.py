"""What of a connection may be shown to people: everything but its secrets.

A list of what is known to be harmless, so that an option of tomorrow is hidden until someone
decides otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from streamproc.config.connection import Connection
from streamproc.config.problem import Path
from streamproc.config.uri import MASK, masked

_HARMLESS = frozenset(
    {
        *("type", "username", "algorithm", "tokenEndpoint", "clientId", "requestedScopes"),
        *("audience", "cert", "publicKey"),
        # parameters of hmac
        *("region", "service", "workspaceId", "sharedKeyName", "endpoint", "ttl", "accessKey"),
        *("doubleEncode", "canonicalHeaders", "xAmzContentSha256"),
    }
)
_TELLING = re.compile(
    r"passw|secret|token|credential|cookie|api-?key|authori[sz]ation\b|sig\b", re.I
)
_QUERY = re.compile(
    r"([?&][^=&\s]*(?:passw|secret|token|key|sig|auth)[^=&\s]*=)(?!\{\{)[^&\s]+", re.I
)
_NONE: Mapping[Path, str] = MappingProxyType({})


def redact(connection: Connection, written: Mapping[Path, str] = _NONE) -> dict[str, Any]:
    """The connection as JSON without secrets.

    *written*: by path, what stands in the file where a value came from elsewhere; shown in
    place of the value.
    """
    shown: dict[str, Any] = msgspec.to_builtins(connection)
    shown["uri"] = masked(connection.uri)
    shown["credentials"] = _credentials(connection.credentials)
    if (tunnel := shown.get("sshTunnel")) is not None:
        tunnel["uri"] = masked(tunnel["uri"])
        tunnel["credentials"] = _credentials(tunnel["credentials"])
    shown["specificConfig"] = _named(connection.specific_config)
    for source in shown["sources"]:
        source["headerMapping"] = _named(source["headerMapping"])
        if (reply := source["replyTarget"]) is not None:
            reply["headerMapping"] = _named(reply["headerMapping"])
            reply["address"] = reply["address"] and _address(reply["address"])
    for target in shown["targets"]:
        target["headerMapping"] = _named(target["headerMapping"])
        target["address"] = _address(target["address"])
    for definition in shown["mappingDefinitions"].values():
        definition["options"] = _named(definition["options"])
    for path, text in written.items():
        if path:
            _put(shown, path, text)
    return shown


def _credentials(value: Any) -> Any:
    """Everything masked that is not known to be harmless."""
    if not isinstance(value, dict):
        return None if value is None else MASK
    return {
        key: child if key in _HARMLESS else _credentials(child) if isinstance(child, dict) else MASK
        for key, child in value.items()
    }


def _named(value: Any) -> Any:
    """Values masked whose name tells that they are secret; a template gives nothing away."""
    if isinstance(value, dict):
        return {
            key: MASK
            if _TELLING.search(key) and not (isinstance(child, str) and child.startswith("{{"))
            else _named(child)
            for key, child in value.items()
        }
    return [_named(child) for child in value] if isinstance(value, list) else value


def _address(text: str) -> str:
    return _QUERY.sub(lambda match: match[1] + MASK, text)


def _put(shown: Any, path: Path, text: str) -> None:
    """Set the value at *path*, where there is one."""
    *way, last = path
    try:
        for step in way:
            shown = shown[step]
        shown[last]  # KeyError or IndexError where there is none
        shown[last] = masked(text) if last == "uri" else text
    except (KeyError, IndexError, TypeError):
        return
