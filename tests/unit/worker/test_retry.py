"""When a failed delivery goes again: bounds, jitter, Retry-After, the last attempt."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamproc.config.service import Retry
from streamproc.errors import DeliveryFailed, NotConnected
from streamproc.worker.link import MAX_DELAY_S, delay_s
from streamproc.worker.retry import MAX_RETRY_AFTER_S, spent, wait_s

jitters = st.floats(0, 1, exclude_max=True)


@given(attempts=st.integers(0, 10_000), jitter=jitters)
def test_the_wait_is_jittered_below_a_doubling_capped_bound(attempts: int, jitter: float) -> None:
    retry = Retry(first_delay_s=0.5, max_delay_s=8.0)
    wait = wait_s(retry, attempts, NotConnected("x"), jitter)
    bound = min(8.0, 0.5 * 2 ** min(max(attempts - 1, 0), 10))
    assert 0 <= wait <= bound
    assert wait == bound * jitter


@given(asked=st.floats(0, 1e9), attempts=st.integers(1, 100), jitter=jitters)
def test_what_the_peer_asked_for_is_never_undercut_but_capped(asked, attempts, jitter) -> None:
    retry = Retry(first_delay_s=0.5, max_delay_s=8.0)
    wait = wait_s(retry, attempts, DeliveryFailed("x", retry_after_s=asked), jitter)
    assert min(asked, MAX_RETRY_AFTER_S) <= wait <= min(asked, MAX_RETRY_AFTER_S) + 0.5


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
