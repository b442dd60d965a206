"""``time:now...`` means one moment, written one way, or a clear error."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.errors import ExpressionError
from streamproc.lang import timeexpr

NOW = datetime(2024, 1, 6, 14, 23, 42, 123_000, tzinfo=UTC)  # a Saturday


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", "2024-01-06T14:23:42.123Z"),
        ("now_epoch_millis", "1704551022123"),
        ("now-1h", "2024-01-06T13:23:42.123Z"),
        ("now+1", "2024-01-06T14:23:43.123Z"),
        ("now+250ms", "2024-01-06T14:23:42.373Z"),
        ("now-3m", "2024-01-06T14:20:42.123Z"),
        ("now+3d", "2024-01-09T14:23:42.123Z"),
        ("now+2w", "2024-01-20T14:23:42.123Z"),
        ("now+1mo", "2024-02-05T14:23:42.123Z"),
        ("now-1y", "2023-01-06T14:23:42.123Z"),
        ("now[ms]", "2024-01-06T14:23:42.123Z"),
        ("now[s]", "2024-01-06T14:23:42Z"),
        ("now[m]", "2024-01-06T14:23:00Z"),
        ("now[h]", "2024-01-06T14:00:00Z"),
        ("now[d]", "2024-01-06T00:00:00Z"),
        ("now[w]", "2024-01-01T00:00:00Z"),
        ("now[mo]", "2024-01-01T00:00:00Z"),
        ("now-1y[y]", "2023-01-01T00:00:00Z"),
        ("now_epoch_millis-25m", "1704549522123"),
        ("now_epoch_millis+2d[h]", "1704722400000"),
    ],
)
def test_a_time_expression_means_one_moment(text: str, expected: str) -> None:
    assert timeexpr.parse(text).resolve(NOW) == expected


def test_the_moment_is_utc_whatever_zone_the_clock_has() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=9)))
    assert timeexpr.parse("now[d]").resolve(elsewhere) == "2024-01-06T00:00:00Z"


def test_without_a_clock_the_moment_is_now() -> None:
    before = datetime.now(UTC)
    resolved = datetime.fromisoformat(timeexpr.parse("now").resolve())
    assert before <= resolved <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 0),
        ("then", 0),
        ("Now", 0),
        ("nowx", 3),
        ("now ", 3),
        ("now +1h", 3),
        ("now*1h", 3),
        ("now_epoch", 3),
        ("now+", 4),
        ("now+h", 4),
        ("now--1h", 4),
        ("now+1x", 5),
        ("now+1H", 5),
        ("now+1.5h", 5),
        ("now+1h[zz]", 6),
        ("now+1h[d", 6),
        ("now[]", 3),
        ("now[d]x", 6),
        ("now[d][h]", 6),
        ("now+1001y", 4),
        ("now+999999999999999y", 4),
        ("now+" + "9" * 5000 + "s", 4),
        ("now+\u0661h", 4),  # an Arabic digit
    ],
)
def test_a_bad_time_expression_is_refused_with_its_place(text: str, position: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        timeexpr.parse(text)
    assert caught.value.code == "placeholder:unresolved"
    assert caught.value.position == position


@given(
    amount=st.integers(0, 999),
    unit=st.sampled_from(sorted(timeexpr.UNITS)),
    now=st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_forth_and_back_is_where_it_began(amount: int, unit: str, now: datetime) -> None:
    there = datetime.fromisoformat(timeexpr.parse(f"now+{amount}{unit}").resolve(now))
    assert timeexpr.parse(f"now-{amount}{unit}").resolve(there) == timeexpr.parse("now").resolve(
        now
    )


@given(
    unit=st.sampled_from(sorted(timeexpr.UNITS)),
    now=st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_truncating_goes_back_by_less_than_the_unit_and_twice_is_once(
    unit: str, now: datetime
) -> None:
    plan = timeexpr.parse(f"now[{unit}]")
    once = datetime.fromisoformat(plan.resolve(now))
    longest = {"mo": timedelta(days=31), "y": timedelta(days=366)}.get(unit, timeexpr.UNITS[unit])
    assert timedelta() <= now - once < longest
    assert datetime.fromisoformat(plan.resolve(once)) == once


@given(st.text(alphabet="now_epchmils+-0123456789[]dywx ", max_size=24))
def test_any_text_gives_a_plan_or_an_error_inside_it(text: str) -> None:
    position: int | None = 0
    try:
        timeexpr.parse(text).resolve(NOW)
    except ExpressionError as error:
        position = error.position
    assert position is not None
    assert 0 <= position <= len(text)
