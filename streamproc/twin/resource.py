"""Which paths of a thing there are, and what a value at each must look like."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from lru import LRU

from streamproc.errors import SignalError
from streamproc.kernels.signal import ABSENT
from streamproc.protocol.errors import missing, shown, wrong_type

CACHED_PATHS: Final = 4096
CACHED_LENGTH: Final = 512  # characters; longer paths are looked at each time
MAX_ID_LENGTH: Final = 256

_NAMESPACE = re.compile(r"(?:[a-zA-Z]\w*(?:[.-][a-zA-Z]\w*)*)?\Z", re.ASCII)
_NAME = re.compile(r"[^\x00-\x1f\x7f-\xff/]+\Z")


class Resource(NamedTuple):
    """A kind of path."""

    name: str
    types: tuple[type, ...]  # of its value; empty: any
    expected: str
    deletable: bool = True
    nullable: bool = True  # null says "no such part"


_NULL = type(None)
THING: Final = Resource("thing", (dict,), "an object", nullable=False)
_POLICY_ID: Final = Resource("policyId", (str,), "a string", deletable=False, nullable=False)
_DEFINITION: Final = Resource("definition", (str,), "a string")
_OBJECT: Final = Resource("object", (dict,), "an object")
_IDENTIFIERS: Final = Resource("feature definition", (list,), "an array of strings")
_ANY: Final = Resource("any", (), "any value")

# First segments -> what is there; "*" is any one segment, "**" one or more.
_RESOURCES: Final[dict[tuple[str, ...], Resource]] = {
    (): THING,
    ("policyId",): _POLICY_ID,
    ("definition",): _DEFINITION,
    ("attributes",): _OBJECT,
    ("attributes", "**"): _ANY,
    ("features",): _OBJECT,
    ("features", "*"): _OBJECT,
    ("features", "*", "definition"): _IDENTIFIERS,
    ("features", "*", "properties"): _OBJECT,
    ("features", "*", "properties", "**"): _ANY,
    ("features", "*", "desiredProperties"): _OBJECT,
    ("features", "*", "desiredProperties", "**"): _ANY,
}
_PARTS: Final = frozenset(path[0] for path in _RESOURCES if len(path) == 1)
_known: LRU[str, Resource] = LRU(CACHED_PATHS)
known = _known.get
"""What is at a path that was looked at before, or None: saves kernels a Python call."""

_MESSAGE = re.compile(r"(?:/features/[^/]+)?/(?:inbox|outbox)/messages/.")


def resource(path: str) -> Resource:
    """What is at *path* of a thing; raises ``protocoladapter:unknown.path``."""
    found = _known.get(path)
    if found is None:
        found = _find(path)
        if len(path) <= CACHED_LENGTH:
            _known[path] = found
    return found


def check_value(at: Resource, value: Any, *, patch: bool = False) -> None:
    """Raise SignalError where *value* cannot be what is at that resource.

    In a *patch* null removes what is there.
    """
    if value is ABSENT:
        raise missing("value")
    _check(at, "value", value, patch)
    if at is THING:
        for name in _PARTS.intersection(value):
            _check(_RESOURCES[name,], f"value/{name}", value[name], patch)


def _check(at: Resource, field: str, value: Any, patch: bool) -> None:
    if not at.types or isinstance(value, at.types):
        return
    if value is not None or at is THING or not (at.nullable or patch):
        raise wrong_type(field, value, at.expected)


def check_message_path(path: str) -> None:
    """Raise SignalError where *path* is not that of a live message."""
    if not _MESSAGE.match(path):
        raise _unknown(
            path, "a message has /inbox/messages/<subject> or /outbox/messages/<subject>"
        )


def check_thing_id(namespace: str, name: str) -> None:
    """Raise ``things:id.invalid`` where they do not make the id of a thing."""
    if (
        name == "_"
        or not _NAMESPACE.match(namespace)
        or not _NAME.match(name)
        or len(namespace) + 1 + len(name) > MAX_ID_LENGTH
    ):
        raise SignalError(
            "things:id.invalid",
            f"the thing id {shown(f'{namespace}:{name}')} is invalid",
            description="a namespace is made of words that start with a letter, joined by "
            "'.' or '-'; a name has no slash and no control character; "
            f"both together have at most {MAX_ID_LENGTH} characters",
        )


def _find(path: str) -> Resource:
    segments = path.split("/")[1:] if path != "/" else []
    shape = list(segments[:4])
    if segments[:1] == ["features"] and len(segments) > 1:
        shape[1] = "*"
    deep = {"attributes": 1, "features": 3}.get(segments[0], 0) if segments else 0
    if deep and len(segments) > deep:
        shape[deep:] = ["**"]
    found = _RESOURCES.get(tuple(shape)) if "" not in segments else None
    if found is None:
        raise _unknown(path, "a thing has /policyId, /definition, /attributes and /features")
    return found


def _unknown(path: str, reason: str) -> SignalError:
    return SignalError(
        "protocoladapter:unknown.path",
        f"the path {shown(path)} is unknown",
        description=reason,
    )
