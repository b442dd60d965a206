"""Pointers, and the documents they change, which stay as they were."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from streamproc.errors import ExpressionError
from streamproc.kernels.signal import ABSENT
from streamproc.lang import pointer
from tests.reference import pointer as reference

names = st.sampled_from(["a", "b", "~", "~0", "~1", "0", "ä", ""])
scalars = st.sampled_from([None, True, 0, 1.5, "", "x"])
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(names, documents, max_size=3)
ways = st.lists(names, min_size=1, max_size=4).map(tuple)


@pytest.mark.parametrize(
    ("text", "keys", "canonical"),
    [
        ("", (), "/"),
        ("/", (), "/"),
        ("/a/b", ("a", "b"), "/a/b"),
        ("a/b/", ("a", "b"), "/a/b"),
        ("/~0~0", ("~~",), "/~0~0"),
        ("/~00", ("~0",), "/~00"),
        ("/~1", ("~1",), "/~01"),
        ("/a~", ("a~",), "/a~0"),
        ("/ / ", (" ", " "), "/ / "),
    ],
)
def test_a_pointer_is_its_keys(text: str, keys: tuple[str, ...], canonical: str) -> None:
    assert pointer.parse(text) == keys
    assert pointer.render(keys) == canonical


@pytest.mark.parametrize(("text", "position"), [("//", 1), ("//a", 1), ("/a//", 3), ("a///b", 2)])
def test_two_slashes_in_a_row_are_an_error(text: str, position: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        pointer.parse(text)
    assert caught.value.code == "json.pointer.invalid"
    assert caught.value.position == position


def test_a_pointer_is_as_long_as_a_document_can_be_deep() -> None:
    assert len(pointer.parse("/a" * pointer.MAX_KEYS)) == pointer.MAX_KEYS
    with pytest.raises(ExpressionError, match="129 keys, 128 are allowed"):
        pointer.parse("/a" * (pointer.MAX_KEYS + 1))


@given(st.lists(st.text(min_size=1).filter(lambda key: "/" not in key), max_size=4))
def test_what_is_rendered_is_parsed_again(keys: list[str]) -> None:
    assert pointer.parse(pointer.render(tuple(keys))) == tuple(keys)


@given(st.text("/~01a ", max_size=12))
def test_a_canonical_pointer_stays_as_it_is(text: str) -> None:
    try:
        canonical = pointer.render(pointer.parse(text))
    except ExpressionError:
        assert "//" in text
    else:
        assert pointer.render(pointer.parse(canonical)) == canonical


@given(document=documents, keys=ways | st.just(()))
def test_get_finds_what_the_reference_finds(document: Any, keys: tuple[str, ...]) -> None:
    expected = reference.get(document, keys)
    event(f"absent: {expected is ABSENT}")
    assert pointer.get(document, keys) is expected
    flat = pointer.get_flat(document, keys)
    assert flat == reference.get_flat(document, keys)
    assert (flat is ABSENT) == (reference.get_flat(document, keys) is ABSENT)


@given(document=objects, keys=ways, value=documents)
def test_set_gives_the_reference_s_document_and_keeps_the_old(
    document: dict[str, Any], keys: tuple[str, ...], value: Any
) -> None:
    before = copy.deepcopy(document)
    changed = pointer.set(document, keys, value)
    assert changed == reference.set(document, keys, value)
    assert document == before
    assert pointer.get(changed, keys) is value


@given(document=objects, keys=ways | st.just(()))
def test_remove_gives_the_reference_s_document_and_keeps_the_old(
    document: dict[str, Any], keys: tuple[str, ...]
) -> None:
    before = copy.deepcopy(document)
    changed = pointer.remove(document, keys)
    event(f"removed: {changed is not document}")
    assert changed == reference.remove(document, keys)
    assert document == before


def test_the_root_cannot_be_set() -> None:
    with pytest.raises(ExpressionError, match="the root cannot be set"):
        pointer.set({"a": 1}, (), 2)


@given(document=documents, patch=documents)
def test_a_merge_patch_gives_the_reference_s_document_and_keeps_both(
    document: Any, patch: Any
) -> None:
    before = copy.deepcopy((document, patch))
    event(f"patch is {type(patch).__name__}")
    merged = pointer.merge_patch(document, patch)
    assert merged == reference.merge_patch(document, patch)
    if isinstance(merged, dict) and isinstance(patch, dict):
        merged["scribbled"] = True
    assert (document, patch) == before


def test_a_patch_deeper_than_the_stack_is_merged() -> None:
    patch: Any = {"end": None}
    for _ in range(50_000):
        patch = {"d": patch}
    merged = pointer.merge_patch({"kept": 1}, patch)
    assert merged["kept"] == 1
    for _ in range(50_000):
        merged = merged["d"]
    assert merged == {}
