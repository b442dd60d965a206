"""Functions of one text, against other ways to say the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.errors import ExpressionError, SignalError
from streamproc.lang import format as formats
from streamproc.lang import limits, texts

whole = st.text(st.characters(exclude_categories=["Cs"]))


@given(whole)
def test_what_is_encoded_can_be_decoded(text):
    assert texts.url_decode(texts.url_encode(text)) == text
    assert texts.base64_decode(texts.base64_encode(text)) == text


@given(st.text())
def test_any_text_can_be_encoded(text):
    assert texts.url_encode(text).isascii()
    assert texts.base64_encode(text).isascii()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", ""), ("Zg", "f"), ("Zg==", "f"), ("Zm8", "fo"), ("Zm8=", "fo"), ("Zm9v", "foo"),
     ("/+8=", "\ufffd\ufffd"), ("gA", "\ufffd")],
)  # fmt: skip
def test_base64(text, expected):
    assert texts.base64_decode(text) == expected


@pytest.mark.parametrize(
    "text", ["Z", "Zg=", "Zm8==", "Zm9v=", "=", "====", "Z=g=", "Zg==Zg==", "Z g=", "Zm9v\n", "Zä"]
)
def test_what_is_no_base64(text):
    with pytest.raises(SignalError, match="no base64"):
        texts.base64_decode(text)


@pytest.mark.parametrize("text", ["%", "%4", "a%zz", "%4g", "%%41", "%é1"])
def test_a_broken_escape(text):
    with pytest.raises(SignalError, match="two hexadecimal digits"):
        texts.url_decode(text)


def test_form_encoding():
    assert texts.url_encode("a b+c~*-._/ä\udc80") == "a+b%2Bc%7E*-._%2F%C3%A4%3F"
    assert texts.url_decode("a+b%2Bc%7e%C3%A4%ff") == "a b+c~ä\ufffd"


@pytest.mark.parametrize(
    ("text", "separator", "parts"),
    [("a,b,,", ",", ["a", "b"]), (",", ",", []), ("", ",", [""]), (",a", ",", ["", "a"]),
     ("ab", "", ["a", "b"]), ("", "", [""]), ("a.b", ".", ["a", "b"]), ("aXXb", "XX", ["a", "b"]),
     ("ab", ",", ["ab"])],
)  # fmt: skip
def test_split(text, separator, parts):
    assert texts.split(text, separator) == parts


def test_growth_is_refused_before_it_happens():
    with pytest.raises(SignalError) as caught:
        texts.replace("a" * 2000, "", "b" * 2000)
    assert caught.value.code == "placeholder:function.too.complex"
    with pytest.raises(SignalError):
        texts.split("," * (limits.MAX_VALUES + 1), ",")
    with pytest.raises(SignalError):
        limits.product([["a", "b"]] * 20)
    with pytest.raises(SignalError):
        limits.product([["a" * 1000] * 1000, ["b", "c"]])
    # Taking away is no growth.
    assert texts.replace("a" * (limits.MAX_RESULT + 1), "a", "") == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (True, "true"), (1, "1"), (1.5, "1.5"), ("a", "a"), ({"a": [1, "ä"]},
     '{"a":[1,"ä"]}')],
)  # fmt: skip
def test_json_text(value, text):
    assert texts.json_text(value) == text


def test_json_that_cannot_be_written():
    deep: object = []
    for _ in range(300):
        deep = [deep]
    for value in (deep, {"a": 1 << 70}):
        with pytest.raises(SignalError, match="cannot be written"):
            texts.json_text(value)


@pytest.mark.parametrize("text", ["", "[]", "1", "{", "{}x", '{"a":"\udc80"}', "[" * 100_000])
def test_what_is_no_json_object(text):
    assert texts.json_object(text) is None


def test_sections_can_be_nested_so_deep():
    def nested(depth):
        names = [f"s{i}" for i in range(depth)]
        return "".join(f"{{#{n}}}" for n in names) + "".join(f"{{/{n}}}" for n in reversed(names))

    formats.parse(nested(formats.MAX_SECTIONS))
    with pytest.raises(ExpressionError, match="nested more than"):
        formats.parse(nested(formats.MAX_SECTIONS + 1))
    with pytest.raises(ExpressionError, match="characters"):
        formats.parse("x" * (formats.MAX_PATTERN + 1))


@pytest.mark.parametrize(
    ("pattern", "document", "expected"),
    [
        ("{a}", {"a": None}, [""]),
        ("{a}", {"a": [None, {"b": 1}, [2]]}, ["null", '{"b":1}', "[2]"]),
        ("{a/b}{/a/b}", {"a": {"b": "x"}}, ["xx"]),
        ("{/a}", {"a": 1}, ["{/a}"]),
        ("{}", {"": 1}, ["{}"]),
        (r"\{a\}{a}", {"a": 1}, ["{a}1"]),
        ("{.}", {".": "dot"}, ["dot"]),
        ("{#a}{.}{/a}", {"a": 5}, ["5"]),
        ("{#a}{.}{b}{/a}", {"a": [1, {"b": 2}]}, ["1", "2"]),
        ("{#a}[{#b}{.}{/b}]{/a}", {"a": ["x", {"b": [1, 2]}]}, ["[]", "[1]", "[2]"]),
        ("{#a}{#a}{.}{/a}{/a}", {"a": [{"a": [1, 2]}, {"a": 3}]}, ["1", "2", "3"]),
        ("{ a }", {" a ": 1, "a": 2}, ["1"]),
    ],
)
def test_patterns(pattern, document, expected):
    assert formats.parse(pattern).render(document) == expected
