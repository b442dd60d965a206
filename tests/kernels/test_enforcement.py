"""The enforcement kernel equals its reference: who passes, and why another does not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from streamproc.errors import SignalError
from streamproc.kernels import enforcement as fast
from streamproc.kernels.signal import Signal
from streamproc.lang.template import Scope, parse
from streamproc.protocol.topic import parse as parse_topic
from tests.kernels.scenes import headers, outcome, signals
from tests.reference import enforcement as slow

BOTH = pytest.mark.parametrize("implementation", [slow, fast], ids=["reference", "kernel"])
FAILED = "connectivity:connection.id.enforcement.failed"
UNRESOLVED = "placeholder:unresolved"

FILTERS = [
    *("{{ thing:id }}", "{{ entity:id }}", "{{entity:name}}", "{{ policy:id }}", "{{feature:id}}"),
    *("{{ thing:id | fn:delete() }}", "{{ thing:id | fn:split(':') }}", "a:b", "a", ""),
    *("{{ entity:name | fn:base64-decode() }}", "{{ thing:namespace }}:{{ thing:name }}"),
    "{{ policy:id | fn:default(thing:id) }}",
]
INPUTS = [
    "{{ header:id }}",
    "{{ header:x-y | fn:split(',') }}",
    "{{ header:Id|fn:lower() }}",
    "a:b",
]
raw = st.one_of(
    headers,
    st.fixed_dictionaries({"id": st.sampled_from(["a:b", "a:p", "a", "b", "ns:a:b", "", ":b"])}),
)


def made(implementation, text, filters):
    return implementation.Enforcement(
        parse(text, Scope.ENFORCEMENT_INPUT),
        [parse(each, Scope.ENFORCEMENT_FILTER) for each in filters],
    )


@given(
    text=st.sampled_from(INPUTS),
    filters=st.lists(st.sampled_from(FILTERS), max_size=3, unique=True),
    batch=st.lists(st.tuples(raw, signals()), min_size=1, max_size=3),
)
@settings(max_examples=300, deadline=None)
def test_kernel_and_reference_give_the_same(text, filters, batch):
    of = [each[1] for each in batch]
    expected_inputs = made(slow, text, filters).inputs([each[0] for each in batch])
    inputs = made(fast, text, filters).inputs([each[0] for each in batch])
    assert list(map(outcome, inputs)) == list(map(outcome, expected_inputs))
    expected = made(slow, text, filters).check(expected_inputs, of)
    for result in expected:
        event("accepted" if result is None else result.code)
    found = made(fast, text, filters).check(inputs, of)
    assert list(map(outcome, found)) == list(map(outcome, expected))


def about(topic, entity_id=None):
    signal = Signal(parse_topic(topic))
    if entity_id is not None:
        signal.entity_id = entity_id
    return signal


THING = "a/b/things/twin/commands/modify"
CASES = [
    (["{{ thing:id }}"], "a:b", THING, None),
    (["{{ thing:id }}"], "A:b", THING, FAILED),
    (["{{ thing:id }}"], "a:b", "a/b/policies/commands/modify", UNRESOLVED),
    (["{{ entity:id }}"], "a:b", "a/b/policies/commands/modify", None),
    (["{{ entity:id }}"], "a:b", "_/_/things/twin/commands/retrieve", FAILED),
    (["a:b"], "a:b", "_/_/things/twin/commands/retrieve", FAILED),
    (["{{ policy:id }}"], "a:b", THING, UNRESOLVED),
    (["{{ policy:id }}", "{{ thing:id }}"], "a:b", THING, None),
    (["{{ policy:id }}", "x"], "a:b", THING, FAILED),
    ([], "a:b", THING, FAILED),
    (["{{ thing:id | fn:delete() }}"], "a:b", THING, UNRESOLVED),
    (["{{ thing:id | fn:base64-decode() }}"], "a:b", THING,
     "placeholder:placeholder.notresolvable"),
    (["{{ thing:id | fn:base64-decode() }}", "{{ thing:id }}"], "a:b", THING, None),
    (["{{ thing:id | fn:split(':') }}"], "b", THING, None),
]  # fmt: skip


@BOTH
@pytest.mark.parametrize(("filters", "proven", "topic", "expected"), CASES)
def test_cases(implementation, filters, proven, topic, expected):
    check = made(implementation, "{{ header:id }}", filters)
    [found] = check.check(check.inputs([{"id": proven}]), [about(topic)])
    assert (found and found.code) == expected


@BOTH
def test_only_the_first_value_of_the_input_counts(implementation):
    check = made(implementation, "{{ header:id | fn:split(',') }}", ["{{ thing:id }}"])
    assert check.inputs([{"id": "a:b,c:d"}]) == ["a:b"]


@BOTH
def test_a_message_without_identity_is_refused_and_the_others_are_not(implementation):
    check = made(implementation, "{{ header:id }}", ["{{ thing:id }}"])
    inputs = check.inputs([{}, {"id": "a:b"}])
    assert isinstance(inputs[0], SignalError)
    found = check.check(inputs, [about(THING), about(THING)])
    assert [x and x.code for x in found] == [UNRESOLVED, None]


def test_the_source_address_is_what_the_transport_says_not_a_client():
    scope = Scope.ENFORCEMENT_INPUT_MQTT5
    check = fast.Enforcement(parse("{{ source:address }}", scope), [])
    assert check.inputs([{"mqtt.topic": "a/b", "MQTT.topic": "x", "address": "x"}]) == ["a/b"]


def test_who_is_no_text_has_proven_nothing():
    check = made(fast, "{{ header:id }}", ["{{ thing:id }}"])
    [found] = check.check([None], [about(THING)])
    assert found.code == FAILED


def test_the_error_says_who_and_about_what():
    check = made(fast, "{{ header:id }}", ["{{ thing:id }}"])
    [found] = check.check(["x:y"], [about(THING)])
    assert "'x:y'" in str(found)
    assert "'a:b'" in str(found)


def test_lists_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="1 inputs and 0 signals"):
        made(fast, "a", []).check(["a"], [])


@pytest.mark.parametrize("given", [None, "x", {}], ids=repr)
def test_what_is_no_signal_is_refused(given: Any) -> None:
    enforcement = fast.Enforcement(
        parse("{{ header:x }}", Scope.ENFORCEMENT_INPUT),
        [parse("{{ thing:id }}", Scope.ENFORCEMENT_FILTER)],
    )
    with pytest.raises(TypeError):
        enforcement.check(["a"], [given])


@pytest.mark.parametrize("given", [None, "x", {"x": 1}], ids=repr)
def test_what_are_no_headers_is_refused(given: Any) -> None:
    enforcement = fast.Enforcement(parse("{{ header:x }}", Scope.ENFORCEMENT_INPUT), [])
    with pytest.raises(TypeError):
        enforcement.inputs([given])
