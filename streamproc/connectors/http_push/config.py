"""Options of HTTP push connections. Imports nothing but msgspec."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from streamproc.config.section import Section


class HttpPushOptions(Section, frozen=True, kw_only=True):
    """`specificConfig` of an HTTP push connection (spec: Ditto 10.1)."""

    parallelism: Annotated[
        int,
        Meta(description="TCP connections per client, so requests at once.", ge=1, le=10_000),
    ] = 1
    idle_timeout: Annotated[
        str,
        Meta(description="Deadline of one request, as a duration up to 60s.", examples=["60s"]),
    ] = "60s"
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
        str | list[str], Meta(description="Methods sent without a body.")
    ] = "GET,DELETE"
