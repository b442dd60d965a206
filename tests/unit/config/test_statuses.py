"""Sets of statuses: what may be written, and which meaning wins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.config.statuses import FIRST, LAST, MEANINGS, StatusesInvalid, meanings

DEFAULTS = {
    "success": "2xx",
    "retry": "408,425,429,5xx",
    "permanent": "501,505",
    "stop": "410",
}


def test_the_defaults() -> None:
    table = meanings(DEFAULTS)
    assert sorted(table) == list(range(200, 600))
    by_meaning = {m: {s for s, found in table.items() if found == m} for m in MEANINGS}
    assert by_meaning["success"] == set(range(200, 300))
    assert by_meaning["retry"] == {408, 425, 429, *range(500, 600)} - {501, 505}
    assert by_meaning["stop"] == {410}
    assert by_meaning["permanent"] == set(range(300, 600)) - by_meaning["retry"] - {410}


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("often", "expected statuses such as 429, 502-504 or 5xx, not 'often'"),
        ("6xx", "expected statuses such as"),
        ("1xx", "expected statuses such as"),
        ("42", "expected statuses such as"),
        ("199", "expected statuses from 200 to 599, not 199"),
        ("504-502", "expected statuses from 200 to 599, not 504-502"),
        ("599-600", "expected statuses from 200 to 599"),
        ("410", "410 is in retryStatus as well"),
        ("2xx", "200 is in successStatus as well"),
    ],
)
def test_what_cannot_be_is_said(written: str, message: str) -> None:
    with pytest.raises(StatusesInvalid, match=message) as caught:
        meanings({**DEFAULTS, "retry": written})
    assert caught.value.meaning in ("retry", "stop")


def test_blanks_and_nothing_at_all_are_fine() -> None:
    table = meanings({"success": " 2XX , ", "retry": "", "permanent": [], "stop": [""]})
    assert set(table.values()) == {"success", "permanent"}


@given(
    named=st.dictionaries(
        st.integers(FIRST, LAST), st.sampled_from(MEANINGS), min_size=1, max_size=20
    ),
    classes=st.dictionaries(st.sampled_from("2345"), st.sampled_from(MEANINGS)),
)
def test_what_is_named_beats_a_class(named, classes) -> None:
    sets = {
        meaning: [str(s) for s, m in named.items() if m == meaning]
        + [f"{c}xx" for c, m in classes.items() if m == meaning]
        for meaning in MEANINGS
    }
    table = meanings(sets)
    for status in range(FIRST, LAST + 1):
        expected = named.get(status, classes.get(str(status)[0], "permanent"))
        assert table[status] == expected
