"""Reading: every value right, every place right, no text too much for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import event, given
from hypothesis import strategies as st

from streamproc.config import document
from streamproc.config.document import MAX_DEPTH, Document, SyntaxProblem, decoded
from streamproc.config.problem import Path
from streamproc.config.read_json import read_json
from streamproc.config.read_yaml import read_yaml

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def paths(value: Any, path: Path = ()) -> list[tuple[Path, Any]]:
    inner = (
        list(value.items())
        if isinstance(value, dict)
        else list(enumerate(value))
        if isinstance(value, list)
        else []
    )
    return [(path, value), *(each for k, v in inner for each in paths(v, (*path, k)))]


def text_at(text: str, mark: tuple[int, int]) -> str:
    """From a place on; lines end where the readers say they do, at line feeds."""
    return text.split("\n")[mark[0] - 1][mark[1] - 1 :]


@given(JSON, st.sampled_from([None, 1, 2, "\t"]), st.booleans())
def test_json_is_read_as_json_with_each_value_in_its_place(
    value: Any, indent: Any, ascii_only: bool
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    read = read_json(text)
    assert read.value == value
    assert repr(read.value) == repr(value)  # 1 is not 1.0, and not True
    for path, part in paths(value):
        shown = text_at(text, read.mark(path))
        if path and isinstance(path[-1], str):
            part = path[-1]  # the place of an entry is that of its key
        start = json.dumps(part, ensure_ascii=ascii_only)
        assert shown.startswith(start[:1] if isinstance(part, dict | list) else start)


@given(JSON)
def test_yaml_says_of_its_own_output_what_was_put_in(value: Any) -> None:
    text = yaml.safe_dump(value, allow_unicode=True, sort_keys=False, default_style='"')
    # With quotes only texts stay what they are; tags say the rest.
    assert repr(read_yaml(text).value) == repr(value)


@given(JSON)
def test_json_without_what_yaml_lacks_is_yaml(value: Any) -> None:
    text = json.dumps(value, indent=1)
    try:
        read = read_yaml(text)
    except SyntaxProblem:
        event("refused")
        assert "\\u" in text  # escapes of characters that YAML does not allow, or in halves
        return
    event("read")
    assert repr(read.value) == repr(value)
    assert read.marks == read_json(text).marks


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("12:30:45", "12:30:45"),
        ("2001-12-14", "2001-12-14"),
        ("0777", 777),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("1e3", 1000.0),
        (".5", 0.5),
        (".inf", ".inf"),
        ("~", None),
        ("", None),
        ("True", True),
        ("'true'", "true"),
        ("!!str 1", "1"),
        ("!!float 1", 1),
        ("! 1", "1"),
    ],
)
def test_yaml_words_mean_what_yaml_1_2_says(text: str, value: Any) -> None:
    read = read_yaml(f"a: {text}").value["a"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ('{"a": 1,}', (1, 9)),
        ('{"a": 1\n "b": 2}', (2, 2)),
        ("[1, 2", (1, 6)),
        ("[01]", (1, 3)),
        ('"a\nb"', (1, 1)),
        ('["\\ud800"]', (1, 2)),
        ('["\\x"]', (1, 2)),
        ("[1e999]", (1, 2)),
        ("nul", (1, 1)),
        ("", (1, 1)),
        ("1 2", (1, 3)),
        ("[" * (MAX_DEPTH + 2), (1, MAX_DEPTH + 2)),
        (f"[{'1' * 500}]", (1, 2)),
    ],
)
def test_what_is_no_json_is_told_where(text: str, mark: tuple[int, int]) -> None:
    with pytest.raises(SyntaxProblem) as caught:
        read_json(text)
    assert caught.value.mark == mark


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1", "flow"),
        ("a: *b", "no anchor &b"),
        ("a: &a [*a]", "inside what it stands for"),
        ("? [1]\n: 2", "as key"),
        ("1: 2", "quote it"),
        ("a: !thing 1", "no meaning"),
        ("a: !!int x", "no meaning"),
        ("a\n---\nb", "another after"),
        ("a: 1e999", "too large"),
        ("a: b: c", "mapping values"),
        ("\x01", "does not allow"),
        ("<<: 1", "expected a mapping"),
        ("a: " + "[" * (MAX_DEPTH + 1), "nested deeper"),
    ],
)
def test_what_is_no_yaml_is_told(text: str, words: str) -> None:
    with pytest.raises(SyntaxProblem, match=words):
        read_yaml(text)


def test_a_key_written_twice_is_told_in_both() -> None:
    assert read_json('{"a": 1,\n "a": 2}').repeated == [(("a",), (2, 2))]
    assert read_yaml("a: 1\nb:\n  c: 1\n  c: 2").repeated == [(("b", "c"), (4, 3))]


def test_merged_entries_give_way_to_those_written_here_and_keep_their_place() -> None:
    read = read_yaml("a: &a {x: 1, y: {z: 2}}\nb:\n  <<: *a\n  x: 3\nc: {<<: [*a, {w: 4, x: 5}]}")
    assert read.value["b"] == {"x": 3, "y": {"z": 2}}
    assert read.value["c"] == {"x": 1, "y": {"z": 2}, "w": 4}
    assert read.mark(("b", "x")) == (4, 3)
    assert read.mark(("b", "y", "z")) == (1, 18)
    assert not read.repeated


@pytest.mark.parametrize(
    "use", ["[{0}, {0}, {0}, {0}, {0}, {0}, {0}, {0}]", "{{<<: [{0}, {0}], k: [{0}]}}"]
)
def test_aliases_cannot_make_a_small_file_large(use: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamproc.config.read_yaml.MAX_VALUES", 10_000)
    lines = ["a0: &a0 {x: 1}", *(f"a{i}: &a{i} {use.format(f'*a{i - 1}')}" for i in range(1, 30))]
    with pytest.raises(SyntaxProblem, match=r"aliases followed|expected a mapping"):
        read_yaml("\n".join(lines))


@given(st.text(max_size=60) | st.text("[]{}:,-&*!|>'\"#%@` \n\tab1<.?", max_size=60))
def test_no_text_is_too_much(text: str) -> None:
    for read in (read_json, read_yaml):
        try:
            found = read(text)
        except SyntaxProblem as problem:
            event(f"refused by {read.__name__}")
            line, column = problem.mark
            assert min(line, column) >= 1
        else:
            assert isinstance(found, Document)
            for path, _ in paths(found.value):
                assert path in found.marks


def test_a_quoted_double_less_than_is_a_name_like_any_other() -> None:
    assert read_yaml('{"<<": 1, a: "<<"}').value == {"<<": 1, "a": "<<"}


def test_only_utf8_is_text() -> None:
    assert decoded("\ufeffä".encode()) == "ä"
    with pytest.raises(SyntaxProblem) as caught:
        decoded(b"a: 1\nb: \xff")
    assert caught.value.mark == (2, 4)


def test_the_place_of_what_is_missing_is_that_of_what_should_hold_it() -> None:
    read = read_yaml("a:\n  - b: 1")
    assert read.mark(("a", 0, "c", 3)) == (2, 5)
    assert read.mark(("z",)) == read.mark(()) == (1, 1)


def test_both_yaml_parsers_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML without libyaml is slower, and must be nothing but that."""
    text = (
        "a: &x [1, {b: 'c', d: \"e\\n\"}]\nf: *x\ng: |\n  h\n  i\nj: >-\n  k\n  l\nm: {<<: {n: 1}}"
    )
    with_c = read_yaml(text)
    monkeypatch.setattr("streamproc.config.read_yaml._LOADER", yaml.SafeLoader)
    without = read_yaml(text)
    assert with_c.value == without.value
    assert with_c.marks == without.marks
    assert document.MAX_VALUES
