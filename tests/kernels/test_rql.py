"""The RQL kernel equals its reference, on every outcome, and changes no signal."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from streamproc.errors import ExpressionError
from streamproc.kernels.rql import Filter, thing_of
from streamproc.kernels.signal import ABSENT, Signal, Topic
from streamproc.lang import pointer, rql, selector, timeexpr
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
    Plan,
)
from streamproc.lang.rql_property import PLACEHOLDERS
from tests.reference import rql as reference

# More than usual, and as many as the nightly profile asks for.
many = settings(max_examples=max(300, settings.default.max_examples if settings.default else 0))
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
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=2),
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


def kind(expression: Expression) -> str:
    return getattr(expression, "operator", type(expression).__name__.lower())


def again(signal: Signal) -> Signal:
    """A signal of its own: neither side may see what the other kept in it."""
    twin = Signal(signal.topic, signal.path, None, _copied(signal.value))
    twin.extra = copy.deepcopy(signal.extra)
    for name in ("revision", "timestamp", "resource_type", "entity_id"):
        setattr(twin, name, getattr(signal, name))
    return twin


def _copied(value: Any) -> Any:
    return value if value is ABSENT else copy.deepcopy(value)


def same(left: Any, right: Any) -> bool:
    """Equal, NaN to NaN too, and true is not 1."""
    return repr(_sorted(left)) == repr(_sorted(right))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return sorted((key, _sorted(each)) for key, each in value.items())
    return [_sorted(each) for each in value] if isinstance(value, list) else value


@st.composite
def meetings(draw: st.DrawFn) -> tuple[Expression, dict[str, Any]]:
    """A thing, and a condition on a property that it has and on a value that is there."""
    thing = draw(things)
    keys: tuple[str, ...] = ()
    value: Any = thing
    while isinstance(value, dict) and value and (len(keys) < 2 or draw(st.booleans())):
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


@given(case=meetings() | meetings() | st.tuples(leaves, things))
@many
def test_a_single_condition_holds_for_a_thing_as_in_the_reference(
    case: tuple[Expression, dict[str, Any]],
) -> None:
    leaf, thing = case
    plan = Plan("", leaf)
    expected = reference.matches_things(plan, [thing], NOW)
    event(f"{kind(leaf)}: {expected[0]}")
    assert Filter(plan).matches_things([thing], NOW) == expected


@given(one=scalars, wanted=literals, operator=st.sampled_from(["eq", "lt", "le", "gt", "ge", "in"]))
@many
@example(one=2**53 + 1, wanted=float(2**53), operator="gt")
@example(one=float(2**53), wanted=2**53 + 1, operator="lt")
@example(one="\U0001f600", wanted="\uffff", operator="lt")
@example(one=1e10, wanted="1.0E+10a", operator="lt")
@example(one=0.1, wanted="0.1", operator="eq")
def test_a_candidate_stands_to_a_literal_as_in_the_reference(
    one: Any, wanted: Any, operator: str
) -> None:
    place = Field("attributes/a", ("attributes", "a"))
    node = In(place, (wanted, None)) if operator == "in" else Compare(operator, place, wanted)
    thing = {"attributes": {"a": one}}
    expected = reference.matches_things(Plan("", node), [thing], NOW)
    event(f"{type(one).__name__} {operator} {type(wanted).__name__}: {expected[0]}")
    assert Filter(Plan("", node)).matches_things([thing], NOW) == expected


@given(signal=signals())
@many
def test_a_signal_says_beside_its_thing_what_the_reference_says(signal: Signal) -> None:
    for prefix, known in PLACEHOLDERS.items():
        for name in known if prefix != "time" else ():
            place = Placeholder(f"{prefix}:{name}", prefix, name)
            expected = reference.beside(prefix, name, signal)
            event(f"{prefix}: {expected is not None}")
            node = Exists(place) if expected is None else Compare("eq", place, expected)
            assert Filter(Plan("", node)).matches([signal]) == [expected is not None]


@given(number=st.floats(allow_nan=False) | st.integers(-(2**64), 2**64) | st.floats(-1e8, 1e8))
@many
@example(number=9_999_999.5)
@example(number=1e7)
@example(number=0.001)
@example(number=0.000999)
@example(number=-0.0)
@example(number=5e-324)
def test_a_number_is_written_as_in_the_reference(number: float) -> None:
    place = Field("attributes/a", ("attributes", "a"))
    text = reference.text_of(number)
    assert text is not None
    event("scientific" if "E" in text else "plain")
    plan = Filter(Plan("", Compare("like", place, text)))
    assert plan.matches_things([{"attributes": {"a": number}}]) == [True]


@given(signal=signals())
@many
def test_a_signal_says_of_its_thing_what_the_reference_says_and_stays_as_it_was(
    signal: Signal,
) -> None:
    expected = reference.thing_of(again(signal))
    before = [_copied(signal.value), _copied(signal.extra)]
    event(f"{signal.topic and signal.topic.action}, fields: {min(len(expected), 5)}")
    thing_of([signal])
    assert same(signal.thing, expected)
    _scribble(signal.thing)
    assert same([signal.value, signal.extra], before)


def _scribble(thing: dict[str, Any] | None) -> None:
    """What a caller may do to the top of the cached thing without touching the signal."""
    assert thing is not None
    thing.clear()
    thing["scribbled"] = True


def test_the_thing_of_a_signal_is_computed_once() -> None:
    topic = event_topic("modified")
    signal = Signal(topic, "/attributes/a", value=1)
    thing_of([signal])
    kept = signal.thing
    assert kept == {"attributes": {"a": 1}, "thingId": "ns:a", "_namespace": "ns"}
    thing_of([signal])
    Filter(rql.parse("eq(attributes/a,1)")).matches([signal])
    assert signal.thing is kept


def test_a_filter_on_placeholders_does_not_compute_the_thing() -> None:
    topic = event_topic("modified")
    signal = Signal(topic, "/attributes/a", value=1)
    plan = rql.parse('and(eq(topic:action,"modified"),like(resource:path,"/attributes*"))')
    assert Filter(plan).matches([signal]) == [True]
    assert signal.thing is None


@given(root=expressions, batch=st.lists(signals(), max_size=3))
@many
def test_a_filter_holds_for_signals_as_in_the_reference(
    root: Expression, batch: list[Signal]
) -> None:
    plan = Plan("", root)
    expected = reference.matches(plan, [again(signal) for signal in batch], NOW)
    for outcome in expected:
        event(f"{kind(root)}: {outcome}")
    assert Filter(plan).matches(batch, NOW) == expected


POINTERS = [
    *("/attributes", "/attributes/a", "/attributes/a/b", "/features", "/features/a"),
    *(
        "/features/*/properties/a",
        "/features/a/properties/a",
        "/features/{{ feature:id }}/definition",
    ),
    *("/thingId", "/_namespace", "/_metadata", "/attributes/x~0y"),
]
covers = st.lists(st.sampled_from(POINTERS), max_size=2).map(tuple)


@given(root=expressions, batch=st.lists(signals(), max_size=2), covered=covers)
@many
def test_a_filter_may_match_as_in_the_reference(
    root: Expression, batch: list[Signal], covered: tuple[str, ...]
) -> None:
    plan = Plan("", root)
    expected = reference.may_match(plan, [again(signal) for signal in batch], covered, NOW)
    for outcome in expected:
        event(f"{kind(root)}: {outcome}")
    assert Filter(plan).may_match(batch, covered, NOW) == expected


@given(root=expressions, signal=signals(), extra=things, data=st.data())
@many
def test_what_the_pre_filter_knows_stays_true_after_enrichment(
    root: Expression, signal: Signal, extra: dict[str, Any], data: st.DataObject
) -> None:
    covered = data.draw(st.lists(st.sampled_from(POINTERS[:7]), min_size=1, max_size=2).map(tuple))
    signal.extra = None
    known = Filter(Plan("", root)).may_match([signal], covered, NOW)[0]
    enriched = again(signal)
    enriched.extra = selector.parse(",".join(covered)).select(extra)
    outcome = Filter(Plan("", root)).matches([enriched], NOW)[0]
    event(f"known: {known}, then {outcome}")
    assert known in (2, int(outcome))


def test_one_filter_serves_several_sets_of_covered_pointers() -> None:
    topic = event_topic("modified")
    signal = Signal(topic, "/features/f/properties/q", value=1)
    plan = Filter(rql.parse("exists(features/f/properties/p)"))
    assert plan.may_match([signal], ("/features/f/properties/p",)) == [2]
    assert plan.may_match([signal], ("/features/f",)) == [2]
    assert plan.may_match([signal], ("/features/g",)) == [0]
    assert plan.may_match([signal], ()) == [0]
    assert plan.may_match([signal], ("/features/*/properties",)) == [2]
    assert plan.may_match([signal], ("/features/{{ feature:id }}/properties/p",)) == [2]
    assert plan.may_match([signal], ("/features/f/properties/p/deeper",)) == [2]
    assert plan.may_match([signal], ("/attributes",)) == [0]
    assert plan.matches([signal]) == [False]


@given(root=expressions, signal=signals())
def test_an_explanation_agrees_with_the_filter_in_every_part(
    root: Expression, signal: Signal
) -> None:
    plan = Plan("", root)
    outcome = Filter(plan).matches([again(signal)], NOW)[0]
    stack = [(Filter(plan).explain(signal, NOW), root)]
    assert stack[0][0].outcome is outcome
    while stack:
        explanation, node = stack.pop()
        assert explanation.outcome == reference.matches(Plan("", node), [again(signal)], NOW)[0]
        stack += zip(explanation.parts, getattr(node, "parts", ()), strict=True)


def test_an_explanation_shows_text_outcome_and_value_of_each_part() -> None:
    plan = rql.parse('and(gt(attributes/n,4), not(eq(topic:action,"x")),exists(attributes/z))')
    topic = event_topic("modified")
    why = Filter(plan).explain(Signal(topic, "/attributes/n", value=3))
    assert why.outcome is False
    assert why.saw is ABSENT
    assert [part.expression for part in why.parts] == [
        "gt(attributes/n,4)",
        'not(eq(topic:action,"x"))',
        "exists(attributes/z)",
    ]
    assert [part.outcome for part in why.parts] == [False, True, False]
    assert why.parts[0].saw == 3
    assert why.parts[1].parts[0].saw == "modified"
    assert why.parts[2].saw is ABSENT


def test_time_is_that_of_the_batch_not_of_the_parse() -> None:
    plan = Filter(rql.parse("and(gt(_modified,time:now-1h),in(attributes/t,1,time:now))"))
    thing = {"_modified": "2024-01-06T14:00:00Z", "attributes": {"t": "2024-01-06T14:23:42.123Z"}}
    assert plan.matches_things([thing], NOW) == [True]
    assert plan.matches_things([thing], NOW.replace(year=2025)) == [False]
    assert plan.matches_things([thing], NOW) == [True]
    assert plan.matches_things([thing]) == [False]


def test_values_too_deep_to_follow_end_the_search_not_the_process() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    assert Filter(rql.parse("eq(attributes/a,1)")).matches_things(
        [{"attributes": {"a": deep}}]
    ) == [False]


def test_objects_too_deep_to_copy_end_the_copy_not_the_process() -> None:
    topic = event_topic("merged")
    deep: Any = {"x": None}
    for _ in range(100_000):
        deep = {"d": deep}
    signal = Signal(topic, "/attributes", value=deep, extra={"attributes": deep})
    assert Filter(rql.parse("exists(attributes/d/d/d)")).matches([signal]) == [True]


@pytest.mark.parametrize("bad", [None, [None], ["text"], ({},), [object()]])
def test_what_is_no_list_of_signals_is_a_type_error(bad: Any) -> None:
    plan = Filter(rql.parse("eq(attributes/a,1)"))
    for run in (plan.matches, lambda batch: plan.may_match(batch, ()), thing_of):
        with pytest.raises(TypeError):
            run(bad)
    with pytest.raises(TypeError):
        plan.matches_things([Signal(None)])  # type: ignore[list-item]


def test_a_plan_that_was_not_checked_is_refused_where_it_means_nothing() -> None:
    with pytest.raises(ExpressionError, match="like takes a text"):
        Filter(rql.parse("like(attributes/a,1)", check_properties=False))
