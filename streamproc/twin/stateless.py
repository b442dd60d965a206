"""The twin that keeps nothing: a command becomes the event it would have caused.

Without a stored thing it cannot know what was there before. So ``modify`` always becomes
``modified``, an event has no revision, and what asks about the stored thing is refused.
"""

from __future__ import annotations

from typing import Any, Final

from streamproc.errors import SignalError
from streamproc.kernels import events
from streamproc.kernels.signal import ABSENT, Signal, Topic
from streamproc.protocol import topic as topics
from streamproc.protocol.errors import shown
from streamproc.protocol.headers import READ_ONLY
from streamproc.twin.resource import (
    THING,
    check_message_path,
    check_thing_id,
    check_value,
    known,
    resource,
)

EVENT_OF: Final = {
    "create": "created",
    "modify": "modified",
    "merge": "merged",
    "delete": "deleted",
}
# Members of a thing that a message may set. Others, such as _policy, _revision or _metadata,
# are the twin's word, and Ditto leaves them out of events as well.
_THING_MEMBERS: Final = frozenset({"thingId", "policyId", "definition", "attributes", "features"})
# Preconditions: headers that make a command depend on what is stored.
_CONDITIONS: Final = frozenset(
    {"condition", "if-match", "if-none-match", "merge-thing-patch-conditions"}
)
_COMMAND_ONLY: Final = READ_ONLY | {"dry-run"}


def to_events(signals: list[Signal], now: str) -> list[Signal | SignalError | None]:
    """What becomes of each signal: an event or live signal, an error, or nothing (a dry run).

    *now* is the time of the events. Everyday commands become their events themselves: use
    what comes back, and no longer *signals*.
    """
    return events.to_events(signals, now, outcome, known, _COMMAND_ONLY)


def outcome(signal: Signal, now: str) -> Signal | None:
    """The rule: an event or live signal, or None for a dry run; raises SignalError.

    The kernel asks it about all but the everyday commands.
    """
    topic = signal.topic
    assert topic is not None, "a message always has a topic"
    event = topic.event
    if event is None:
        if topic.channel == "live":
            return _live(signal, topic)
        event = topic.event = _event_topic(topic)
    headers = _event_headers(signal)
    value = _event_value(signal, event)
    if signal.headers.get("dry-run") == "true":
        return None
    result = Signal(event, signal.path, headers, value, timestamp=now)
    result.subjects = signal.subjects
    return result


def _event_topic(topic: Topic) -> Topic:
    if topic.group != "things":
        raise _not_answered(topic, "it keeps no policies and no connections")
    if topic.criterion != "commands":
        raise SignalError(
            "protocoladapter:unknown.signal",
            f"the twin takes commands, and cannot do anything with {shown(topic.full)}",
            description="send .../things/twin/commands/..., or use the live channel",
        )
    if topic.action not in EVENT_OF:
        raise _not_answered(topic, "it keeps no things")
    check_thing_id(topic.namespace, topic.name)
    return topics.parse(
        f"{topic.namespace}/{topic.name}/things/twin/events/{EVENT_OF[topic.action]}"
    )


def _event_headers(signal: Signal) -> dict[str, str]:
    found = signal.headers
    if signal.status is not None:
        raise SignalError(
            "protocoladapter:unknown.response",
            "a response came to the twin, which has asked nothing",
            description="a command has no 'status'",
        )
    if _COMMAND_ONLY.isdisjoint(found):
        headers = found.copy()
    else:
        for name in _CONDITIONS.intersection(found):
            raise SignalError(
                "protocoladapter:unknown.command",
                f"the header {name!r} asks about the stored thing, and this twin is stateless",
                description=f"send the command without {name!r}; it is then always carried out",
            )
        headers = {name: text for name, text in found.items() if name not in _COMMAND_ONLY}
    headers["response-required"] = "false"
    if signal.subjects:
        headers["ditto-originator"] = signal.subjects[0]
    return headers


def _event_value(signal: Signal, event: Topic) -> Any:
    at = resource(signal.path)
    if event.action == "deleted":
        if not at.deletable:
            raise _wrong_path(signal.path, "it cannot be deleted")
        return ABSENT
    if event.action == "created" and at is not THING:
        raise _wrong_path(signal.path, "a thing is created at /")
    check_value(at, signal.value, patch=event.action == "merged")
    return signal.value if at is not THING else _thing(signal.value, event)


def _thing(value: dict[str, Any], event: Topic) -> dict[str, Any]:
    """*value* as a thing, or a patch of one, that says whose it is."""
    thing_id = value.get("thingId")
    if thing_id is not None and thing_id != event.entity_id:
        raise SignalError(
            "things:id.notsettable",
            f"the message is about {event.entity_id!r}, but its value has another thingId",
            description="leave 'thingId' out, or let it be the one of the topic",
        )
    if event.action != "merged" and thing_id is None:
        value = {"thingId": event.entity_id} | value
    if value.keys() <= _THING_MEMBERS:
        return value
    return {name: part for name, part in value.items() if name in _THING_MEMBERS}


def _live(signal: Signal, topic: Topic) -> Signal:
    """A live signal, unchanged but for what only an enriched one may have."""
    if topic.criterion not in ("commands", "events", "messages") or signal.status is not None:
        raise SignalError(
            "protocoladapter:unknown.signal",
            f"nobody waits for the response or acknowledgement {shown(topic.full)}",
            description="live commands, live events and messages are passed on",
        )
    check_thing_id(topic.namespace, topic.name)
    if topic.criterion != "messages":
        resource(signal.path)
    elif topic.subject is None:
        raise SignalError(
            "messages:subject.invalid",
            f"the topic path {shown(topic.full)} has no subject",
            description="a message has the topic .../things/live/messages/<subject>",
        )
    else:
        check_message_path(signal.path)
    if signal.extra is None:
        return signal
    result = Signal(
        topic,
        signal.path,
        signal.headers,
        signal.value,
        revision=signal.revision,
        timestamp=signal.timestamp,
        fields=signal.fields,
        metadata=signal.metadata,
    )
    result.subjects = signal.subjects
    return result


def _not_answered(topic: Topic, reason: str) -> SignalError:
    return SignalError(
        "protocoladapter:unknown.command",
        f"the twin is stateless and cannot answer {shown(topic.full)}: {reason}",
        description="create, modify, merge and delete of things become their events",
    )


def _wrong_path(path: str, reason: str) -> SignalError:
    return SignalError(
        "protocoladapter:unknown.path",
        f"the path {shown(path)} does not suit the command: {reason}",
        description=reason,
    )
