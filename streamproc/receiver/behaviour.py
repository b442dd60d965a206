"""How the receiver answers: at once and well, or as badly as a test wants."""

from __future__ import annotations

import random
from typing import Annotated, Literal

from msgspec import Meta

from streamproc.config.section import Section

Share = Annotated[float, Meta(ge=0, le=1)]


class Behaviour(Section, frozen=True, kw_only=True):
    """The body of ``POST /behaviour``; what is absent is as below."""

    delay_ms: Annotated[float, Meta(ge=0, description="Before an answer.")] = 0.0
    slow_share: Annotated[Share, Meta(description="Share of answers that are slow.")] = 0.0
    slow_ms: Annotated[float, Meta(ge=0, description="Before a slow answer.")] = 0.0
    status: Annotated[int, Meta(ge=200, le=599, description="Status of an answer.")] = 204
    failed_share: Annotated[Share, Meta(description="Share answered failedStatus.")] = 0.0
    failed_status: Annotated[int, Meta(ge=200, le=599, description="Their status.")] = 503
    bad: Annotated[str, Meta(description="Bodies that contain it are answered badStatus.")] = ""
    bad_status: Annotated[int, Meta(ge=200, le=599, description="Their status.")] = 413
    retry_after: Annotated[
        str | None, Meta(description="Retry-After of answers that are not 2xx.")
    ] = None
    cut_share: Annotated[
        Share, Meta(description="Share of requests whose connection is cut instead.")
    ] = 0.0
    cut: Annotated[
        Literal["before", "within", "reset"],
        Meta(
            description="before: taken, and no answer; within: half an answer; reset: half of "
            "its body, then a reset."
        ),
    ] = "before"
    drip_share: Annotated[
        Share, Meta(description="Share of answers that come a byte at a time.")
    ] = 0.0
    drip_ms: Annotated[float, Meta(ge=0, description="Between their bytes.")] = 0.0
    body: Annotated[str, Meta(description="Body of answers that are not 204.")] = ""
    close: Annotated[bool, Meta(description="Close the connection after each answer.")] = False
    seed: Annotated[int, Meta(description="Of the shares.")] = 1


class Manner:
    """A behaviour at work."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.plain = behaviour == Behaviour()
        self._chance = random.Random(behaviour.seed)  # noqa: S311 - makes faults, keeps no secret

    def status(self, body: bytes) -> int:
        """Status of the answer to a request with *body*."""
        b = self.behaviour
        if b.bad and b.bad.encode() in body:
            return b.bad_status
        failed = b.failed_share and self._chance.random() < b.failed_share
        return b.failed_status if failed else b.status

    def delay_s(self) -> float:
        """Seconds to wait before it."""
        b = self.behaviour
        slow = b.slow_share and self._chance.random() < b.slow_share
        return (b.slow_ms if slow else b.delay_ms) / 1000

    def cuts(self) -> bool:
        """Whether the connection is cut in its place."""
        b = self.behaviour
        return bool(b.cut_share) and self._chance.random() < b.cut_share

    def drips(self) -> bool:
        """Whether an answer comes a byte at a time."""
        b = self.behaviour
        return bool(b.drip_share) and self._chance.random() < b.drip_share

    def wait_s(self, status: int) -> float:
        """For how long nothing is to be sent after an answer with *status*; 0: it does not say."""
        said = self.behaviour.retry_after
        return float(said) if said and said.isdigit() and not 200 <= status < 300 else 0.0

    def answer(self, status: int) -> bytes:
        """The bytes of an answer with *status*."""
        b = self.behaviour
        head = f"HTTP/1.1 {status} -\r\n"
        if b.retry_after is not None and not 200 <= status < 300:
            head += f"Retry-After: {b.retry_after}\r\n"
        if b.close:
            head += "Connection: close\r\n"
        body = b"" if status in (204, 304) else b.body.encode()
        if status not in (204, 304):
            head += f"Content-Length: {len(body)}\r\n"
        return head.encode("latin-1") + b"\r\n" + body
