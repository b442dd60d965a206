"""Messages and templates that meet: few names, all of Unicode, every shape of signal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
from hypothesis import strategies as st

from streamproc.errors import SignalError
from streamproc.kernels.signal import ABSENT, Signal
from streamproc.lang.functions import FUNCTIONS
from streamproc.protocol.topic import parse as parse_topic

NOW = datetime(2024, 1, 6, 14, 23, 42, 123456, UTC)
HEADERS = ["id", "Id", "device_id", "x-y", "é"]

texts = st.text(max_size=8)  # every code point: lone surrogates, combining marks, NUL
plain = st.text(alphabet="aAbß .:,/|\n\u2028é𝄞", max_size=6)
scalars = st.none() | st.booleans() | st.integers(-5, 10**15) | plain
documents = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "c", "."]), inner, max_size=3)
    ),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from(["a", "b", "c"]), documents, max_size=3)
spaces = st.sampled_from(["", " ", "\t", "\x01", "\x85", "\u00a0", "\u2028"])
values = st.one_of(
    plain,
    plain,
    texts,
    st.builds("{}{}{}".format, spaces, plain, spaces),
    st.sampled_from(["a,b", "a:b:c", "b,,a,", ",", "a|b", "b.a", "x y"]),
    st.sampled_from(["", "a", "b", "a:b", "true", "false", "eq", "like", "*", "?b|a*", "a.b.c,,"]),
    st.sampled_from(["YQ", "YWI=", "YQ==", "Y", "%C3%A4", "%4", "+a%20", "%ff%C3"]),
    objects.map(lambda document: orjson.dumps(document).decode()),
)
headers = st.fixed_dictionaries(
    {"id": values, "x-y": values},
    optional=dict.fromkeys(["Id", "device_id", "é", "ID", "DEVICE_ID"], values),
) | st.dictionaries(st.sampled_from([*HEADERS, "ID", "DEVICE_ID"]), values, max_size=4)

TOPICS = [
    "a/b/things/twin/events/modified",
    "a/b/things/twin/events/merged",
    "a/b/things/twin/events/deleted",
    "a/b/things/twin/commands/modify",
    "a/b/things/twin/commands/retrieve",
    "_/_/things/twin/commands/retrieve",
    "a/b/things/live/messages/ask/this",
    "a/b/things/twin/search/subscribe",
    "a/b/things/twin/errors",
    "a/b/things/twin/acks/label",
    "a/p/policies/commands/modify",
    "a/p/policies/announcements/subjectDeletion",
    "_/c/connections/announcements/opened",
]
PATHS = [
    "/",
    "/features",
    "/features/f",
    "/features/f~0/properties/a",
    "/features/f/inbox/messages/x",
    "/attributes/a",
    "/features/",
    "/featuresx",
]
things = st.fixed_dictionaries(
    {},
    optional={
        "attributes": objects,
        "features": st.none() | st.dictionaries(st.sampled_from(["f", "g", "h"]), objects),
    },
)


@st.composite
def signals(draw: st.DrawFn) -> Signal:
    topic = draw(st.none() | st.sampled_from(TOPICS))
    signal = Signal(
        None if topic is None else parse_topic(topic),
        path=draw(st.sampled_from(PATHS)),
        headers=draw(headers).copy(),
        value=draw(st.one_of(st.just(ABSENT), things, things, documents)),
        extra=draw(st.none() | things),
    )
    if draw(st.booleans()):
        signal.entity_id = draw(st.sampled_from([None, "a:b", "ns:a:b", ":b", "nothing"]))
    if draw(st.booleans()):
        signal.policy_id = draw(st.sampled_from(["a:b", "p"]))
    if draw(st.integers(0, 9)) == 0:
        signal.path = None  # type: ignore[assignment]  # where a case of eval has none
    signal.resource_type = draw(st.sampled_from([None, None, "policy"]))
    signal.subjects = tuple(draw(st.lists(st.sampled_from(["a", "a:b", "b"]), max_size=3)))
    return signal


@st.composite
def bare_signals(draw: st.DrawFn) -> Signal:
    """Signals that only know on whose behalf they act: quick to make."""
    signal = Signal(None)
    signal.subjects = tuple(draw(st.lists(st.one_of(plain, values), max_size=3)))
    return signal


PLACEHOLDERS = [
    *(f"header:{name}" for name in [*HEADERS, "ID", "x-Y", "none"]),
    *(f"{prefix}:{name}" for prefix in ("thing", "entity") for name in ("id", "namespace", "name")),
    "feature:id",
    *(f"topic:{name}" for name in ("full", "namespace", "entityName", "group", "channel")),
    *(f"topic:{name}" for name in ("criterion", "action", "subject", "action-subject")),
    *("resource:type", "resource:path", "request:subjectId", "connection:id"),
    *("time:now", "time:now_epoch_millis-1h[m]"),
    *("thing-json:attributes/a", "thing-json:/attributes", "thing-json:features/f/b"),
    *("thing-json:thingId", "thing-json:/"),
]
# Those that resolve most often, and those that give several values, more often.
placeholders = st.one_of(
    st.sampled_from(PLACEHOLDERS),
    st.sampled_from(["header:id", "header:id", "header:ID", "header:x-y"]),
    st.sampled_from(["request:subjectId", "feature:id", "thing-json:attributes/a"]),
)
quoted = st.one_of(
    st.sampled_from(["", "a", ":", ",", "|", ".", "b", "x y", "\\'", "?", "a*", "*b|a", "a?|*.*"]),
    plain,
    texts,
).map(lambda text: "'" + text.replace("'", "").replace("}}", "").rstrip("\\") + "'")
operators = st.sampled_from(["'eq'", "'ne'", "'like'", "'exists'", "'in'", "header:id"])
FORMATS = [
    "{a}",
    "x{a}-{/b/c}y",
    "{#a}{b}:{.}{/a}",
    "{#a}{#b}{.}{c}{/b}-{/a}{c}",
    "{#a}<{#a}{.}{/a}>{/a}",
    "\\{a\\}{/a}{}",
    "{.}{a/b}",
]


@st.composite
def calls(draw: st.DrawFn, name: str | None = None) -> str:
    name = name or draw(st.sampled_from([*FUNCTIONS, "default", "default", "split", "filter"]))
    either = placeholders | quoted
    if name == "filter":
        one, other = draw(either), draw(either)
        operator = draw(operators)
        arguments = draw(
            st.sampled_from(
                [
                    [operator, other],
                    [one, operator, other],
                    [one, "'exists'"],
                    [
                        one,
                        "'exists'",
                        draw(st.sampled_from(["'true'", "'TRUE'", "'False'", "'x'", other])),
                    ],
                ]
            )
        )
    elif name == "format":
        arguments = [f"'{draw(st.sampled_from(FORMATS))}'"]
    else:
        kinds = [either if each.placeholder else quoted for each in FUNCTIONS[name].parameters]
        arguments = [draw(kind) for kind in kinds]
    blank = draw(st.sampled_from(["", " ", "\n"]))
    return f"fn:{name}({blank}{f'{blank},{blank}'.join(arguments)}{blank})"


@st.composite
def expressions(draw: st.DrawFn) -> str:
    stages = draw(st.lists(calls(), max_size=3))
    if not stages or draw(st.integers(0, 19)):
        stages.insert(0, draw(placeholders))
    inside = " | ".join(stages)
    if "}" in inside or draw(st.integers(0, 5)):
        return "{{ " + inside + " }}"
    return "${" + inside + "}"


@st.composite
def through(draw: st.DrawFn, name: str) -> str:
    """A template whose value goes through a function, as one or as several."""
    head = draw(
        st.sampled_from(
            ["header:id", "header:x-y", "request:subjectId", "header:x-y | fn:split('')"]
        )
    )
    return f"{{{{ {head} | {draw(calls(name))} }}}}"


templates = st.lists(st.one_of(expressions(), expressions(), plain), max_size=3).map("".join)


def outcome(result: Any) -> Any:
    """What a caller can act on: the value, or the code of the error."""
    return ("error", result.code) if isinstance(result, SignalError) else result
