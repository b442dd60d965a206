"""What an answer, or none, means for the message that was sent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import orjson

from streamproc.config.endpoint import EndpointOptions
from streamproc.config.statuses import Meaning, StatusesInvalid, meanings
from streamproc.errors import (
    ConfigError,
    DeliveryFailed,
    DeliveryRefused,
    EndpointGone,
    RunnerError,
)
from streamproc.kernels.delivery import Delivery
from streamproc.kernels.signal import ABSENT
from streamproc.protocol.acks import payload_of

LONGEST_S = 366 * 86400.0
"""A wait beyond this was not meant; how much of it is kept is for the gate to say."""

EXCERPT_BYTES = 1024
"""How much of an answer is kept to say what was wrong."""

IDEMPOTENT = frozenset(("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"))
IDEMPOTENCY_HEADER = "idempotency-key"


class Answers:
    """The rules of one connection.

    ``success``: statuses that mean that the endpoint has the message.
    """

    def __init__(self, options: EndpointOptions) -> None:
        try:
            self._meanings: Mapping[int, Meaning] = meanings(options.statuses)
        except StatusesInvalid as error:
            raise ConfigError(f"{error.meaning}Status: {error}") from None
        self.success = frozenset(s for s, meaning in self._meanings.items() if meaning == "success")
        self._in_doubt = options.retry_in_doubt

    def judge(
        self, status: int, retry_after: bytes | None, excerpt: bytes, now: datetime
    ) -> RunnerError:
        """Why an answer that is no success leaves the message undelivered."""
        said = _readable(excerpt)
        text = f"endpoint answered {_named(status)}" + (f": {said}" if said else "")
        meaning = self._meanings.get(status, "permanent")
        if meaning == "stop":
            return EndpointGone(text, status=status)
        if meaning == "retry":
            wait_s = retry_after_s(retry_after, now)
            return DeliveryFailed(text, retry_after_s=wait_s, status=status)
        return DeliveryRefused(text, status=status)

    def unanswered(self, delivery: Delivery, why: str) -> RunnerError:
        """Why a message is undelivered whose request was sent: the endpoint may have it."""
        if self.may_repeat(delivery):
            return DeliveryFailed(why)
        return DeliveryRefused(f"{why}; the endpoint may have it (retryInDoubt is false)")

    def may_repeat(self, delivery: Delivery) -> bool:
        """Whether a request may be sent twice."""
        return (
            self._in_doubt
            or delivery.address.partition(":")[0].upper() in IDEMPOTENT
            or any(name.lower() == IDEMPOTENCY_HEADER for name in delivery.headers)
        )


def acknowledge(delivery: Delivery, status: int, content_type: str | None, body: bytes) -> None:
    """Note what an answer is to whoever wants the acknowledgement of *delivery*.

    A response to a live signal may be Ditto's envelope, which says its own status and value.
    """
    wanted = delivery.wanted
    assert wanted is not None
    if not body:
        wanted.answered(status)
    elif len(body) > wanted.max_bytes:
        wanted.answered(status, {"message": f"the answer has more than {wanted.max_bytes} bytes"})
    else:
        payload = payload_of(content_type, body)
        if wanted.label == "live-response" and _is_response(payload):
            if payload["topic"] == orjson.loads(delivery.payload).get("topic"):
                wanted.answered(payload["status"], payload.get("value", ABSENT))
                return
            status, payload = 500, {"message": "the endpoint answered another signal"}
        wanted.answered(status, payload)


def _is_response(payload: object) -> bool:
    return (
        isinstance(payload, dict)
        and isinstance(payload.get("topic"), str)
        and type(payload.get("status")) is int
        and 100 <= payload["status"] <= 599
    )


def of_the_endpoint(error: RunnerError) -> bool:
    """Whether it says that no other message is to be sent after this one, for now."""
    if isinstance(error, DeliveryFailed):
        return error.retry_after_s is not None or isinstance(error, EndpointGone)
    return not isinstance(error, DeliveryRefused)


def unsent(error: RunnerError) -> RunnerError:
    """For those that were to go after the one that failed with *error*, and did not."""
    if not isinstance(error, DeliveryFailed):
        return error
    return DeliveryFailed(
        f"not sent, as what was before it failed: {error}",
        retry_after_s=error.retry_after_s,
        unsent=True,
    )


def retry_after_s(value: bytes | None, now: datetime) -> float | None:
    """Seconds that the peer asks for, from a number or a date; None where it makes no sense."""
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        return min(LONGEST_S, float(text[:32]))
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(LONGEST_S, max(0.0, (moment - now).total_seconds()))


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _readable(excerpt: bytes) -> str:
    text = excerpt.decode("utf-8", "replace")
    return "".join(c if c.isprintable() else " " for c in text).strip()
