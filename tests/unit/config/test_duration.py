"""Durations: what Ditto reads as one, and how long it is."""

from __future__ import annotations

import pytest

from streamproc.config.duration import seconds


@pytest.mark.parametrize(
    ("text", "length_s"),
    [
        ("0", 0.0),
        ("7", 7.0),
        ("500ms", 0.5),
        ("+5s", 5.0),
        ("-0s", 0.0),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("1d", 86_400.0),
        ("1w", 604_800.0),
        ("1mo", 2_592_000.0),
        ("1y", 31_536_000.0),
    ],
)
def test_durations(text: str, length_s: float) -> None:
    assert seconds(text) == length_s


@pytest.mark.parametrize("text", ["", "s", "-1s", "+-1s", "1.5s", "1 s", "1S", "1min", "9" * 16])
def test_no_durations(text: str) -> None:
    assert seconds(text) is None
