"""The RQL kernel equals its reference, on every outcome."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from streamproc.errors import ExpressionError
from streamproc.kernels.rql import Filter, thing_of
from streamproc.kernels.signal import ABSENT, Signal
from streamproc.lang import rql, selector
from streamproc.lang.rql_plan import Compare, Exists, Expression, Field, In, Placeholder, Plan
from streamproc.lang.rql_property import PLACEHOLDERS
from tests.kernels.filters import (
    NOW,
    NUMBERS,
    again,
    event_topic,
    expressions,
    leaves,
    literals,
    many,
    meetings,
    scalars,
    signals,
    things,
)
from tests.reference import rql as reference


def kind(expression: Expression) -> str:
    return getattr(expression, "operator", type(expression).__name__.lower())


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


def spellings(number: float) -> list[Any]:
    """The same number, or nearly, as JSON values of every kind."""
    texts = [str(number), repr(float(number)), f"{number}.0", f"+{number}", f"{number}e0"]
    whole = [max(-(2**63), min(int(number) + more, 2**63 - 1)) for more in (-1, 0, 1)]
    return [number, float(number), *whole, *texts]


near = (
    st.sampled_from(NUMBERS)
    .map(spellings)
    .flatmap(lambda kin: st.tuples(st.sampled_from(kin), st.sampled_from(kin)))
)
operators = st.sampled_from(["eq", "lt", "le", "gt", "ge", "in"])


@given(pair=near | st.tuples(scalars, literals), operator=operators)
@many
@example(pair=(2**53 + 1, float(2**53)), operator="gt")
@example(pair=(float(2**53), 2**53 + 1), operator="lt")
@example(pair=("\U0001f600", "\uffff"), operator="lt")
@example(pair=(1e10, "1.0E+10a"), operator="lt")
@example(pair=(0.1, "0.1"), operator="eq")
@example(pair=(0.1, "0.1"), operator="in")
@example(pair=("5.0", 5), operator="in")
@example(pair=(True, "true"), operator="in")
@example(pair=("true", True), operator="in")
@example(pair=(2**64, 2**63 - 1), operator="gt")
def test_a_candidate_stands_to_a_literal_as_in_the_reference(
    pair: tuple[Any, Any], operator: str
) -> None:
    one, wanted = pair
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


def test_a_filter_on_placeholders_does_not_compute_the_thing() -> None:
    topic = event_topic("modified")
    signal = Signal(topic, "/attributes/a", value=1)
    plan = rql.parse('and(eq(topic:action,"modified"),like(resource:path,"/attributes*"))')
    assert Filter(plan).matches([signal]) == [True]
    assert signal.thing is None


ARRAYS = {
    "attributes": {
        "a": [{"b": {"c": 1}}, {"b": {"c": [2, {"d": 3}]}}, {"b": {}}, 4, [{"b": {"c": 5}}]],
        "e": [{"f": [{"g": "x"}, {"g": None}]}, {"f": [{"h": {}}]}],
        "n": [],
    }
}


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("eq(attributes/a/b/c,1)", True),
        ("eq(attributes/a/b/c,2)", True),
        ("eq(attributes/a/b/c,3)", False),  # in an object
        ("eq(attributes/a/b/c,5)", False),  # in an array of an array
        ("eq(attributes/a/b/c/d,3)", True),
        ("eq(attributes/a,4)", True),
        ("ne(attributes/a/b/c,1)", False),
        ("ne(attributes/a/b/c,9)", True),
        ("gt(attributes/a/b/c/d,2)", True),
        ('eq(attributes/e/f/g,"x")', True),
        ("eq(attributes/e/f/g,null)", True),
        ('in(attributes/e/f/g,"y","x")', True),
        ('like(attributes/e/f/g,"?")', True),
        ("exists(attributes/a/b/c)", True),
        ("exists(attributes/a/b/z)", False),
        ("exists(attributes/e/f/h)", True),
        ("exists(attributes/n)", True),
        ("exists(attributes/n/x)", False),
        ("empty(attributes/e/f/h)", False),  # one was collected, which is empty
        ("empty(attributes/e/f/z)", True),
        ("empty(attributes/n)", True),
        ("empty(attributes/n/x)", True),
    ],
)
def test_arrays_of_objects_are_entered_on_the_way(text: str, outcome: bool) -> None:
    plan = rql.parse(text)
    assert Filter(plan).matches_things([ARRAYS]) == [outcome]
    assert reference.matches_things(plan, [ARRAYS]) == [outcome]


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
