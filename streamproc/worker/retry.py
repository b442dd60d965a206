"""When a failed delivery is written again: a pure rule over the retry options.

What an endpoint asks for (Retry-After) is kept for all of its lanes, by the gate.
"""

from __future__ import annotations

from streamproc.config.service import Retry
from streamproc.errors import DeliveryFailed, RunnerError


def wait_s(retry: Retry, attempts: int, error: RunnerError, jitter: float) -> float:
    """Seconds for which a lane is held after *attempts* writes; *jitter* in [0, 1).

    Full jitter over a doubling bound. A lane whose endpoint says when to come again need not
    wait beyond that.
    """
    if _asked_s(error) >= retry.first_delay_s:
        return 0.0
    return _bound_s(retry, attempts) * jitter


def longest_s(retry: Retry, attempts: int, error: RunnerError) -> float:
    """Seconds after which it is written again, at the latest, if nothing else is in the way."""
    asked_s = min(_asked_s(error), retry.max_retry_after_s)
    if asked_s >= retry.first_delay_s:
        return asked_s + retry.first_delay_s
    return max(asked_s + retry.first_delay_s, _bound_s(retry, attempts))


def spent(retry: Retry, attempts: int, age_s: float) -> bool:
    """Whether a delivery has had all its tries and is to be parked."""
    return (retry.max_attempts is not None and attempts >= retry.max_attempts) or (
        retry.max_age_s is not None and age_s >= retry.max_age_s
    )


def _bound_s(retry: Retry, attempts: int) -> float:
    return min(retry.max_delay_s, retry.first_delay_s * 2.0 ** min(max(attempts, 1) - 1, 32))


def _asked_s(error: RunnerError) -> float:
    asked = error.retry_after_s if isinstance(error, DeliveryFailed) else None
    return 0.0 if asked is None else asked
