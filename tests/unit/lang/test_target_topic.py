"""A target topic is taken apart, or refused with the reason."""

from __future__ import annotations

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from streamproc.errors import ExpressionError
from streamproc.lang import target_topic
from streamproc.lang.rql_plan import Compare

EVENTS = "_/_/things/twin/events"


def test_all_parts_of_a_topic() -> None:
    text = f"{EVENTS}?namespaces=a,b.c&filter=gt(attributes/x,4)&extraFields=attributes,features/f"
    topic = target_topic.parse(text)
    assert topic.raw == text
    assert topic.topic == EVENTS
    assert (topic.kind, topic.group, topic.channel, topic.criterion) == (
        "twin-events",
        "things",
        "twin",
        "events",
    )
    assert topic.namespaces == ("a", "b.c")
    assert topic.filter == "gt(attributes/x,4)"
    assert topic.plan is not None
    assert isinstance(topic.plan.root, Compare)
    assert topic.extra_fields is not None
    assert topic.extra_fields.pointers == ("/attributes", "/features/f")
    assert topic.ignored == ()


@pytest.mark.parametrize("name", target_topic.TOPICS)
def test_a_bare_topic_takes_all(name: str) -> None:
    topic = target_topic.parse(name)
    assert topic.topic == name
    assert topic.kind == target_topic.TOPICS[name].name
    assert (topic.namespaces, topic.filter, topic.plan, topic.extra_fields) == (
        (),
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("query", "namespaces", "ignored"),
    [
        ("namespaces=", (), ()),
        ("namespaces", (), ()),
        ("&&", (), ()),
        ("namespaces=a,,", ("a",), ()),
        ("namespaces=,a", ("", "a"), ()),
        ("namespaces=%61+b", ("a b",), ()),
        ("n%61mespaces=a", ("a",), ()),
        ("filtr=x&namespaces=a", ("a",), ("filtr",)),
    ],
)
def test_parameters_are_decoded_and_unknown_ones_noted(
    query: str, namespaces: tuple[str, ...], ignored: tuple[str, ...]
) -> None:
    topic = target_topic.parse(f"{EVENTS}?{query}")
    assert topic.namespaces == namespaces
    assert topic.ignored == ignored


def test_what_a_kind_does_not_know_is_left_out_and_noted() -> None:
    policies = target_topic.parse(
        "_/_/policies/announcements?namespaces=a&filter=eq(&extraFields=attributes"
    )
    assert (policies.namespaces, policies.filter, policies.extra_fields) == (("a",), None, None)
    assert policies.ignored == ("filter", "extraFields")
    connections = target_topic.parse("_/_/connections/announcements?namespaces=a")
    assert connections.namespaces == ()
    assert connections.ignored == ("namespaces",)


def test_a_plus_in_a_filter_is_a_blank_unless_it_is_written_as_a_code() -> None:
    topic = target_topic.parse(f"{EVENTS}?filter=gt(_modified,time:now%2B1h)")
    assert topic.filter == "gt(_modified,time:now+1h)"
    with pytest.raises(ExpressionError) as caught:
        target_topic.parse(f"{EVENTS}?filter=gt(_modified,time:now+1h)")
    assert caught.value.code == "rql.expression.invalid"
    assert "write %2B" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "code", "position", "hint"),
    [
        ("", "connectivity:topic.invalid", 0, "possible are"),
        ("_/_/things/twin/event", "connectivity:topic.invalid", 0, f"did you mean {EVENTS}?"),
        (f"{EVENTS}/", "connectivity:topic.invalid", 0, f"did you mean {EVENTS}?"),
        (f"{EVENTS}?filter=%zz", "connectivity:topic.invalid", 30, "%25"),
        (f"{EVENTS}?namespaces=a&filter=%", "connectivity:topic.invalid", 43, "%25"),
        (f"{EVENTS}?filter=%ff", "connectivity:topic.invalid", 30, ""),
        (f"{EVENTS}?namespaces=a&namespaces=b", "connectivity:topic.invalid", 36, "join"),
        (f"{EVENTS}?filter=", "rql.expression.invalid", 0, "operators are"),
        (f"{EVENTS}?filter=eq(attributes/a", "rql.expression.invalid", 15, ""),
        (f"{EVENTS}?filter=eq(header:x,1)", "rql.expression.invalid", 3, "placeholders"),
        (f"{EVENTS}?extraFields=attribute", "things:field.selection.invalid", 0, "attributes?"),
        (f"{EVENTS}?extraFields=thingId,", "things:field.selection.invalid", 8, "possible are"),
        (f"{EVENTS}?extraFields=features(a,b)", "things:field.selection.invalid", 0, "in full"),
        (f"{EVENTS}?extraFields=attributes//a", "json.pointer.invalid", 11, "slash"),
    ],
)
def test_a_bad_topic_is_refused_with_ditto_s_code(
    text: str, code: str, position: int | None, hint: str
) -> None:
    with pytest.raises(ExpressionError) as caught:
        target_topic.parse(text)
    assert caught.value.code == code
    assert caught.value.position == position
    assert hint in caught.value.hint
    assert bool(hint) == bool(caught.value.hint)


def test_without_the_check_any_filter_will_do() -> None:
    topic = target_topic.parse(f"{EVENTS}?filter=no(filter", check_filter=False)
    assert topic.filter == "no(filter"
    assert topic.plan is None


@given(st.text("namespcfiltrxFdAO=&?%+26,/ä", max_size=40))
def test_any_query_gives_a_topic_or_an_error(query: str) -> None:
    codes = {
        *("connectivity:topic.invalid", "rql.expression.invalid"),
        *("things:field.selection.invalid", "json.fieldselector.invalid", "json.pointer.invalid"),
    }
    code = None
    try:
        target_topic.parse(f"{EVENTS}?{query}")
    except ExpressionError as error:
        code = error.code
    event(str(code))
    assert code is None or code in codes
