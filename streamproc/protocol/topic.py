"""Topic paths of the Ditto protocol: which entity a signal is about, and what it wants.

``parse`` is called for every message, and some thousand topics make up most traffic, so
parsed topics are shared through a cache of bounded size.
"""

from __future__ import annotations

from typing import Final

from lru import LRU

from streamproc.errors import SignalError
from streamproc.kernels.signal import Topic
from streamproc.protocol.errors import shown

CACHED_TOPICS: Final = 16_384
CACHED_LENGTH: Final = 512  # characters; longer topics are parsed each time they come

GROUPS: Final = ("things", "policies", "connections")
CHANNELS: Final = ("twin", "live")
NO_CHANNEL: Final = "none"
_COMMANDS: Final = (
    *("create", "retrieve", "modify", "merge", "delete", "migrate", "checkPermissions"),
    *("created", "modified", "merged", "deleted", "migrated"),
)
_ANSWERS: Final = ("created", "next", "complete", "failed", "error")
# Criterion -> the actions one of which must follow; None: a subject or label may follow.
CRITERIA: Final[dict[str, tuple[str, ...] | None]] = {
    "commands": _COMMANDS,
    "events": _COMMANDS,  # Ditto has one list for both
    "search": ("subscribe", "cancel", "request", *_ANSWERS),
    "streaming": ("subscribeForPersistedEvents", "cancel", "request", *_ANSWERS),
    "messages": None,
    "acks": None,
    "announcements": None,
    "errors": (),
}

_cache: LRU[str, Topic] = LRU(CACHED_TOPICS)

cached = _cache.get
"""The topic of a text parsed before, or None: saves kernels a Python call."""


def parse(text: str) -> Topic:
    """The topic that *text* spells; raises SignalError ``protocoladapter:unknown.topicpath``.

    Its ``full`` is the canonical spelling: segments that Ditto ignores are left out.
    """
    topic = cached(text)
    if topic is None:
        topic = _parse(text)
        if len(text) <= CACHED_LENGTH:
            _cache[text] = topic
    return topic


def _parse(text: str) -> Topic:
    segments = _split(text)
    if len(segments) < 3:
        names = ("a namespace", "an entity name", "a group")
        raise _unknown(text, f"it ends where {names[len(segments)]} was expected")
    namespace, name, group = segments[:3]
    if group not in GROUPS:
        raise _unknown(text, _wrong("group", group, GROUPS))
    channel, at = NO_CHANNEL, 3
    if group == "things":
        if len(segments) < 4:
            raise _unknown(text, _wrong("channel", None, CHANNELS))
        channel, at = segments[3], 4
        if channel not in CHANNELS:
            raise _unknown(text, _wrong("channel", channel, CHANNELS))
    criterion = segments[at] if len(segments) > at else None
    if criterion is None or criterion not in CRITERIA:
        raise _unknown(text, _wrong("criterion", criterion, tuple(CRITERIA)))
    rest = segments[at + 1 :]
    actions = CRITERIA[criterion]
    action = subject = None
    if actions is None:
        subject = "/".join(rest) or None
    elif actions:
        action = rest[0] if rest else None
        if action not in actions:
            raise _unknown(text, _wrong("action", action, actions))
    tail = action if subject is None else subject
    parts = [namespace, name, group, *segments[3:at], criterion, *([tail] if tail else [])]
    return Topic("/".join(parts), namespace, name, group, channel, criterion, action, subject)


def _split(text: str) -> list[str]:
    """Segments as Ditto cuts them: an empty one ends the cutting, the rest is one segment.

    A subject may thus hold slashes of any number; one trailing slash means nothing.
    """
    parts = text.split("/")
    if "" not in parts:
        return parts
    lead = parts[:1] if parts[0] else [""]  # an empty namespace is allowed
    at = 1
    while at < len(parts) and parts[at]:
        at += 1
    rest = "/".join(parts[at:])
    if at == len(parts):
        return lead + parts[1:]
    return lead + parts[1:at] + (["/".join(parts[at:])] if rest else [])


def _unknown(text: str, reason: str) -> SignalError:
    return SignalError(
        "protocoladapter:unknown.topicpath",
        f"the topic path {shown(text)} is unknown: {reason}",
        description=reason,
    )


def _wrong(what: str, found: str | None, allowed: tuple[str, ...]) -> str:
    if found is None:
        a = "an" if what == "action" else "a"
        return f"it ends where {a} {what} was expected, one of {', '.join(allowed)}"
    return f"the {what} is {shown(found)}, expected one of {', '.join(allowed)}"
