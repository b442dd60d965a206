"""What an answer means for the message that was sent."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from streamproc.errors import DeliveryFailed, DeliveryRefused, RunnerError

RETRIED = frozenset((408, 425, 429))
NOT_RETRIED = frozenset((501, 505))
MAX_RETRY_AFTER_S = 3600.0
EXCERPT_BYTES = 1024
"""How much of an answer is kept to say what was wrong."""


def judge(status: int, retry_after: bytes | None, excerpt: bytes, now: datetime) -> RunnerError:
    """Why an answer that is not 2xx leaves the message undelivered."""
    said = _readable(excerpt)
    text = f"endpoint answered {_named(status)}" + (f": {said}" if said else "")
    if status in RETRIED or (500 <= status <= 599 and status not in NOT_RETRIED):
        wait_s = retry_after_s(retry_after, now)
        return DeliveryFailed(text, retry_after_s=wait_s, status=status)
    return DeliveryRefused(text, status=status)


def retry_after_s(value: bytes | None, now: datetime) -> float | None:
    """Seconds that the peer asks for, from a number or a date; None where it makes no sense."""
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        return min(MAX_RETRY_AFTER_S, float(text))
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(MAX_RETRY_AFTER_S, max(0.0, (moment - now).total_seconds()))


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _readable(excerpt: bytes) -> str:
    text = excerpt.decode("utf-8", "replace")
    return "".join(c if c.isprintable() else " " for c in text).strip()
