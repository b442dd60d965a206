"""Known headers: no header has two roles, and values are checked as Ditto does."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.errors import SignalError
from streamproc.protocol import headers


def test_each_header_has_one_role() -> None:
    roles = (
        *(headers.READ_AND_WRITE, headers.READ_ONLY, headers.WRITE_ONLY),
        *(headers.INTERNAL, headers.HOP),
    )
    for one, other in itertools.combinations(roles, 2):
        assert not one & other
    assert all(name == name.lower() for role in roles for name in role)


def test_only_headers_that_may_come_in_are_checked() -> None:
    assert not headers.REFUSED & set(headers.CHECKED)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("response-required", "false", "false"),
        ("dry-run", "true", "true"),
        ("correlation-id", "c", "c"),
        ("timeout", "60", "60"),
        ("timeout", "0", "0"),
        ("timeout", "+5s", "+5s"),
        ("timeout", "-0", "-0"),
        ("timeout", "9" * 15, "9" * 15),
        *(("timeout", f"5{unit}", f"5{unit}") for unit in ("ms", "s", "m", "h", "d", "w", "mo")),
        ("requested-acks", "[]", "[]"),
        ("requested-acks", "", "[]"),
        ("requested-acks", "a-b, custom", '["a-b","custom"]'),
        ("requested-acks", '[ "a:b" ]', '["a:b"]'),
        ("declared-acks", '["a"]', '["a"]'),
        ("declared-acks", "a, b,,c", '["a","b","c"]'),
        ("declared-acks", "ä", '["ä"]'),
        ("declared-acks", "", "[]"),
        ("channel", " LIVE ", " LIVE "),
        ("put-metadata", '[ {"key":"*/x","value":null} ]', '[{"key":"*/x","value":null}]'),
        ("put-metadata", '[1,{"key":"/a","value":[1]}]', '[{"key":"/a","value":[1]}]'),
        ("put-metadata", "x,y", "[]"),
        ("get-metadata", "attributes/*(a,b)", "attributes/*(a,b)"),
        ("delete-metadata", "", ""),
        ("live-channel-timeout-strategy", "use-twin", "use-twin"),
        ("if-equal", "skip", "skip"),
        ("if-match", '"rev:1", W/"x"', '"rev:1", W/"x"'),
        ("if-match", '"a"\t, *  ,W/"",', '"a"\t, *  ,W/"",'),
        ("if-none-match", "*", "*"),
        ("at-historical-revision", "-3", "-3"),
        ("at-historical-revision", "+3", "+3"),
        ("correlation-id", " ", " "),
        ("x-mine", "anything at all", "anything at all"),
    ],
)
def test_good_values(name: str, value: str, expected: str) -> None:
    assert headers.normal(name, value) == expected


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("response-required", "maybe", "header.invalid"),
        ("response-required", "True", "header.invalid"),
        ("allow-policy-lockout", "", "header.invalid"),
        ("correlation-id", "", "header.invalid"),
        ("timeout", "abc", "timeout.invalid"),
        ("timeout", "-1s", "timeout.invalid"),
        ("timeout", "", "timeout.invalid"),
        ("timeout", "5\n", "timeout.invalid"),
        ("timeout", "٣", "timeout.invalid"),
        ("timeout", "9" * 400, "timeout.invalid"),
        ("requested-acks", "[", "header.invalid"),
        ("requested-acks", "[1]", "header.invalid"),
        ("requested-acks", "[" * 100_000, "header.invalid"),
        ("requested-acks", '["a b"]', "header.invalid"),
        ("requested-acks", '{"a":1}', "header.invalid"),
        ("requested-acks", "ab", "header.invalid"),
        ("requested-acks", "abc, ,def", "header.invalid"),
        ("requested-acks", "x" * 166, "header.invalid"),
        ("declared-acks", '["a",1]', "header.invalid"),
        ("put-metadata", '[{"key":"/a"}]', "header.invalid"),
        ("put-metadata", '[{"key":1,"value":1}]', "header.invalid"),
        ("get-metadata", "a(b", "header.invalid"),
        ("delete-metadata", "a(b))", "header.invalid"),
        ("channel", "both", "header.invalid"),
        ("if-equal", "x", "header.invalid"),
        ("if-match", "rev:1", "header.invalid"),
        ("if-match", '"a" "b"', "header.invalid"),
        ("if-match", '"a*"', "header.invalid"),
        ("if-match", '"a,b"', "header.invalid"),
        ("if-match", ' "a"', "header.invalid"),
        ("if-match", "", "header.invalid"),
        ("timeout", "++1s", "timeout.invalid"),
        ("timeout", " 1s", "timeout.invalid"),
        ("at-historical-revision", "x", "header.invalid"),
    ],
)
def test_bad_values(name: str, value: str, code: str) -> None:
    with pytest.raises(SignalError) as caught:
        headers.normal(name, value)
    assert caught.value.code == code
    assert len(str(caught.value)) < 300


@given(name=st.sampled_from(sorted(headers.CHECKED)), value=st.text(max_size=20))
@settings(max_examples=500, deadline=None)
def test_what_was_accepted_is_accepted_again(name: str, value: str) -> None:
    try:
        first = headers.normal(name, value)
    except SignalError:
        return
    assert headers.normal(name, first) == first
