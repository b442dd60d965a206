"""When a failed delivery is written again: a pure rule over the retry options."""

from __future__ import annotations

from streamproc.config.service import Retry
from streamproc.errors import DeliveryFailed, RunnerError

MAX_RETRY_AFTER_S = 3600.0


def wait_s(retry: Retry, attempts: int, error: RunnerError, jitter: float) -> float:
    """Seconds until the next write after *attempts* writes; *jitter* in [0, 1).

    What the peer asked for is honoured, capped; else full jitter over a doubling bound.
    """
    bound = min(retry.max_delay_s, retry.first_delay_s * 2.0 ** min(max(attempts, 1) - 1, 32))
    if isinstance(error, DeliveryFailed) and error.retry_after_s is not None:
        return min(MAX_RETRY_AFTER_S, error.retry_after_s) + retry.first_delay_s * jitter
    return bound * jitter


def spent(retry: Retry, attempts: int, age_s: float) -> bool:
    """Whether a delivery has had all its tries and is to be parked."""
    return (retry.max_attempts is not None and attempts >= retry.max_attempts) or (
        retry.max_age_s is not None and age_s >= retry.max_age_s
    )
