"""Ditto's known headers: who may set them, who gets to see them, what they must look like.

Unknown headers pass in both directions (spec: Ditto 8.1).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

from streamproc.errors import ExpressionError, SignalError
from streamproc.lang import selector
from streamproc.protocol.errors import shown

READ_AND_WRITE: Final = frozenset(
    {
        *("correlation-id", "response-required", "dry-run", "content-type", "reply-to"),
        *("channel", "requested-acks", "timeout", "location", "traceparent", "tracestate"),
        *("diverted-response-from-connection", "status", "timestamp"),
    }
)
# Accepted from outside, never sent out: they steer a command.
READ_ONLY: Final = frozenset(
    {
        *("accept", "authorization", "live-channel-timeout-strategy", "if-match"),
        *("if-none-match", "if-equal", "divert-response-to-connection", "declared-acks"),
        *("divert-expected-response-types", "put-metadata", "get-metadata"),
        *("delete-metadata", "allow-policy-lockout", "condition", "live-channel-condition"),
        *("at-historical-revision", "at-historical-timestamp"),
        *("merge-thing-patch-conditions", "policy-view"),
    }
)
# Sent out, never accepted: they are our word.
WRITE_ONLY: Final = frozenset(
    {
        *("etag", "ditto-originator", "www-authenticate", "ditto-connection-id"),
        *("ditto-metadata", "ditto-weak-ack", "live-channel-condition-matched"),
        *("historical-headers", "entity-revision"),
    }
)
INTERNAL: Final = frozenset(
    {
        *("ditto-auth-context", "ditto-dry-run", "ditto-read-subjects", "ditto-origin"),
        *("ditto-read-revoked-subjects", "ditto-reply-target", "ditto-entity-id"),
        *("ditto-expected-response-types", "ditto-inbound-payload-mapper", "ditto-sudo"),
        *("ditto-event-journal-tags", "ditto-retrieve-deleted", "ditto-ackgregator-address"),
        *("ditto-pre-defined-extra-fields", "ditto-pre-defined-extra-fields-read-grant"),
        *("ditto-pre-defined-extra-fields-object", "ditto-partial-access-paths"),
        "ditto-policy-view-fields-selector",
    }
)
# They concern one hop of a transport and mean nothing beyond it.
HOP: Final = frozenset(
    {
        *("raw-request-uri", "cache-control", "connection", "timeout-access"),
        *("accept-encoding", "x-forwarded-scheme"),
    }
)
REFUSED: Final = WRITE_ONLY | INTERNAL | HOP
"""Discarded when they come from outside."""
WITHHELD: Final = READ_ONLY | INTERNAL | HOP
"""Left out of what goes outside."""

BOOLEANS: Final = frozenset(
    {
        *("response-required", "dry-run", "allow-policy-lockout", "ditto-weak-ack"),
        "live-channel-condition-matched",
    }
)
JSON: Final = frozenset({"requested-acks", "ditto-metadata", "historical-headers"})
"""Arrays and objects: JSON text in a signal, JSON values in an envelope."""
NUMBERS: Final = frozenset({"entity-revision"})
DITTO_LABELS: Final = frozenset({"twin-persisted", "live-response", "search-persisted"})
"""Acknowledgements that are given inside; nobody outside is asked for them."""

_LABEL = re.compile(r"[a-zA-Z0-9_:-]{3,165}\Z", re.ASCII)
_DURATION = re.compile(r"(?:\+?\d{1,15}|-0{1,15})(?:ms|s|m|h|d|w|mo|y)?\Z", re.ASCII)
_TAG = r'(?:\*|(?:W/)?"[^"*,]*")'
_TAGS = re.compile(rf"{_TAG}(?:\s*,\s*{_TAG})*(?:\s*,\s*)*+\Z", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,19}\Z", re.ASCII)


def normal(name: str, value: str) -> str:
    """*value* as a signal carries it; raises SignalError when it may not have it."""
    check = CHECKED.get(name)
    return value if check is None else check(name, value)


def _boolean(name: str, value: str) -> str:
    if value not in ("true", "false"):
        raise _invalid(name, value, "'true' or 'false'")
    return value


def _non_empty(name: str, value: str) -> str:
    if not value:
        raise _invalid(name, value, "a value that is not empty")
    return value


def _timeout(name: str, value: str) -> str:
    if not _DURATION.match(value):
        reason = "expected a number followed by ms, s, m, h, d, w, mo, y or nothing (seconds)"
        raise SignalError(
            "timeout.invalid", f"the timeout {shown(value)} is invalid", description=reason
        )
    return value


def _one_of(*allowed: str) -> Callable[[str, str], str]:
    """A word in any case, with blanks around it; it is passed on as it came."""

    def check(name: str, value: str) -> str:
        if value.strip().lower() not in allowed:
            raise _invalid(name, value, "one of " + ", ".join(allowed))
        return value

    return check


def _labels(name: str, value: str) -> str:
    labels = _strings(name, value)
    if not all(map(_LABEL.match, labels)):
        reason = "labels of 3 to 165 letters, digits, '-', '_' and ':'"
        raise _invalid(name, value, f"a JSON array or comma list of {reason}")
    return _compact(labels)


def _string_array(name: str, value: str) -> str:
    return _compact(_strings(name, value))


def _metadata(name: str, value: str) -> str:
    """What to write beside the value: objects of a key and a value; others say nothing."""
    entries = [entry for entry in _array(value) if isinstance(entry, dict)]
    for entry in entries:
        if not isinstance(entry.get("key"), str) or "value" not in entry:
            raise _invalid(name, value, 'a JSON array of {"key": ..., "value": ...}')
    return _compact(entries)


def _selector(name: str, value: str) -> str:
    try:
        selector.parse(value)
    except ExpressionError as error:
        raise _invalid(name, value, f"a field selector ({error})") from None
    return value


def _strings(name: str, value: str) -> list[str]:
    array = _array(value)
    if not all(isinstance(item, str) for item in array):
        raise _invalid(name, value, "a JSON array of strings, or a comma list")
    return array


def _array(value: str) -> list[Any]:
    """A JSON array; what is none counts as texts between commas, as in Ditto."""
    try:
        array = json.loads(value)
    except (ValueError, RecursionError):
        array = None
    if isinstance(array, list):
        return array
    return [part.strip() for part in value.split(",") if part]


def _compact(array: list[Any]) -> str:
    return json.dumps(array, separators=(",", ":"), ensure_ascii=False)


def _matching(pattern: re.Pattern[str], expected: str) -> Callable[[str, str], str]:
    def check(name: str, value: str) -> str:
        if not pattern.match(value):
            raise _invalid(name, value, expected)
        return value

    return check


def _invalid(name: str, value: str, expected: str) -> SignalError:
    return SignalError(
        "header.invalid",
        f"the header {name!r} is {shown(value)}, expected {expected}",
        description=f"set {name!r} to {expected}, or leave it out",
    )


_tags = _matching(_TAGS, 'entity tags such as "rev:1", or *')
CHECKED: Final[dict[str, Callable[[str, str], str]]] = {
    "response-required": _boolean,
    "dry-run": _boolean,
    "allow-policy-lockout": _boolean,
    "correlation-id": _non_empty,
    "timeout": _timeout,
    "requested-acks": _labels,
    "declared-acks": _string_array,
    "put-metadata": _metadata,
    "get-metadata": _selector,
    "delete-metadata": _selector,
    "channel": _one_of("twin", "live"),
    "live-channel-timeout-strategy": _one_of("fail", "use-twin"),
    "if-equal": _one_of("update", "skip", "skip-minimizing-merge"),
    "if-match": _tags,
    "if-none-match": _tags,
    "at-historical-revision": _matching(_NUMBER, "a whole number"),
}
"""Headers whose value is looked at, and how."""
