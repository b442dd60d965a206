"""Ditto's known headers: who may set them, who gets to see them, what they must look like.

Unknown headers pass in both directions (spec: Ditto 8.1).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final

from streamproc.errors import SignalError
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
_DURATION = re.compile(r"\d{1,12}(?:ms|s|m|h|d|w|mo|y)?\Z", re.ASCII)
_TAG = r'(?:W/)?"[^"]*"'
_TAGS = re.compile(rf"(?:\*|{_TAG}(?: ?, ?{_TAG})*)\Z")
_NUMBER = re.compile(r"-?\d{1,19}\Z", re.ASCII)


def normal(name: str, value: str) -> str:
    """*value* as a signal carries it; raises SignalError when it may not have it."""
    check = CHECKED.get(name)
    return value if check is None else check(name, value)


def _boolean(name: str, value: str) -> str:
    if value not in ("true", "false"):
        raise _invalid(name, value, "'true' or 'false'")
    return value


def _non_empty(name: str, value: str) -> str:
    if not value.strip():
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
    def check(name: str, value: str) -> str:
        found = value.strip().lower()
        if found not in allowed:
            raise _invalid(name, value, "one of " + ", ".join(allowed))
        return found

    return check


def _labels(name: str, value: str) -> str:
    """A JSON array of labels; Ditto also takes them separated by commas."""
    array = value.lstrip().startswith("[")
    labels = _strings(name, value) if array else [x.strip() for x in value.split(",") if x.strip()]
    for label in labels:
        if not _LABEL.match(label):
            raise SignalError(
                "acknowledgement:label.invalid",
                f"{name} has the label {shown(label)}",
                description="a label has 3 to 165 letters, digits, '-', '_' and ':'",
            )
    return json.dumps(labels, separators=(",", ":"))


def _strings(name: str, value: str) -> list[str]:
    try:
        array = json.loads(value)
    except (ValueError, RecursionError):
        array = None
    if not isinstance(array, list) or not all(isinstance(item, str) for item in array):
        raise _invalid(name, value, "a JSON array of strings")
    return array


def _string_array(name: str, value: str) -> str:
    _strings(name, value)
    return value


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
    "channel": _one_of("twin", "live"),
    "live-channel-timeout-strategy": _one_of("fail", "use-twin"),
    "if-equal": _one_of("update", "skip", "skip-minimizing-merge"),
    "if-match": _tags,
    "if-none-match": _tags,
    "at-historical-revision": _matching(_NUMBER, "a whole number"),
}
"""Headers whose value is looked at, and how."""
