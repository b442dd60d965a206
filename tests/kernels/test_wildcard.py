"""Wildcards match what the translated regular expression matches, but never run for long."""

from __future__ import annotations

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from streamproc.kernels.wildcard import Wildcard
from tests.reference import rql as reference

# More than usual, and as many as the nightly profile asks for.
many = settings(max_examples=max(500, settings.default.max_examples if settings.default else 0))
ALPHABET = "abAB*?\n\u2028éÉ\U0001f600"
patterns = st.text(ALPHABET, max_size=10) | st.text(max_size=6)
texts = st.text(ALPHABET, max_size=12) | st.text(max_size=8)


@st.composite
def likely(draw: st.DrawFn) -> tuple[str, str]:
    """A text, and a pattern made from it by putting wildcards over parts of it."""
    text = draw(texts)
    pattern, at = "", 0
    while at < len(text):
        step = draw(st.integers(1, 4))
        part = text[at : at + step]
        pattern += draw(st.sampled_from([part, part.swapcase(), "*", "?" * len(part), "*" + part]))
        at += step
    return pattern + draw(st.sampled_from(["", "", "*", "?"])), text


@given(case=likely() | st.tuples(patterns, texts), ignore_case=st.booleans())
@many
@example(case=("a*\n*b", "a\n\nb"), ignore_case=False)
@example(case=("*a?a*", "aaa"), ignore_case=False)
@example(case=("ab*ba", "aba"), ignore_case=False)
@example(case=("É", "é"), ignore_case=True)
@example(case=("K", "\u212a"), ignore_case=True)  # the Kelvin sign is no K here
def test_a_pattern_matches_as_in_the_reference(case: tuple[str, str], ignore_case: bool) -> None:
    pattern, text = case
    expected = reference.wildcard(pattern, text, ignore_case)
    event(f"matches: {expected}, stars: {min(pattern.count('*'), 3)}")
    assert Wildcard(pattern, ignore_case).matches([text]) == [expected]


@given(size=st.integers(60, 200), data=st.data())
def test_long_pieces_match_as_in_the_reference(size: int, data: st.DataObject) -> None:
    """Beyond 64 characters the bits of a piece need more than one word."""
    piece = data.draw(st.text("ab?", min_size=size, max_size=size))
    filled = "".join(data.draw(st.sampled_from("ab")) if each == "?" else each for each in piece)
    text = data.draw(st.text("ab", max_size=8)) + filled + data.draw(st.text("ab", max_size=8))
    spoiled = text[: len(text) // 2] + "c" + text[len(text) // 2 + 1 :]
    pattern = f"*{piece}*"
    expected = [reference.wildcard(pattern, each, False) for each in (text, spoiled)]
    event(f"spoiled matches: {expected[1]}")
    assert expected[0]
    assert Wildcard(pattern).matches([text, spoiled]) == expected


@pytest.mark.parametrize(
    "pattern", ["*a" * 500, "*a?" * 300 + "b", "*" + "a" * 500 + "?b*", "*" + "?" * 1000 + "b*"]
)
@pytest.mark.parametrize("ignore_case", [False, True])
def test_no_text_makes_a_pattern_run_for_long(pattern: str, ignore_case: bool) -> None:
    """A matcher that goes back would need longer than the test may take."""
    text = "a" * 1_000_000
    assert Wildcard(pattern, ignore_case).matches([text]) == [not pattern.rstrip("*").endswith("b")]


def test_a_pattern_too_long_for_the_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        Wildcard("?" * 70_000)
