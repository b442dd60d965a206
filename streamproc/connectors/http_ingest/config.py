"""Options of HTTP ingestion. Imports nothing but msgspec."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from streamproc.config.section import Section


class HttpIngestOptions(Section, frozen=True, kw_only=True):
    """Takes POST requests and answers each when its message is settled."""

    answer_within_s: Annotated[
        float,
        Meta(description="A request not settled by then is answered 504.", gt=0, le=3600),
    ] = 60.0
    retry_after_s: Annotated[
        int, Meta(description="Retry-After of a 503 when the window is full.", ge=1)
    ] = 1
    max_connections: Annotated[int, Meta(description="Open TCP connections.", ge=1)] = 10_000
    idle_s: Annotated[float, Meta(description="A connection idle for longer is closed.", gt=0)] = (
        75.0
    )
