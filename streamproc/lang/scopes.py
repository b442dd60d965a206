"""Which placeholders exist, and which of them a template may use where it stands.

``PLACEHOLDERS`` is the catalogue, ``Scope`` the table of places (spec: Ditto 4.3, 4.4). A
placeholder that a scope does not know is an error of the configuration; one that it knows
but a message does not carry is *unresolved*, which each place handles in its own way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

SOURCE_ADDRESS_HEADER: Final = "mqtt.topic"
"""The raw header that holds ``source:address``. An MQTT source sets it last, over whatever a
client put there: it is the topic that the broker let the client publish to."""


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A row of the catalogue. No names: every name is taken."""

    prefix: str
    names: tuple[str, ...]
    summary: str
    unresolved: str
    example: str
    several: bool = False


_ID_NAMES: Final = ("id", "namespace", "name")
PLACEHOLDERS: Final[dict[str, Placeholder]] = {
    row.prefix: row
    for row in (
        Placeholder(
            "header",
            (),
            "A header: of the received message on the way in, of the signal on the way out. "
            "Where names are compared without case, the exact spelling wins, then the "
            "lower-case one, then the only one that differs in case alone.",
            "there is no such header, or several that differ in case alone",
            "{{ header:device_id }}",
        ),
        Placeholder(
            "thing",
            _ID_NAMES,
            "The thing that the signal is about.",
            "the signal is about something else",
            "{{ thing:id }}",
        ),
        Placeholder(
            "policy",
            _ID_NAMES,
            "The policy that the signal is about.",
            "the signal is about something else",
            "{{ policy:name }}",
        ),
        Placeholder(
            "entity",
            _ID_NAMES,
            "The thing or policy that the signal is about.",
            "the signal is about neither",
            "{{ entity:namespace }}",
        ),
        Placeholder(
            "feature",
            ("id",),
            "The feature that the signal is about; all features of a signal about several.",
            "the signal is about no feature",
            "{{ feature:id }}",
            several=True,
        ),
        Placeholder(
            "topic",
            (
                *("full", "namespace", "entityName", "group", "channel", "criterion"),
                *("action", "subject", "action-subject"),
            ),
            "Parts of the signal's topic path. `action-subject` is the subject where there is "
            "one, else the action.",
            "the topic has no such part",
            "{{ topic:action-subject }}",
        ),
        Placeholder(
            "resource",
            ("type", "path"),
            "What the signal is about: `thing`, `message` or `policy`, and the path in it.",
            "there is no signal yet",
            "{{ resource:path }}",
        ),
        Placeholder(
            "time",
            (),
            "The time of evaluation, UTC: `now` or `now_epoch_millis`, then a shift such as "
            "`-1h`, then a unit to truncate to such as `[d]`. Units: ms s m h d w mo y.",
            "never",
            "{{ time:now-1h[m] }}",
        ),
        Placeholder(
            "request",
            ("subjectId",),
            "The authorization subjects of the signal.",
            "it has none",
            "{{ request:subjectId }}",
            several=True,
        ),
        Placeholder("connection", ("id",), "The connection's id.", "never", "{{ connection:id }}"),
        Placeholder(
            "source",
            ("address",),
            "The MQTT topic that the message was published to.",
            "the transport has no such address",
            "{{ source:address }}",
        ),
        Placeholder(
            "thing-json",
            (),
            "A value of the thing, as far as the event and its extra fields tell: a path such "
            "as `attributes/serial`. An array gives several values, an object its JSON.",
            "the path is absent, or the array empty",
            "{{ thing-json:attributes/serial }}",
            several=True,
        ),
    )
}

# Names that would be mistaken for those of ``thing:``.
THING_JSON_REFUSED: Final = frozenset(_ID_NAMES)


@dataclass(frozen=True, slots=True)
class Scope:
    """A place where templates stand, and what they may use there."""

    title: str
    prefixes: frozenset[str]
    any_case: bool  # header names are compared without case
    header_names: frozenset[str] | None = None  # the only ones allowed
    never: frozenset[str] = frozenset()  # prefixes that are known and never resolve

    AUTHORIZATION_CONTEXT: ClassVar[Scope]
    ADDRESS_OF_SOURCE: ClassVar[Scope]
    ENFORCEMENT_INPUT: ClassVar[Scope]
    ENFORCEMENT_INPUT_MQTT: ClassVar[Scope]
    ENFORCEMENT_INPUT_MQTT5: ClassVar[Scope]
    ENFORCEMENT_FILTER: ClassVar[Scope]
    ENFORCEMENT_FILTER_MQTT: ClassVar[Scope]
    SIGNAL: ClassVar[Scope]
    EXTRA_FIELDS: ClassVar[Scope]
    RQL_PROPERTY: ClassVar[Scope]
    MQTT_SOURCE_HEADERS: ClassVar[Scope]
    MQTT_TARGET_HEADERS: ClassVar[Scope]
    MAPPER: ClassVar[Scope]
    CONNECTION_STATUS: ClassVar[Scope]
    ACK_LABEL: ClassVar[Scope]
    GROUP_ID: ClassVar[Scope]
    TENANT: ClassVar[Scope]

    def names(self, prefix: str) -> tuple[str, ...]:
        """What may follow ``prefix:`` here; nothing where it may be anything."""
        if prefix == "header" and self.header_names is not None:
            return tuple(sorted(self.header_names))
        return PLACEHOLDERS[prefix].names


_SIGNAL = frozenset(PLACEHOLDERS) - {"policy", "source"}
_CONNECTION = frozenset({"connection"})
_MQTT_NAMES = frozenset({SOURCE_ADDRESS_HEADER, "mqtt.qos", "mqtt.retain"})

Scope.AUTHORIZATION_CONTEXT = Scope(
    "authorizationContext of a source", frozenset({"header"}), any_case=False
)
Scope.ADDRESS_OF_SOURCE = Scope("address of a source", frozenset(), any_case=False)
# Ditto 4.3 says that names are exact here, its own tests that they are not: they are not.
Scope.ENFORCEMENT_INPUT = Scope("enforcement input", frozenset({"header"}), any_case=True)
Scope.ENFORCEMENT_INPUT_MQTT = Scope(
    "enforcement input of MQTT 3.1.1", frozenset({"source"}), any_case=True
)
Scope.ENFORCEMENT_INPUT_MQTT5 = Scope(
    "enforcement input of MQTT 5", frozenset({"header", "source"}), any_case=True
)
Scope.ENFORCEMENT_FILTER = Scope(
    "enforcement filter",
    frozenset({"entity", "thing", "policy", "feature"}),
    any_case=False,
    never=frozenset({"feature"}),
)
Scope.ENFORCEMENT_FILTER_MQTT = Scope(
    "enforcement filter of MQTT", frozenset({"entity", "thing", "policy"}), any_case=False
)
Scope.SIGNAL = Scope(
    "header mapping, target and reply address, condition, filter of requested acknowledgements",
    _SIGNAL,
    any_case=True,
)
Scope.EXTRA_FIELDS = Scope("extraFields of a target", _SIGNAL, any_case=True)
Scope.RQL_PROPERTY = Scope(
    "property in an RQL filter",
    frozenset({"entity", "thing", "feature", "topic", "resource", "time"}),
    any_case=False,
)
Scope.MQTT_SOURCE_HEADERS = Scope(
    "header mapping of an MQTT 3.1.1 source",
    frozenset({"header"}),
    any_case=True,
    header_names=_MQTT_NAMES,
)
Scope.MQTT_TARGET_HEADERS = Scope(
    "header mapping of an MQTT 3.1.1 target", frozenset({"header"}), any_case=True
)
Scope.MAPPER = Scope(
    "option of a payload mapper", frozenset({"header", "time", "request"}), any_case=False
)
Scope.CONNECTION_STATUS = Scope(
    "option of the ConnectionStatus mapper", frozenset({"header"}), any_case=False
)
Scope.ACK_LABEL = Scope("acknowledgement label", _CONNECTION, any_case=False)
Scope.GROUP_ID = Scope("Kafka groupId", _CONNECTION, any_case=False)
Scope.TENANT = Scope("Hono tenant", _CONNECTION, any_case=False)
