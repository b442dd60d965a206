"""Options of HTTP push connections. Imports nothing but msgspec."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from streamproc.config.endpoint import EndpointOptions
from streamproc.config.section import Section

MAX_DELAY_S = 60.0
"""Longest ``batch.maxDelay``."""


class Batching(Section, frozen=True, kw_only=True):
    """Several messages in one request: those with equal request line and headers."""

    max_messages: Annotated[
        int, Meta(description="Most messages of a request.", ge=1, le=10_000)
    ] = 100
    max_bytes: Annotated[
        int,
        Meta(description="Most bytes of its body; a larger message goes alone.", ge=1, le=1 << 30),
    ] = 1 << 20
    max_delay: Annotated[
        str,
        Meta(
            description="How long a message waits for others, as a duration up to 60s. `0`: it "
            "goes as soon as a connection is free, with all that waits then.",
            examples=["10ms"],
        ),
    ] = "10ms"
    format: Annotated[
        Literal["json-array", "ndjson"],
        Meta(
            description="`[a,b]` as `application/json`, or a line each as `application/x-ndjson`."
        ),
    ] = "json-array"
    without: Annotated[
        list[str],
        Meta(description="Headers of a message that the request does not have: they differ."),
    ] = field(default_factory=lambda: ["correlation-id"])
    split_on: Annotated[
        list[Annotated[int, Meta(ge=400, le=599)]],
        Meta(
            description="Refusals of a request whose messages are tried again in halves, until "
            "those that are refused alone are found."
        ),
    ] = field(default_factory=lambda: [413, 422])


class HttpPushOptions(EndpointOptions, frozen=True, kw_only=True):
    """`specificConfig` of an HTTP push connection (spec: Ditto 10.1)."""

    parallelism: Annotated[
        int,
        Meta(description="TCP connections per client, so requests at once.", ge=1, le=10_000),
    ] = 1
    idle_timeout: Annotated[
        str,
        Meta(description="Deadline of one request, as a duration up to 60s.", examples=["60s"]),
    ] = "60s"
    omit_request_body: Annotated[
        str | list[str], Meta(description="Methods sent without a body.")
    ] = "GET,DELETE"
    webhook_secrets: Annotated[
        str | list[str],
        Meta(
            description="Secrets that requests are signed with, by the Standard Webhooks "
            "specification: base64, as `whsec_...`. Two while a receiver changes its own. Empty: "
            "no such signature.",
            extra={"secret": True},
        ),
    ] = ""
    keep_alive: Annotated[
        str,
        Meta(
            description="How long a connection is kept without a request, as a duration. Shorter "
            "than the endpoint keeps it; 0s: for ever.",
            examples=["4s"],
        ),
    ] = "4s"
    ordering: Annotated[
        Literal["entity", "none"],
        Meta(
            description="entity: messages of a thing leave one after another. none: each goes as "
            "soon as it can, and no retry holds up another."
        ),
    ] = "entity"
    batch: Annotated[
        Batching | None, Meta(description="Several messages in one request; null: one each.")
    ] = None

    @property
    def ordered(self) -> bool:
        """See ``connectors.base.Ways``."""
        return self.ordering == "entity"

    @property
    def pipelined(self) -> bool:
        """See ``connectors.base.Ways``."""
        return self.batch is not None
