"""The template kernel equals its reference: same values, or the same error."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from streamproc.errors import ExpressionError, SignalError
from streamproc.kernels import template as fast
from streamproc.kernels.signal import Signal
from streamproc.lang import limits
from streamproc.lang.functions import FUNCTIONS
from streamproc.lang.template import Scope, parse
from streamproc.protocol.topic import parse as parse_topic
from tests.kernels.scenes import (
    NOW,
    PLACEHOLDERS,
    bare_signals,
    headers,
    outcome,
    signals,
    templates,
    through,
)
from tests.reference import template as slow

BOTH = pytest.mark.parametrize("implementation", [slow, fast], ids=["reference", "kernel"])
SIGNAL = Scope.SIGNAL
messages = st.lists(st.tuples(headers, signals()), min_size=1, max_size=3)
bare_messages = st.lists(st.tuples(headers, bare_signals()), min_size=1, max_size=3)


def kind(result):
    if isinstance(result, SignalError):
        return result.code
    if not result:
        return "unresolved" if result is None else "deleted"
    return "one value" if len(result) == 1 else "several values"


def assert_same(text, batch):
    """The outcomes, if the template is one."""
    try:
        plan = parse(text, SIGNAL, connection_id="conn")
    except ExpressionError as error:
        event(f"refused: {error.code}")
        return
    raw, of = [each[0] for each in batch], [each[1] for each in batch]
    expected = slow.Template(plan).all(raw, of, NOW)
    for result in expected:
        event(kind(result))
    kernel = fast.Template(plan)
    assert list(map(outcome, kernel.all(raw, of, NOW))) == list(map(outcome, expected))
    assert list(map(outcome, kernel.first(raw, of, NOW))) == list(
        map(outcome, slow.Template(plan).first(raw, of, NOW))
    )
    assert kernel.constant == slow.Template(plan).constant


@given(text=templates, batch=messages)
@settings(max_examples=300, deadline=None)
def test_kernel_and_reference_give_the_same(text, batch):
    assert_same(text, batch)


@pytest.mark.parametrize("name", FUNCTIONS)
@given(data=st.data(), batch=bare_messages)
@settings(max_examples=60, deadline=None)
def test_each_function_gives_the_same(name, data, batch):
    assert_same(data.draw(through(name)), batch)


@pytest.mark.parametrize("name", PLACEHOLDERS)
@given(batch=messages)
@settings(max_examples=15, deadline=None)
def test_each_placeholder_gives_the_same(name, batch):
    assert_same(f"{{{{ {name} }}}}", batch)


@given(text=templates, raw=headers)
@settings(max_examples=100, deadline=None)
def test_kernel_and_reference_give_the_same_without_signals(text, raw):
    try:
        plan = parse(text, SIGNAL)
    except ExpressionError:
        return
    assert list(map(outcome, fast.Template(plan).all([raw], None, NOW))) == list(
        map(outcome, slow.Template(plan).all([raw], None, NOW))
    )


def one(implementation, text, raw=None, signal=None, scope=SIGNAL):
    return implementation.Template(parse(text, scope)).all([raw or {}], [signal or Signal(None)])[0]


CASES = [
    ("", {}, ("",)),
    ("a", {}, ("a",)),
    ("x/{{ header:id | fn:lower() }}/up", {"id": "AB"}, ("x/ab/up",)),
    ("{{ header:id }}", {}, None),
    ("{{ header:id | fn:delete() }}", {"id": "1"}, ()),
    ("{{ fn:delete() }}{{ header:id }}", {}, None),
    ("{{ header:Id }}", {"Id": "exact", "id": "lower", "ID": "upper"}, ("exact",)),
    ("{{ header:Id }}", {"id": "lower", "ID": "upper"}, ("lower",)),
    ("{{ header:Id }}", {"ID": "upper"}, ("upper",)),
    ("{{ header:Id }}", {"ID": "upper", "iD": "other"}, None),
    ("{{ header:straße }}", {"STRAßE": "ascii letters only"}, ("ascii letters only",)),
    ("{{ header:é }}", {"É": "not ascii"}, None),
    ("{{ header:a[ }}", {"a{": "no letter"}, None),
    ("{{ header:a{ }}", {"a[": "no letter"}, None),
    ("{{ header:a@ }}", {"a`": "no letter"}, None),
    ("{{ header:aZ }}", {"Az": "the last letter"}, ("the last letter",)),
    ("{{ header:a | fn:split(',') }}-{{ header:b | fn:split(',') }}",
     {"a": "1,2", "b": "x,y"}, ("1-x", "1-y", "2-x", "2-y")),
    ("{{ header:a | fn:split(',') }}", {"a": ",,"}, None),
    ("{{ header:a | fn:filter('like','a?c') }}", {"a": "a\nc"}, None),
    ("{{ header:a | fn:filter('like','*|x') }}", {"a": "a\nc"}, None),
    ("{{ fn:filter(header:a,'eq','1') | fn:default('no') }}", {"a": "1"}, ("no",)),
    # What a message says never becomes the operator of the short form.
    ("{{ header:a | fn:filter('eq',header:b) }}", {"a": "x", "b": "exists"}, None),
    ("{{ header:a | fn:filter(header:op,'x') }}", {"a": "x", "op": "eq"}, ("x",)),
    ("{{ header:a | fn:filter(header:op,'x') }}", {"a": "x"}, None),
    ("{{ header:a | fn:filter(header:a,'exists','TRUE') }}", {"a": "x"}, ("x",)),
    ("{{ header:a | fn:filter(header:b,'exists','no') }}", {"a": "x"}, ("x",)),
    ("{{ header:a | fn:filter(header:b,'exists',header:c) }}", {"a": "x", "b": "y"}, None),
    ("{{ header:a | fn:filter(header:b,'eq',header:c) }}", {"a": "x"}, ("x",)),
    ("{{ header:a | fn:trim() }}", {"a": "\x01 \u00a0a\u2028\n\0"}, ("\u00a0a\u2028",)),
    ("{{ header:a | fn:lower() }}", {"a": "ΑΣ İ"}, ("ας i̇",)),
    ("{{ header:a | fn:upper() }}", {"a": "ß"}, ("SS",)),
    # What was deleted stays so through every stage but this one.
    ("{{ header:a | fn:delete() | fn:format('{x}') }}", {"a": "{}"}, ("",)),
    ("{{ header:a | fn:delete() | fn:format('{x}') | fn:upper() }}", {"a": "{}"}, ("",)),
    ("{{ header:a | fn:delete() | fn:upper() | fn:default('x') }}", {"a": "{}"}, ()),
]  # fmt: skip


@BOTH
@pytest.mark.parametrize(("text", "raw", "expected"), CASES)
def test_cases(implementation, text, raw, expected):
    assert one(implementation, text, raw) == expected


ERRORS = [
    ("{{ header:a | fn:base64-decode() }}", "placeholder:placeholder.notresolvable"),
    ("{{ header:a | fn:url-decode() }}", "placeholder:placeholder.notresolvable"),
    ("{{ header:a | fn:replace('a',header:b) }}", "placeholder:function.signature.invalid"),
    ("{{ header:a | fn:filter('a',header:b,'c') }}", "placeholder:function.signature.invalid"),
]


@BOTH
@pytest.mark.parametrize(("text", "code"), ERRORS)
def test_one_bad_message_costs_the_others_nothing(implementation, text, code):
    template = implementation.Template(parse(f"{text}{{{{ header:ok }}}}", SIGNAL))
    good = {"a": "YQ==", "b": "eq", "ok": "!"}
    bad = {"a": "%%%", "ok": "!"}
    for results in (template.first([good, bad, good]), template.all([bad, good])):
        errors = [result for result in results if isinstance(result, SignalError)]
        assert [error.code for error in errors] == [code]
        assert sum(not isinstance(result, SignalError) for result in results) == len(results) - 1


@BOTH
def test_what_is_unresolved_hides_no_error(implementation):
    template = implementation.Template(
        parse("{{ header:none }}-{{ header:a | fn:base64-decode() }}", SIGNAL)
    )
    for [result] in (template.first([{"a": "%"}]), template.all([{"a": "%"}])):
        assert outcome(result) == ("error", "placeholder:placeholder.notresolvable")


FEATURES = {"features": {"f": {}, "g": None}}
MODIFIED = "a/b/things/twin/events/modified"
PLACES = [
    ("feature:id", MODIFIED, "/features/x~0/properties/y", 1, ("x~",)),
    ("feature:id", MODIFIED, "/features", FEATURES["features"], ("f", "g")),
    ("feature:id", MODIFIED, "/", FEATURES, ("f", "g")),
    ("feature:id", MODIFIED, "/", {"features": None}, None),
    ("feature:id", MODIFIED, "/", {"features": {}}, None),
    ("feature:id", MODIFIED, "/attributes/features", FEATURES, None),
    ("feature:id", "a/b/things/twin/commands/merge", "/", FEATURES, ("f", "g")),
    ("feature:id", "a/b/things/twin/commands/retrieve", "/", FEATURES, None),
    ("feature:id", "a/b/things/twin/commands/retrieve", "/features", FEATURES["features"], None),
    ("feature:id", "a/b/things/twin/commands/retrieve", "/features/x", 1, ("x",)),
    ("feature:id", "a/b/things/twin/errors", "/", FEATURES, None),
    ("feature:id", "a/b/things/live/messages/m", "/features/x/inbox/messages/m", 1, ("x",)),
    ("feature:id", "a/b/policies/commands/modify", "/features/x", 1, None),
    ("thing:id", MODIFIED, "/", 1, ("a:b",)),
    ("thing:name", "a/b/policies/commands/modify", "/", 1, None),
    ("thing:id", "_/_/things/twin/commands/retrieve", "/", 1, None),
    ("entity:namespace", "a/b/policies/commands/modify", "/", 1, ("a",)),
    ("entity:id", "_/c/connections/announcements/opened", "/", 1, None),
    ("resource:type", MODIFIED, "/features/x", 1, ("thing",)),
    ("resource:type", "a/b/things/live/messages/m", "/inbox/messages/m", 1, ("message",)),
    ("resource:type", "a/b/policies/commands/modify", "/", 1, ("policy",)),
    ("resource:path", MODIFIED, "/attributes/x", 1, ("/attributes/x",)),
    ("topic:action", MODIFIED, "/", 1, ("modified",)),
    ("topic:action", "a/b/things/twin/search/subscribe", "/", 1, None),
    ("topic:action-subject", "a/b/things/live/messages/m/n", "/", 1, ("m/n",)),
    ("topic:subject", MODIFIED, "/", 1, None),
    ("topic:channel", "a/b/policies/commands/modify", "/", 1, ("none",)),
    ("thing-json:attributes/x", MODIFIED, "/attributes/x", [1, "a", None], ("1", "a", "null")),
    ("thing-json:attributes/x", MODIFIED, "/attributes/x", [], None),
    ("thing-json:attributes", MODIFIED, "/attributes/x", True, ('{"x":true}',)),
    ("thing-json:attributes/x", "a/b/things/twin/commands/modify", "/attributes/x", 1, None),
    ("thing-json:attributes/x/0", MODIFIED, "/attributes/x", [1], None),
]


@BOTH
@pytest.mark.parametrize(("name", "topic", "path", "value", "expected"), PLACES)
def test_placeholders(implementation, name, topic, path, value, expected):
    signal = Signal(parse_topic(topic), path, value=value)
    assert one(implementation, f"{{{{ {name} }}}}", {}, signal) == expected
    [first] = implementation.Template(parse(f"{{{{ {name} }}}}", SIGNAL)).first([{}], [signal])
    assert first == (expected[0] if expected else None)


def test_an_error_keeps_no_frame_alive():
    plan = parse("{{ header:a | fn:base64-decode() }}", SIGNAL)
    assert fast.Template(plan).first([{"a": "%"}])[0].__traceback__ is None


def test_names_are_exact_where_the_scope_says_so():
    plan = parse("{{ header:Id }}", Scope.AUTHORIZATION_CONTEXT)
    assert fast.Template(plan).first([{"Id": "1"}, {"id": "2"}, {"ID": "3"}]) == ["1", None, None]


def test_a_feature_never_resolves_in_an_enforcement_filter():
    plan = parse("{{ feature:id }}", Scope.ENFORCEMENT_FILTER)
    signal = Signal(parse_topic("a/b/things/twin/events/modified"), "/features/f")
    assert fast.Template(plan).all([{}], [signal]) == [None]


def test_the_connection_id_is_text_before_any_message():
    plan = parse("{{ connection:id | fn:upper() }}:{{connection:id}}", SIGNAL, connection_id="c")
    assert fast.Template(plan).constant == "C:c"
    assert fast.Template(parse("x-{{connection:id}}", SIGNAL, connection_id="c")).plan.pieces == (
        "x-c",
    )


@BOTH
@pytest.mark.parametrize("text", ["{{ fn:delete() }}", "{{ fn:upper() }}", "{{ feature:id }}"])
def test_what_gives_no_text_is_no_constant(implementation, text):
    assert implementation.Template(parse(text, SIGNAL)).constant is None


def test_one_batch_has_one_time():
    plan = parse("{{ time:now_epoch_millis }}", SIGNAL)
    before = datetime.now(UTC)
    found = fast.Template(plan).first([{}] * 1000)
    assert len(set(found)) == 1
    assert int(before.timestamp() * 1000) <= int(found[0])
    assert int(found[0]) <= datetime.now(UTC).timestamp() * 1000


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ("{{ header:a }}", {"a": 1}),
        ("{{ header:a }}-{{ header:b }}", {"a": b"x", "b": ""}),
        ("{{ header:A | fn:trim() }}", {"a": 1}),
        ("{{ header:AA }}", {"aA": 1}),
        ("{{ request:subjectId | fn:join(',') }}", {}),
    ],
)
def test_what_is_no_text_is_told_before_it_is_read(text, raw):
    """Characters are read without another look, so this would be memory of somebody else."""
    signal = Signal(None)
    signal.subjects = ("a", 1)
    for run in (fast.Template(parse(text, SIGNAL)).first, fast.Template(parse(text, SIGNAL)).all):
        with pytest.raises(TypeError, match="Expected str"):
            run([raw], [signal])


def test_lists_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="2 messages and 1 signals"):
        fast.Template(parse("a", SIGNAL)).first([{}, {}], [Signal(None)])


TOO_MUCH = [
    ("{{ header:a | fn:replace('',header:a) }}", "a" * 2000),
    ("{{ header:a | fn:split('') | fn:replace('',header:a) }}", "ab" * 900),
    ("{{ header:a | fn:split('') }}", "a" * (limits.MAX_VALUES + 1)),
    ("{{ header:a | fn:split(',') }}{{ header:a | fn:split(',') }}", "a," * 200),
    ("{{ header:a | fn:url-encode() }}", "𝄞" * (limits.MAX_RESULT // 12 + 1)),
    ("{{ header:a | fn:base64-encode() }}", "a" * limits.MAX_RESULT),
    ("{{ header:a | fn:split(',') | fn:join('" + "-" * 200 + "') }}", "a," * 9999),
    ("{{ header:a | fn:format('{a}{a}{a}') }}", '{"a":[' + ",".join("1" * 30) + "]}"),
    ("{{ header:a | fn:format('{#a}{b}{b}{b}{/a}') }}",
     '{"a":[' + ",".join(['{"b":[' + ",".join("1" * 20) + "]}"] * 2) + "]}"),
    ("{{ header:a | fn:split('') | fn:filter(request:subjectId,'eq','x') }}", None),
    ("{{ header:a | fn:filter('like',header:a) }}", "?" * (limits.MAX_LIKE + 1)),
    ("{{ header:a }}{{ header:a }}", "a" * (limits.MAX_RESULT // 2 + 1)),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), TOO_MUCH)
def test_a_message_cannot_make_a_template_explode(text, value):
    signal = Signal(None)
    if value is None:
        value = "a"
        signal.subjects = tuple(map(str, range(limits.MAX_PAIRS + 1)))
    result = fast.Template(parse(text, SIGNAL)).all([{"a": value}], [signal])[0]
    assert isinstance(result, SignalError)
    assert result.code == "placeholder:function.too.complex"


def test_the_first_value_of_a_product_needs_no_product():
    text = "{{ header:a | fn:split(',') }}" * 3
    raw = {"a": ",".join("x" * 1000)}
    assert fast.Template(parse(text, SIGNAL)).first([raw]) == ["xxx"]


def test_deep_json_is_an_error_of_its_message_alone():
    plan = parse("{{ header:a | fn:format('{x}') }}", SIGNAL)
    deep = '{"x":' + "[" * 400 + "]" * 400 + "}"
    deeper = '{"x":' + "[" * 100_000 + "]" * 100_000 + "}"
    results = fast.Template(plan).first([{"a": deep}, {"a": deeper}, {"a": '{"x":1}'}])
    assert outcome(results[0]) == ("error", "placeholder:placeholder.notresolvable")
    assert results[1:] == ["", "1"]


class TestSubjects:
    def test_constant_subjects_are_made_once(self):
        plans = [parse("integration:a", SIGNAL), parse("ditto:b", SIGNAL)]
        subjects = fast.Subjects(plans, 100)
        assert subjects.constant == ("integration:a", "ditto:b")
        first, second = subjects.expand([{}, {}])
        assert first is second is subjects.constant

    def test_every_value_is_a_subject_and_none_comes_twice(self):
        scope = Scope.AUTHORIZATION_CONTEXT
        plans = [parse("g:{{ header:a | fn:split(',') }}", scope), parse("g:x", scope)]
        found = fast.Subjects(plans, 100).expand([{"a": "x,y,x"}])
        assert found == [("g:x", "g:y")]

    @pytest.mark.parametrize(
        ("text", "code"),
        [
            ("{{ header:b }}", "placeholder:unresolved"),
            ("{{ header:a | fn:delete() }}", "placeholder:unresolved"),
            ("{{ header:a | fn:split('') }}", "headers.too.large"),
            ("{{ header:a | fn:base64-decode() }}", "placeholder:placeholder.notresolvable"),
        ],
    )
    def test_a_message_without_its_subjects_fails_alone(self, text, code):
        subjects = fast.Subjects([parse(text, Scope.AUTHORIZATION_CONTEXT)], 3)
        assert subjects.constant is None
        found = subjects.expand([{"a": "%abc"}, {"a": "YQ", "b": "1"}])
        assert outcome(found[0]) == ("error", code)
        assert isinstance(found[1], tuple) or "delete" in text
