"""When a failed delivery goes again: bounds, jitter, Retry-After, the last attempt."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamproc.config.service import Retry
from streamproc.errors import DeliveryFailed, NotConnected
from streamproc.worker.link import MAX_DELAY_S, delay_s
from streamproc.worker.retry import longest_s, spent, wait_s

jitters = st.floats(0, 1, exclude_max=True)


@given(attempts=st.integers(0, 10_000), jitter=jitters)
def test_the_wait_is_jittered_below_a_doubling_capped_bound(attempts: int, jitter: float) -> None:
    retry = Retry(first_delay_s=0.5, max_delay_s=8.0)
    wait = wait_s(retry, attempts, NotConnected("x"), jitter)
    bound = min(8.0, 0.5 * 2 ** min(max(attempts - 1, 0), 10))
    assert 0 <= wait <= bound
    assert wait == bound * jitter


@given(asked=st.floats(0.5, 1e9), attempts=st.integers(1, 100), jitter=jitters)
def test_a_lane_waits_no_longer_than_its_endpoint_asks_for(asked, attempts, jitter) -> None:
    """The gate keeps the whole endpoint from being asked; the lane need not wait beyond."""
    retry = Retry(first_delay_s=0.5, max_delay_s=8.0)
    assert wait_s(retry, attempts, DeliveryFailed("x", retry_after_s=asked), jitter) == 0.0


@given(attempts=st.integers(1, 100), jitter=jitters)
def test_retry_after_of_no_time_does_not_end_the_back_off(attempts: int, jitter: float) -> None:
    retry = Retry(first_delay_s=0.5, max_delay_s=8.0)
    asked, plain = DeliveryFailed("x", retry_after_s=0.0), DeliveryFailed("x")
    assert wait_s(retry, attempts, asked, jitter) == wait_s(retry, attempts, plain, jitter)


@given(asked=st.none() | st.floats(0, 1e6), attempts=st.integers(1, 100), jitter=jitters)
def test_what_is_logged_as_the_longest_wait_is_that(asked, attempts, jitter) -> None:
    retry = Retry(first_delay_s=0.5, max_delay_s=8.0, max_retry_after_s=100.0)
    error = DeliveryFailed("x", retry_after_s=asked)
    endpoint_s = 0.0 if asked is None else min(asked, 100.0) + 0.5 * jitter
    assert longest_s(retry, attempts, error) >= endpoint_s
    assert longest_s(retry, attempts, error) >= wait_s(retry, attempts, error, jitter)
    assert longest_s(retry, attempts, error) <= 108.5


def test_without_limits_nothing_is_ever_spent() -> None:
    assert not spent(Retry(), 10**9, 10**9)


def test_attempts_and_age_each_end_it() -> None:
    assert spent(Retry(max_attempts=3), 3, 0)
    assert not spent(Retry(max_attempts=3), 2, 0)
    assert spent(Retry(max_age_s=60.0), 1, 60.0)
    assert not spent(Retry(max_age_s=60.0), 1, 59.9)


@given(tries=st.integers(0, 10_000), jitter=jitters)
def test_links_are_first_tried_within_a_second_and_for_ever(tries: int, jitter: float) -> None:
    wait = delay_s(tries, False, jitter)
    assert 0 < wait <= MAX_DELAY_S
    if tries < 3:
        assert wait < 1.0
    assert delay_s(tries, True, jitter) >= 5.0
