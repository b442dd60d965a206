"""Filters and signals that meet: what the tests of the RQL kernel draw from."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from streamproc.kernels.signal import ABSENT, Signal, Topic
from streamproc.lang import pointer, timeexpr
from streamproc.lang.rql_plan import (
    COMPARISONS,
    Compare,
    Empty,
    Exists,
    Expression,
    Field,
    In,
    Logical,
    Placeholder,
)
from streamproc.lang.rql_property import PLACEHOLDERS
from tests.reference import rql as reference

# More than usual, and as many as the nightly profile asks for.
many = settings(max_examples=max(200, settings.default.max_examples if settings.default else 0))
NOW = datetime(2024, 1, 6, 14, 23, 42, 123_000, tzinfo=UTC)

# Few names and values, so that what is looked for is often there and often equal.
NAMES = ["a", "b", "x~y", "ä", "*"]
TEXTS = [
    *("", "a", "A", "ab", "a\nb", "a*", "?", "true", "false", "null", "modified"),
    *(
        "5",
        "5.0",
        "+5",
        "-5",
        "0.1",
        ".5",
        "5.",
        "5e0",
        "1e400",
        "1e9999999999",
        "1_0",
        " 5",
        "\u0665",
    ),
    *("9007199254740993", "2024-01-06T14:23:42.123Z", "\uffff", "\U0001f600", "\ud83d"),
]
NUMBERS = [
    *(0, 1, 5, -5, 2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)),
    *(0.0, -0.0, 0.1, 5.0, 0.5, 1e-7, 12345678.9, 1e22, float(2**53), float(2**63), 5e-324),
]
scalars = (
    st.sampled_from([None, True, False])
    | st.sampled_from(TEXTS)
    | st.sampled_from(NUMBERS)
    | st.text(max_size=6)
    | st.integers(-(2**64), 2**64)
    | st.floats()
)
names = st.sampled_from(NAMES)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(names, inner, max_size=2)
        | st.lists(st.dictionaries(names, inner, max_size=2), min_size=1, max_size=2)
    ),
    max_leaves=4,
)
objects = st.dictionaries(names, values, max_size=3)
features = st.dictionaries(
    names,
    st.fixed_dictionaries(
        {},
        optional={
            "properties": objects | st.none(),
            "desiredProperties": objects,
            "definition": st.lists(st.sampled_from(["n:d:1", "n:e:2"]), max_size=2),
        },
    )
    | st.none(),
    max_size=3,
)
things = st.fixed_dictionaries(
    {},
    optional={
        "thingId": st.sampled_from(["ns:a", "a", ":"]),
        "policyId": st.sampled_from(["ns:p", None]),
        "definition": st.sampled_from(["n:d:1", ""]),
        "_revision": st.integers(0, 6),
        "_modified": st.sampled_from(["2024-01-06T14:23:42.123Z", "2999-01-01T00:00:00Z"]),
        "_namespace": st.sampled_from(["ns", None, ["ns", "other"]]),
        "attributes": objects | st.lists(objects, max_size=2),
        "features": features,
        "_metadata": objects,
    },
)

PATHS = [
    *("/", "/attributes", "/attributes/a", "/attributes/a/b", "/attributes/x~0y/", "/policyId"),
    *("/features", "/features/", "/features/a", "/features/a/properties", "/features/ä/definition"),
    *("/features/a/properties/a", "/features/a/properties/a/b", "/features/b/desiredProperties/a"),
    *("/inbox/messages/ask", "/features/a/inbox/messages/ask", "", "//", "/attributes//a", "/~0"),
]


@st.composite
def topics(draw: st.DrawFn) -> Topic | None:
    group = draw(st.sampled_from(["things", "things", "things", "policies", "connections"]))
    criterion = draw(
        st.sampled_from(["events", "events", "events", "commands", "messages", "acks"])
    )
    channel = draw(st.sampled_from(["twin", "live"])) if group == "things" else "none"
    namespace, name = draw(st.sampled_from([("ns", "a"), ("_", "_"), ("a.b", "x:y")]))
    action = subject = None
    if criterion in ("events", "commands"):
        action = draw(st.sampled_from(["created", "modified", "merged", "deleted"]))
    else:
        subject = draw(st.sampled_from(["ask", "a/b", None]))
    full = "/".join(filter(None, [namespace, name, group, channel, criterion, action, subject]))
    topic = Topic(full, namespace, name, group, channel, criterion, action, subject)
    return draw(st.sampled_from([topic, topic, topic, None]))


@st.composite
def signals(draw: st.DrawFn) -> Signal:
    value = draw(values | things | features | st.just(ABSENT))
    signal = Signal(draw(topics()), draw(st.sampled_from(PATHS)), None, value)
    signal.extra = draw(st.none() | things)
    signal.revision = draw(st.none() | st.integers(0, 6))
    signal.timestamp = draw(st.none() | st.just("2024-01-06T14:23:42.123Z"))
    signal.resource_type = draw(st.sampled_from([None, None, "thing"]))
    signal.entity_id = draw(st.sampled_from([signal.entity_id, signal.entity_id, "a", "ns:a"]))
    return signal


@st.composite
def fields(draw: st.DrawFn) -> Field:
    more = st.lists(names, max_size=2)
    keys = draw(
        st.builds(lambda path: ("attributes", *path), more)
        | st.builds(lambda path: ("_metadata", *path), more)
        | st.builds(lambda name: ("features", name), names)
        | st.builds(
            lambda name, part, path: ("features", name, part, *path),
            names,
            st.sampled_from(["properties", "desiredProperties", "definition"]),
            more,
        )
        | st.sampled_from(["thingId", "policyId", "definition", "_revision", "_modified"]).map(
            lambda name: (name,)
        )
        | st.just(("_namespace",))
    )
    return Field(pointer.render(keys), keys)


TIMES = ["now", "now-1h", "now_epoch_millis", "now_epoch_millis[d]", "now+1y"]
times = st.sampled_from([timeexpr.parse(text) for text in TIMES])
placeholders = st.sampled_from(
    [(p, n) for p, known in PLACEHOLDERS.items() if p != "time" for n in known]
).map(lambda each: Placeholder(":".join(each), *each)) | times.map(
    lambda plan: Placeholder(f"time:{plan.text}", "time", plan.text, plan)
)
properties = fields() | fields() | placeholders
literals = (
    st.sampled_from([None, True, False])
    | st.sampled_from(TEXTS)
    | st.sampled_from(NUMBERS)
    | st.text(max_size=6)
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | times
)
patterns = st.text("aAbB5*?\né", max_size=6) | st.sampled_from(TEXTS)
leaves = st.one_of(
    st.builds(Compare, st.sampled_from(["eq", "ne"]), properties, literals),
    st.builds(Compare, st.sampled_from(["lt", "le", "gt", "ge"]), properties, literals),
    st.builds(Compare, st.sampled_from(["like", "ilike"]), properties, patterns),
    st.builds(In, properties, st.lists(literals, min_size=1, max_size=4).map(tuple)),
    st.builds(Exists, properties),
    st.builds(Empty, properties),
)
expressions: st.SearchStrategy[Expression] = st.recursive(
    leaves,
    lambda inner: (
        st.builds(
            Logical,
            st.sampled_from(["and", "or"]),
            st.lists(inner, min_size=1, max_size=3).map(tuple),
        )
        | st.builds(Logical, st.just("not"), st.tuples(inner))
    ),
    max_leaves=5,
)


def event_topic(action: str) -> Topic:
    full = f"ns/a/things/twin/events/{action}"
    return Topic(full, "ns", "a", "things", "twin", "events", action)


def again(signal: Signal) -> Signal:
    """A signal of its own: neither side may see what the other kept in it."""
    twin = Signal(signal.topic, signal.path, None, copied(signal.value))
    twin.extra = copy.deepcopy(signal.extra)
    for name in ("revision", "timestamp", "resource_type", "entity_id"):
        setattr(twin, name, getattr(signal, name))
    return twin


def copied(value: Any) -> Any:
    return value if value is ABSENT else copy.deepcopy(value)


@st.composite
def meetings(draw: st.DrawFn) -> tuple[Expression, dict[str, Any]]:
    """A thing, and a condition on a property that it has and on a value that is there."""
    thing = draw(things)
    keys: tuple[str, ...] = ()
    value: Any = thing
    while True:
        inside = (
            [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
        )
        value = draw(st.sampled_from(inside)) if inside and draw(st.booleans()) else value
        if not isinstance(value, dict) or not value or (len(keys) > 1 and draw(st.booleans())):
            break
        keys += (draw(st.sampled_from(sorted(value))),)
        value = value[keys[-1]]
    wanted = draw(st.sampled_from(reference.candidates(value) or [value]))
    if isinstance(wanted, (dict, list)) or wanted != wanted:
        wanted = draw(literals)
    text = reference.text_of(wanted) or ""
    place = Field(pointer.render(keys), keys)
    wanted = draw(st.sampled_from([wanted, wanted, text]))
    if isinstance(wanted, int) and not isinstance(wanted, bool):
        wanted = max(-(2**63), min(wanted, 2**63 - 1))
    operator = draw(st.sampled_from([*COMPARISONS, "in", "exists", "empty"]))
    if operator in ("like", "ilike"):
        at = draw(st.integers(0, len(text)))
        shown = text[:at] + draw(st.sampled_from(["*", "?", ""])) + text[at + 1 :]
        return Compare(operator, place, shown.swapcase() if operator == "ilike" else shown), thing
    if operator == "in":
        return In(place, tuple(draw(st.permutations([wanted, *draw(st.lists(literals))])))), thing
    if operator in ("exists", "empty"):
        return (Exists if operator == "exists" else Empty)(place), thing
    return Compare(operator, place, wanted), thing
