"""Templates parse to plans, or say where and why they do not."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from streamproc.errors import ExpressionError
from streamproc.lang import limits
from streamproc.lang.functions import FUNCTIONS
from streamproc.lang.plan import Call, FilterPlan, Pipeline, Source
from streamproc.lang.template import Scope, contains_placeholder, parse, parse_condition

UNRESOLVED = "placeholder:unresolved"
UNKNOWN = "placeholder:function.unknown"
SIGNATURE = "placeholder:function.signature.invalid"
TOO_COMPLEX = "placeholder:function.too.complex"
SIGNAL = Scope.SIGNAL


def refused(text, scope=SIGNAL):
    with pytest.raises(ExpressionError) as caught:
        parse(text, scope)
    return caught.value


def test_text_and_expressions_in_turn():
    plan = parse("a{{ header:b | fn:default('c') | fn:upper() }}{{thing:id}}d", SIGNAL)
    assert plan.pieces == (
        "a",
        Pipeline(
            Source("header", "b", any_case=True),
            (Call("default", ("c",)), Call("upper", ())),
            position=4,
        ),
        Pipeline(Source("thing:id", "id"), (), position=48),
        "d",
    )
    assert [source.kind for source in plan.sources] == ["header", "thing:id"]
    with pytest.raises(FrozenInstanceError):
        plan.text = ""  # type: ignore[misc]


@pytest.mark.parametrize(
    "text", ["", "a", "{ thing:id }", "{{ thing:id", "${thing:id", "}}{{", "$", "{{{", "${{", "{"]
)
def test_what_is_no_expression_is_text(text):
    plan = parse(text, SIGNAL)
    assert plan.constant == text
    assert plan.pieces == ((text,) if text else ())
    assert not contains_placeholder(text)


@pytest.mark.parametrize("text", ["{{thing:id}}", "${thing:id}", "a{{ x", "{{ ${thing:id}"])
def test_an_expression_is_found(text):
    assert contains_placeholder(text) == ("}" in text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("{{header:a}}", "a"),
        ("{{\t header:a\n}}", "a"),
        ("${ header:a }", "a"),
        ("{{ header:a:b }}", "a:b"),
        ("{{ header:nam{{e }}", "nam{{e"),
        ("{{ header: a }}", " a"),
        # Ditto cuts the name where it would begin if the prefix had no blank.
        ("{{ header :a }}", ":a"),
        ("{{ header:'a|b' }}", "'a|b'"),
        ("{{ header:a} }}", "a}"),
    ],
)
def test_where_a_header_name_begins_and_ends(text, name):
    [piece] = parse(text, SIGNAL).pieces
    assert isinstance(piece, Pipeline)
    assert piece.head == Source("header", name, any_case=True)


@pytest.mark.parametrize(
    ("text", "code", "position", "hint"),
    [
        ("a{{ heder:x }}", UNRESOLVED, 4, "did you mean header:?"),
        ("{{ thing:nam }}", UNRESOLVED, 3, "did you mean thing:name?"),
        ("{{ topic:entityname }}", UNRESOLVED, 3, "did you mean topic:entityName?"),
        ("{{ thing }}", UNRESOLVED, 3, "write thing:name"),
        ("{{ header: }}", UNRESOLVED, 3, ""),
        ("{{ }}", UNRESOLVED, 3, "allowed are "),
        ("{{}}", UNRESOLVED, 2, "write {{ header:name }}"),
        ("{{ header:a || fn:upper() }}", UNRESOLVED, 13, "write {{ header:name }}"),
        ("{{ header:a |}}", UNRESOLVED, 13, "write {{ header:name }}"),
        ("{{ header:a | fn:default('x) }}", UNRESOLVED, 25, "add '"),
        ("{{ header:a | fn:default(\"it's) }}", UNRESOLVED, 25, 'add "'),
        ("{{ time:now+1x }}", UNRESOLVED, 3, "write one of "),
        ("{{ thing-json:id }}", UNRESOLVED, 3, "write thing:id"),
        ("{{ thing-json:a//b }}", "json.pointer.invalid", 3, "leave one slash out"),
        ("{{ header:a | fn:lowwer() }}", UNKNOWN, 14, "did you mean fn:lower?"),
        ("{{ header:a | fn:LOWER() }}", UNKNOWN, 14, "did you mean fn:lower?"),
        ("{{ header:a | lower() }}", UNKNOWN, 14, "write fn:lower()"),
        ("{{ header:a | fn:lower }}", UNKNOWN, 14, "write fn:lower()"),
        ("{{ header:a | fn:lower () }}", UNKNOWN, 14, "write fn:lower()"),
        ("{{ header:a | }}", UNKNOWN, 14, "known are fn:default"),
        ("{{ header:a | fn:lower('x') }}", SIGNATURE, 23, "write fn:lower()"),
        ("{{ header:a | fn:lower()x }}", SIGNATURE, 22, "write fn:lower()"),
        ("{{ header:a | fn:split(header:b) }}", SIGNATURE, 23, "write fn:split(separator)"),
        ("{{ header:a | fn:split() }}", SIGNATURE, 22, "write fn:split(separator)"),
        ("{{ header:a | fn:split('a','b') }}", SIGNATURE, 27, "write fn:split(separator)"),
        ("{{ header:a | fn:split('a'b) }}", SIGNATURE, 26, "write fn:split(separator)"),
        ("{{ header:a | fn:default(b) }}", SIGNATURE, 25, "write fn:default(value)"),
        ("{{ header:a | fn:default(header:b c) }}", SIGNATURE, 25, "write fn:default(value)"),
        ("{{ header:a | fn:default(,'x') }}", SIGNATURE, 25, "write fn:default(value)"),
        ("{{ header:a | fn:default('x',) }}", SIGNATURE, 29, "write fn:default(value)"),
        ("{{ header:a | fn:default(fn:lower()) }}", SIGNATURE, 25, "write fn:default(value)"),
        ("{{ header:a | fn:default(thing:x) }}", UNRESOLVED, 25, "known are thing:id"),
        ("{{ header:a | fn:replace('a') }}", SIGNATURE, 24, "write fn:replace(from, to)"),
        ("{{ header:a | fn:replace('a','b','c') }}", SIGNATURE, 33, "write fn:replace(from, to)"),
        ("{{ header:a | fn:filter('exists') }}", SIGNATURE, 23, "write fn:filter("),
        ("{{ header:a | fn:filter('a','b','c','d') }}", SIGNATURE, 36, "write fn:filter("),
        ("{{ header:a | fn:format('{#a}') }}", SIGNATURE, 14, "add {/a}"),
        ("{{ header:a | fn:format('{a//b}') }}", SIGNATURE, 14, "leave one slash out"),
    ],
)
def test_errors_say_where_and_what_to_do(text, code, position, hint):
    error = refused(text)
    assert (error.code, error.position) == (code, position)
    assert error.hint.startswith(hint) if hint else error.hint == ""
    assert str(error) == str(error).rstrip(".")


def test_ten_functions_and_no_more():
    parse("{{ header:a" + " | fn:lower()" * 10 + " }}", SIGNAL)
    parse("{{ fn:delete()" + " | fn:lower()" * 10 + " }}", SIGNAL)
    assert refused("{{ header:a" + " | fn:lower()" * 11 + " }}").code == TOO_COMPLEX
    assert refused("{{ fn:delete()" + " | fn:lower()" * 11 + " }}").code == TOO_COMPLEX
    # Said before anything else is looked at.
    assert refused("{{ nothing:a" + " | fn:nothing()" * 11 + " }}").code == TOO_COMPLEX


def test_arguments_may_hold_what_separates_and_blanks():
    [piece] = parse(
        "{{ header:a | fn:filter( 'a|b,c)' ,\"eq\",\nheader:x|y }}".replace("|y", ") "), SIGNAL
    ).pieces
    assert isinstance(piece, Pipeline)
    assert piece.calls[0].detail == FilterPlan("a|b,c)", "eq", Source("header", "x", any_case=True))


def test_a_quote_after_a_backslash_does_not_end_a_text():
    [piece] = parse(r"{{ header:a | fn:default('it\'s') }}", SIGNAL).pieces
    assert isinstance(piece, Pipeline)
    assert piece.calls[0].arguments == (r"it\'s",)


@pytest.mark.parametrize(
    ("arguments", "plan"),
    [
        ("'eq','x'", FilterPlan(None, "eq", "x")),
        ("'x','exists'", FilterPlan("x", "exists", None)),
        ("'x','exists','true'", FilterPlan("x", "exists", "true")),
        ("'exists','exists'", FilterPlan("exists", "exists", None)),
        # A header's value is never taken for the word exists.
        ("'eq',header:x", FilterPlan(None, "eq", Source("header", "x", any_case=True))),
    ],
)
def test_the_text_decides_which_form_a_filter_has(arguments, plan):
    [piece] = parse(f"{{{{ header:a | fn:filter({arguments}) }}}}", SIGNAL).pieces
    assert isinstance(piece, Pipeline)
    assert piece.calls[0].detail == plan


@pytest.mark.parametrize(
    ("scope", "good", "bad"),
    [
        (Scope.AUTHORIZATION_CONTEXT, "header:a", "thing:id"),
        (Scope.ADDRESS_OF_SOURCE, None, "header:a"),
        (Scope.ENFORCEMENT_INPUT, "header:a", "source:address"),
        (Scope.ENFORCEMENT_INPUT_MQTT, "source:address", "header:a"),
        (Scope.ENFORCEMENT_INPUT_MQTT5, "source:address", "thing:id"),
        (Scope.ENFORCEMENT_FILTER, "policy:id", "header:a"),
        (Scope.ENFORCEMENT_FILTER, "feature:id", "feature:name"),
        (Scope.ENFORCEMENT_FILTER_MQTT, "entity:id", "feature:id"),
        (SIGNAL, "thing-json:attributes/a", "policy:id"),
        (SIGNAL, "connection:id", "source:address"),
        (Scope.ACK_LABEL, "connection:id", "thing:id"),
        (Scope.MQTT_SOURCE_HEADERS, "header:mqtt.qos", "header:device"),
        (Scope.MQTT_TARGET_HEADERS, "header:device", "thing:id"),
        (Scope.MAPPER, "time:now", "thing:id"),
        (Scope.CONNECTION_STATUS, "header:a", "request:subjectId"),
    ],
)
def test_a_scope_knows_some_placeholders(scope, good, bad):
    if good is not None:
        parse(f"{{{{ {good} }}}}", scope)
    assert refused(f"{{{{ {bad} }}}}", scope).code == UNRESOLVED
    # Also where it is an argument.
    if scope.prefixes:
        assert refused(f"{{{{ fn:default({bad}) }}}}", scope).code == UNRESOLVED


def test_the_connection_id_becomes_text():
    assert parse("a{{connection:id}}b", SIGNAL, connection_id="c").pieces == ("acb",)
    [piece] = parse("{{ fn:default(connection:id) }}", SIGNAL, connection_id="c").pieces
    assert isinstance(piece, Pipeline)
    assert piece.calls[0].arguments == ("c",)
    [piece] = parse("{{connection:id}}", SIGNAL).pieces
    assert isinstance(piece, Pipeline)
    assert piece.head == Source("never", "id")


def test_a_condition_stands_behind_a_value():
    plan = parse_condition("fn:filter(header:a,'eq','}}') | fn:default('x')", SIGNAL)
    [piece] = plan.pieces
    assert isinstance(piece, Pipeline)
    assert piece.head == "true"
    assert [call.function for call in piece.calls] == ["filter", "default"]
    with pytest.raises(ExpressionError) as caught:
        parse_condition("header:a", SIGNAL)
    assert caught.value.code == UNKNOWN
    with pytest.raises(ExpressionError) as caught:
        parse_condition("", SIGNAL)
    assert caught.value.code == UNRESOLVED


def test_limits():
    parse("x" * limits.MAX_TEMPLATE, SIGNAL)
    assert refused("x" * (limits.MAX_TEMPLATE + 1)).code == TOO_COMPLEX
    with pytest.raises(ExpressionError):
        parse_condition("x" * (limits.MAX_TEMPLATE + 1), SIGNAL)
    parse("{{thing:id}}" * limits.MAX_PIPELINES, SIGNAL)
    assert refused("{{thing:id}}" * (limits.MAX_PIPELINES + 1)).code == TOO_COMPLEX
    pattern = "x" * (limits.MAX_LIKE + 1)
    assert refused(f"{{{{ header:a | fn:filter('like','{pattern}') }}}}").code == SIGNATURE
    parse(f"{{{{ header:a | fn:filter('eq','{pattern}') }}}}", SIGNAL)


@pytest.mark.parametrize(
    "text",
    [
        "{{" * (limits.MAX_TEMPLATE // 2),
        "${" * (limits.MAX_TEMPLATE // 2),
        "{{" + "'" * (limits.MAX_TEMPLATE - 4) + "}}",
        "{{ header:a | fn:default(" + "'\\" * 8000 + ") }}",
        "{{ header:a | fn:format('" + "{#a" * 5000 + "') }}",
        "{{ header:a | fn:format('" + "{#a}" * 1000 + "') }}",
        "{{ header:a | fn:format('" + "{#a}" * 15 + "x" + "{/a}" * 15 + "') }}",
    ],
)
def test_no_template_takes_long(text):
    started = time.process_time()
    with suppress(ExpressionError):
        parse(text, SIGNAL)
    assert time.process_time() - started < 2  # seconds; some milliseconds where all is well


SNIPPETS = ["{{", "}}", "${", "}", "|", "'", '"', "\\", "(", ")", ",", ":", " ", "fn:", "header:"]
pieces = st.one_of(
    st.sampled_from(SNIPPETS),
    st.sampled_from([f"fn:{name}(" for name in FUNCTIONS]),
    st.sampled_from(["thing:id", "time:now", "{{ header:a }}", "'x'", "thing-json:a"]),
    st.text(max_size=3),
)


@given(st.lists(pieces, max_size=12).map("".join))
def test_any_text_parses_or_is_refused_with_a_place_inside_it(text):
    error = None
    try:
        plan = parse(text, SIGNAL)
    except ExpressionError as found:
        error = found
    if error is None:
        event("constant" if plan.constant is not None else "expressions")
        assert plan.text == text
    else:
        event(error.code)
        assert error.position is not None
        assert 0 <= error.position <= len(text)
        assert error.status == 400
