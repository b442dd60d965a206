"""Target topics: what a target subscribes to, of which namespaces, filtered and enriched.

_/_/things/twin/events?namespaces=a,b&filter=gt(attributes/x,4)&extraFields=attributes
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from streamproc.errors import ExpressionError
from streamproc.lang import rql, selector
from streamproc.lang.rql_plan import Plan
from streamproc.lang.selector import Selector

CODE: Final = "connectivity:topic.invalid"


class Kind(NamedTuple):
    """What a topic delivers, and which parameters mean something for it."""

    name: str
    group: str
    channel: str
    criterion: str
    namespaces: bool = True
    filter: bool = True  # and extraFields


TOPICS: Final[dict[str, Kind]] = {
    "_/_/things/twin/events": Kind("twin-events", "things", "twin", "events"),
    "_/_/things/live/events": Kind("live-events", "things", "live", "events"),
    "_/_/things/live/commands": Kind("live-commands", "things", "live", "commands"),
    "_/_/things/live/messages": Kind("live-messages", "things", "live", "messages"),
    "_/_/policies/announcements": Kind(
        "policy-announcements", "policies", "none", "announcements", filter=False
    ),
    "_/_/connections/announcements": Kind(
        *("connection-announcements", "connections", "none", "announcements"),
        namespaces=False,
        filter=False,
    ),
}
PARAMETERS: Final = ("namespaces", "filter", "extraFields")
_BAD_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class TargetTopic:
    """A parsed target topic. Parameters that its kind does not know are left out."""

    raw: str
    topic: str  # one of TOPICS
    kind: str
    group: str
    channel: str
    criterion: str
    namespaces: tuple[str, ...]  # empty: all
    filter: str | None
    plan: Plan | None  # of the filter
    extra_fields: Selector | None
    ignored: tuple[str, ...]  # parameters that have no effect: worth a warning


def parse(text: str, *, check_filter: bool = True) -> TargetTopic:
    """Parse a target topic; raises ExpressionError, by what is wrong with the code
    ``connectivity:topic.invalid``, ``rql.expression.invalid``, ``things:field.selection.invalid``,
    ``json.fieldselector.invalid`` or ``json.pointer.invalid``. Without *check_filter* the filter
    is not parsed.
    """
    topic, _, query = text.partition("?")
    kind = TOPICS.get(topic)
    if kind is None:
        close = get_close_matches(topic, TOPICS, 1, 0.8)
        hint = f"did you mean {close[0]}?" if close else f"possible are {', '.join(TOPICS)}"
        raise ExpressionError(CODE, f"unknown topic {topic!r}", position=0, hint=hint)
    parameters = _parameters(query, len(topic) + 1)
    ignored = [name for name in parameters if name not in PARAMETERS]
    namespaces = _split(parameters.get("namespaces", ""))
    fields = parameters.get("extraFields")
    extra_fields = selector.parse_extra_fields(fields) if fields else None
    wanted = parameters.get("filter")
    if not kind.namespaces:
        ignored += [name for name in ("namespaces",) if name in parameters]
        namespaces = ()
    if not kind.filter:
        ignored += [name for name in ("filter", "extraFields") if name in parameters]
        wanted = extra_fields = None
    plan = None if wanted is None or not check_filter else _plan(wanted, query)
    return TargetTopic(
        text, topic, *kind[:4], namespaces, wanted, plan, extra_fields, tuple(ignored)
    )


def _parameters(query: str, at: int) -> dict[str, str]:
    """The decoded parameters; what has no ``=`` is none. *at* is where the query begins."""
    parameters: dict[str, str] = {}
    for part in query.split("&"):
        name, equals, value = part.partition("=")
        if equals:
            name = _decoded(name, at)
            if name in parameters:
                raise ExpressionError(
                    CODE, f"the parameter {name} comes twice", position=at, hint="join the two"
                )
            parameters[name] = _decoded(value, at + part.index("=") + 1)
        at += len(part) + 1
    return parameters


def _decoded(text: str, at: int) -> str:
    """Form URL decoding, which makes ``+`` a blank."""
    bad = _BAD_PERCENT.search(text)
    if bad is not None:
        what = f"{text[bad.start() : bad.start() + 3]!r} is no percent code"
        hint = "write a percent sign as %25"
        raise ExpressionError(CODE, what, position=at + bad.start(), hint=hint)
    try:
        return unquote_to_bytes(text.replace("+", " ")).decode()
    except UnicodeError as error:
        raise ExpressionError(CODE, "the percent codes are not UTF-8", position=at) from error


def _split(namespaces: str) -> tuple[str, ...]:
    """Exact names; commas at the end are nothing."""
    return tuple(namespaces.rstrip(",").split(",")) if namespaces.rstrip(",") else ()


def _plan(text: str, query: str) -> Plan:
    try:
        return rql.parse(text)
    except ExpressionError as error:
        hint = error.hint
        if "+" in query and " " in text:
            hint = f"{hint}; a + means a blank here, write %2B".removeprefix("; ")
        message = f"the filter is not valid at {error.position}: {error}"
        raise ExpressionError(error.code, message, position=error.position, hint=hint) from error
