"""A field selector names pointers, and takes those parts of a document."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from streamproc.errors import ExpressionError
from streamproc.kernels.signal import ABSENT
from streamproc.lang import pointer, selector

THING: dict[str, Any] = {
    "thingId": "a:b",
    "attributes": {"x": 1, "y": {"z": 2}, "n": None, "e": {}},
    "features": {
        "f": {"properties": {"p": 1, "q": 2}},
        "g": {"properties": {"p": 3}, "definition": ["d"]},
        "*": {"properties": {"p": 4}},
    },
}


@pytest.mark.parametrize(
    ("text", "pointers"),
    [
        ("", ()),
        ("thingId", ("/thingId",)),
        ("/thingId,thingId/", ("/thingId",)),
        ("a(b,c(d/e,f)),g", ("/a/b", "/a/c/d/e", "/a/c/f", "/g")),
        ("a(/b)", ("/a/b",)),
        ("a()", ("/a",)),
        ("a,,b", ("/a", "/", "/b")),
        (" a", ("/ a",)),
        (
            "features/{{ fn:default('x,y(z)') }}/p,b",
            ("/features/{{ fn:default('x,y(z)') }}/p", "/b"),
        ),
        ("features({{feature:id}}/p,b)", ("/features/{{feature:id}}/p", "/features/b")),
    ],
)
def test_a_selector_is_its_pointers_each_once(text: str, pointers: tuple[str, ...]) -> None:
    parsed = selector.parse(text)
    assert parsed.pointers == pointers
    assert parsed.has_placeholders == ("{{" in text)


@pytest.mark.parametrize(
    ("text", "position"),
    [("a(b", 3), ("a)b", 1), (")(", 0), ("a(b)c", 4), ("a(b)(c)", 4), ("(" * 40 + ")" * 40, 33)],
)
def test_parentheses_must_match(text: str, position: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        selector.parse(text)
    assert caught.value.code == "json.fieldselector.invalid"
    assert caught.value.position == position


def test_a_bad_pointer_in_a_selector_has_its_place_in_the_whole() -> None:
    for parse, text in (
        (selector.parse, "a(b,c//d)"),
        (selector.parse_extra_fields, "thingId,attributes//d"),
    ):
        with pytest.raises(ExpressionError) as caught:
            parse(text)
        assert caught.value.code == "json.pointer.invalid"
        assert caught.value.position == text.index("//") + 1


def test_a_selector_has_limits() -> None:
    fields = [f"a{each}" for each in range(selector.MAX_POINTERS)]
    assert len(selector.parse(",".join(fields)).keys) == selector.MAX_POINTERS
    for text in (",".join([*fields, "b"]), "a" * (selector.MAX_LENGTH + 1), "(" * 5_000):
        with pytest.raises(ExpressionError):
            selector.parse(text)
    thing_fields = ",".join(f"attributes/{each}" for each in fields)
    assert len(selector.parse_extra_fields(thing_fields).keys) == selector.MAX_POINTERS
    for text in (thing_fields + ",thingId", "attributes/" + "a" * selector.MAX_LENGTH):
        with pytest.raises(ExpressionError):
            selector.parse_extra_fields(text)


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("", {}),
        ("missing", {}),
        ("attributes/missing", {}),
        ("attributes/x/deeper", {}),
        ("attributes/x,thingId", {"thingId": "a:b", "attributes": {"x": 1}}),
        ("attributes/y/z,attributes/y", {"attributes": {"y": {"z": 2}}}),
        ("attributes/y,attributes/y/z", {"attributes": {"y": {"z": 2}}}),
        ("attributes(n,e)", {"attributes": {"n": None, "e": {}}}),
        (
            "features/*/properties/p",
            {
                "features": {
                    "f": {"properties": {"p": 1}},
                    "g": {"properties": {"p": 3}},
                    "*": {"properties": {"p": 4}},
                }
            },
        ),
        (
            "features/*/definition,features/f",
            {"features": {"f": THING["features"]["f"], "g": {"definition": ["d"]}}},
        ),
        (
            "features/*/properties/p,features/g/definition",
            {
                "features": {
                    "f": {"properties": {"p": 1}},
                    "g": {"properties": {"p": 3}, "definition": ["d"]},
                    "*": {"properties": {"p": 4}},
                }
            },
        ),
        ("attributes/*", {}),
    ],
)
def test_the_wanted_parts_are_selected(text: str, selected: dict[str, Any]) -> None:
    before = copy.deepcopy(THING)
    assert selector.parse(text).select(THING) == selected
    assert before == THING


def test_without_wildcards_a_star_is_a_name() -> None:
    wanted = selector.parse("features/*/properties/p")
    assert wanted.select(THING, wildcards=False) == {"features": {"*": {"properties": {"p": 4}}}}


names = st.sampled_from(["a", "b", "features"])
documents = st.dictionaries(
    names,
    st.recursive(
        st.sampled_from([None, 1, "x", []]),
        lambda inner: st.dictionaries(names, inner, max_size=3),
        max_leaves=6,
    ),
)


@given(ways=st.lists(st.lists(names, min_size=1, max_size=3).map(tuple)), document=documents)
def test_what_is_selected_is_what_each_pointer_finds_and_no_more(
    ways: list[tuple[str, ...]], document: dict[str, Any]
) -> None:
    selected = selector.parse(",".join(map(pointer.render, ways))).select(document)
    expected: dict[str, Any] = {}
    for keys in sorted(ways, key=len, reverse=True):
        found = pointer.get(document, keys)
        if found is not ABSENT:
            expected = pointer.set(expected, keys, found)
    event(f"selected: {bool(selected)}")
    assert selected == expected


@pytest.mark.parametrize(
    "text",
    [
        *(
            "thingId",
            "/policyId,_modified",
            "attributes",
            "attributes/a/b",
            "features/*/properties/x",
        ),
        *(
            "_context/topic",
            "_context",
            "attributes/ a",
            "features/{{ feature:id | fn:upper() }}/x",
            "{{ header:fields }},thingId",
        ),
    ],
)
def test_extra_fields_that_a_target_may_name(text: str) -> None:
    assert selector.parse_extra_fields(text).text == text


def test_a_group_of_one_is_possible_below_a_field() -> None:
    assert selector.parse_extra_fields("features/f(a),thingId").pointers == (
        "/features/f/a",
        "/thingId",
    )
    with pytest.raises(ExpressionError) as caught:
        selector.parse_extra_fields("attributes/a)")
    assert caught.value.code == "json.fieldselector.invalid"


@pytest.mark.parametrize(
    ("text", "code"),
    [("//attributes", "json.pointer.invalid"), ("attributes(a", "json.fieldselector.invalid")],
)
def test_what_is_no_selector_at_all_is_said_first(text: str, code: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        selector.parse_extra_fields(text)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("text", "position", "hint"),
    [
        ("", 0, "possible are"),
        ("attribute", 0, "did you mean attributes?"),
        ("thingId, attributes", 8, "leave the blank out"),
        ("thingId,,attributes", 8, "possible are"),
        ("attributes/", 10, ""),
        ("{{ header:fields }},attribute", 20, "did you mean attributes?"),
        ("thingId/x", 7, ""),
        ("attributes(a)", 0, "in full"),
        ("attributes/a(b,c)", 15, "in full"),
    ],
)
def test_other_extra_fields_are_refused(text: str, position: int | None, hint: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        selector.parse_extra_fields(text)
    assert caught.value.code == "things:field.selection.invalid"
    assert caught.value.position == position
    assert hint in caught.value.hint
