"""The header mapping kernels equal their reference; nothing unclean gets into a transport."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from streamproc.errors import ExpressionError, SignalError
from streamproc.kernels import headers as fast
from streamproc.kernels.signal import Signal
from streamproc.lang.template import Scope, parse
from streamproc.protocol import headers as known
from streamproc.protocol.topic import parse as parse_topic
from tests.kernels.scenes import NOW, bare_signals, headers, outcome, plain, templates, values
from tests.reference import headers as slow

BOTH = pytest.mark.parametrize("implementation", [slow, fast], ids=["reference", "kernel"])

# Known ones of every kind, one that none may set in any case, and names that differ in case.
NAMES = [
    *("correlation-id", "response-required", "timeout", "channel", "requested-acks"),
    *("ditto-originator", "Ditto-Sudo", "connection", "x", "X", "content-type", "é", "É"),
]
unclean = st.sampled_from(["a\nb", "\r", "\0", "é\n", "𝄞\r"])
known_values = st.sampled_from(["true", "false", "5s", "live", " LIVE", "[]", "a-b,cde", "", " "])
simple = st.one_of(
    st.sampled_from(["{{ header:id }}", "{{ header:x-y }}", "{{header:none}}", "true", "10ms"]),
    plain,
    known_values,
    templates,
)
mappings = st.dictionaries(st.sampled_from(NAMES), simple, max_size=5)
raw = st.one_of(
    headers,
    st.fixed_dictionaries({"id": known_values | values | unclean, "x-y": known_values | plain}),
)
own = st.dictionaries(
    st.sampled_from([n for n in NAMES if n == n.lower()]),
    known_values | plain | unclean,
    max_size=3,
)


def plans_of(mapping):
    plans = {}
    for name, text in mapping.items():
        try:
            plans[name] = parse(text, Scope.SIGNAL, connection_id="conn")
        except ExpressionError:
            event("refused")
    return plans


@given(
    mapping=mappings, batch=st.lists(st.tuples(raw, own, bare_signals()), min_size=1, max_size=3)
)
@settings(max_examples=300, deadline=None)
def test_inbound_kernel_and_reference_give_the_same(mapping, batch):
    plans = plans_of(mapping)
    seen = []
    for implementation in (slow, fast):
        signals = []
        for _, own_headers, template in batch:
            signal = Signal(None, headers=own_headers)
            signal.subjects = template.subjects
            signals.append(signal)
        kept = [dict(own_headers) for _, own_headers, _ in batch]
        made = implementation.InboundMapping(plans)
        outcomes = made.apply([each[0] for each in batch], signals, NOW)
        assert [own_headers for _, own_headers, _ in batch] == kept, "a shared dict was changed"
        seen.append((made.ignored, [outcome(x) for x in outcomes], [s.headers for s in signals]))
    for result, signal_headers, (_, own_headers, _) in zip(
        seen[0][1], seen[0][2], batch, strict=True
    ):
        event("mapped" if signal_headers != own_headers else "unchanged")
        event(result[1] if result else "no error")
    assert seen[0] == seen[1]


@given(
    mapping=mappings,
    batch=st.lists(st.tuples(st.dictionaries(st.sampled_from(NAMES), values | unclean, max_size=3),
                             raw), min_size=1, max_size=3),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_outbound_kernel_and_reference_give_the_same(mapping, batch):
    plans = plans_of(mapping)
    messages = [each[0] for each in batch]
    kept = [dict(message) for message in messages]
    signals = [Signal(None, headers=each[1]) for each in batch]
    expected = slow.OutboundMapping(plans).apply(messages, signals, NOW)
    results = fast.OutboundMapping(plans).apply(messages, signals, NOW)
    assert list(map(outcome, results)) == list(map(outcome, expected))
    assert messages == kept, "a shared dict was changed"
    for result, message in zip(results, messages, strict=True):
        if isinstance(result, SignalError):
            event(result.code)
            continue
        event("the same dict" if result is message else "a new dict")
        assert slow.is_clean("".join([*result, *result.values()]))


def inbound(implementation, mapping, raw_headers, own_headers=None):
    signal = Signal(None, headers=dict(own_headers or {}))
    result = implementation.InboundMapping(plans_of(mapping)).apply([raw_headers], [signal])[0]
    return outcome(result) or signal.headers


INBOUND = [
    ({"A": "{{ header:b }}"}, {"b": "1"}, {}, {"a": "1"}),
    ({"a": "{{ header:b }}"}, {"b": "1"}, {"a": "own"}, {"a": "own"}),
    ({"a": "{{ header:none }}"}, {}, {}, {}),
    ({"a": "{{ header:b | fn:delete() }}"}, {"b": "1"}, {}, {}),
    ({"timeout": "abc"}, {}, {"timeout": "5s"}, {"timeout": "5s"}),
    ({"timeout": "abc"}, {}, {}, ("error", "timeout.invalid")),
    ({"response-required": "{{ header:b }}"}, {"b": "TRUE"}, {}, ("error", "header.invalid")),
    ({"correlation-id": "{{ header:b }}"}, {"b": ""}, {}, ("error", "header.invalid")),
    ({"correlation-id": "{{ header:b }}"}, {"b": "  "}, {}, {"correlation-id": "  "}),
    ({"correlation-id": "{{ header:b }}"}, {"b": " é"}, {}, {"correlation-id": " é"}),
    ({"channel": "{{ header:b }}"}, {"b": " Live"}, {}, {"channel": " Live"}),
    ({"a": "{{ header:b }}"}, {"b": "x\r\ny: z"}, {}, ("error", "header.invalid")),
    # The operator may write it, as in a multi-line condition.
    ({"condition": "eq(a,1)\n"}, {}, {}, {"condition": "eq(a,1)\n"}),
    ({"ditto-sudo": "true", "Connection": "x", "etag": '"1"'}, {}, {}, {}),
]


@BOTH
@pytest.mark.parametrize(("mapping", "raw_headers", "own_headers", "expected"), INBOUND)
def test_inbound_cases(implementation, mapping, raw_headers, own_headers, expected):
    assert inbound(implementation, mapping, raw_headers, own_headers) == expected


@pytest.mark.parametrize("name", sorted(known.REFUSED))
def test_nothing_that_outsiders_may_not_set_can_be_mapped(name):
    assert inbound(fast, {name.upper(): "x", "y": "1"}, {}) == {"y": "1"}
    assert fast.InboundMapping(plans_of({name.upper(): "x", "y": "1"})).ignored == (name.upper(),)


def outbound(implementation, mapping, message, headers_of_signal=None):
    signal = Signal(None, headers=headers_of_signal or {})
    return outcome(implementation.OutboundMapping(plans_of(mapping)).apply([message], [signal])[0])


OUTBOUND = [
    ({"X": "1"}, {"x": "mapper"}, {"X": "1"}),
    ({"x": "1", "X": "2"}, {"a": "b"}, {"a": "b", "X": "2"}),
    ({"x": "{{ header:none }}"}, {"x": "stays"}, {"x": "stays"}),
    ({"ditto-originator": "{{ header:o }}"}, {}, {"ditto-originator": "me"}),
    ({"x": "{{ header:bad }}"}, {}, ("error", "header.invalid")),
    ({}, {"x": "a\0"}, ("error", "header.invalid")),
    ({"x": "1"}, {"x\r\ny": "a"}, ("error", "header.invalid")),
    ({"x": "a\nb"}, {}, ("error", "header.invalid")),
    ({"x": "{{ header:bad | fn:url-encode() }}"}, {}, {"x": "a%0Ab"}),
]


@BOTH
@pytest.mark.parametrize(("mapping", "message", "expected"), OUTBOUND)
def test_outbound_cases(implementation, mapping, message, expected):
    assert outbound(implementation, mapping, message, {"o": "me", "bad": "a\nb"}) == expected


def test_a_message_whose_headers_do_not_change_keeps_its_dict():
    messages = [{"content-type": "x"}, {}]
    signals = [Signal(None), Signal(None)]
    for mapping in ({}, {"a": "{{ header:none }}"}):
        results = fast.OutboundMapping(plans_of(mapping)).apply(messages, signals)
        assert all(result is message for result, message in zip(results, messages, strict=True))


def test_one_bad_message_costs_the_others_nothing():
    mapping = plans_of({"a": "{{ header:b | fn:base64-decode() }}", "timeout": "{{ header:t }}"})
    raw_headers = [{"b": "YQ"}, {"b": "%"}, {"t": "x"}, {"b": "YQ", "t": "1"}]
    signals = [Signal(None) for _ in raw_headers]
    codes = [x and x.code for x in fast.InboundMapping(mapping).apply(raw_headers, signals)]
    assert codes == [None, "placeholder:placeholder.notresolvable", "timeout.invalid", None]
    assert [s.headers for s in signals] == [{"a": "a"}, {}, {}, {"a": "a", "timeout": "1"}]
    senders = [Signal(None, headers=each) for each in raw_headers]
    results = fast.OutboundMapping(mapping).apply([{} for _ in senders], senders)
    assert [outcome(r) for r in results] == [
        {"a": "a"},
        ("error", "placeholder:placeholder.notresolvable"),
        {"timeout": "x"},
        {"a": "a", "timeout": "1"},
    ]


@BOTH
def test_lists_of_different_lengths_are_refused(implementation):
    for made in (implementation.InboundMapping({}), implementation.OutboundMapping({})):
        with pytest.raises(ValueError, match=r"1 .*signals|argument"):
            made.apply([{}], [])


@pytest.mark.parametrize("given", [None, "x", {}], ids=repr)
def test_what_is_no_signal_is_refused(given: Any) -> None:
    mapping = {"a": parse("{{ header:x }}", Scope.SIGNAL)}
    with pytest.raises(TypeError):
        fast.InboundMapping(mapping).apply([{}], [given])
    with pytest.raises(TypeError):
        fast.OutboundMapping(mapping).apply([{}], [given])


@pytest.mark.parametrize("given", [None, "x", [("x", "1")]], ids=repr)
def test_what_are_no_headers_is_refused(given: Any) -> None:
    mapping = {"a": parse("{{ header:x }}", Scope.SIGNAL)}
    with pytest.raises(TypeError):
        fast.InboundMapping(mapping).apply([given], [bare()])
    with pytest.raises(TypeError):
        fast.OutboundMapping(mapping).apply([given], [bare()])


@pytest.mark.parametrize("given", [{1: "x"}, {None: "x"}, {"x": 1}, {"x": b"1"}, {"x": None}])
def test_headers_that_are_no_text_are_refused(given: Any) -> None:
    mapping = {"a": parse("{{ header:x }}", Scope.SIGNAL)}
    with pytest.raises(TypeError):
        fast.OutboundMapping(mapping).apply([given], [bare()])


def bare() -> Signal:
    return Signal(parse_topic("a/b/things/twin/events/modified"))
