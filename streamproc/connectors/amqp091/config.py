"""Options of AMQP 0.9.1 connections. Imports nothing but msgspec."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from streamproc.config.section import Section


class Amqp091Options(Section, frozen=True, kw_only=True):
    """`specificConfig` of an AMQP 0.9.1 connection (spec: Ditto 11.4)."""

    connection_timeout: Annotated[int, Meta(description="Milliseconds to connect.", ge=1)] = 60_000
    handshake_timeout: Annotated[
        int, Meta(description="Milliseconds for the AMQP handshake.", ge=1)
    ] = 10_000
    channel_rpc_timeout: Annotated[
        int, Meta(description="Milliseconds for an answer on a channel.", ge=1)
    ] = 600_000
    requested_heartbeat: Annotated[
        int, Meta(description="Seconds between heartbeats; 0: none.", ge=0, le=65_535)
    ] = 60
    requested_frame_max: Annotated[
        int, Meta(description="Largest frame in bytes; 0: the broker's.", ge=0)
    ] = 0
    requested_channel_max: Annotated[
        int,
        Meta(description="Most channels, of which 2 are used; 0: the broker's.", ge=0, le=65_535),
    ] = 2047
    network_recovery_interval: Annotated[
        int | None,
        Meta(
            description="Has no effect: links are opened again with back-off.",
            extra={"unused": True},
        ),
    ] = None
    topology_recovery_enabled: Annotated[
        bool | None,
        Meta(
            description="Has no effect: consumers are always set up again.", extra={"unused": True}
        ),
    ] = None
    channel_should_check_rpc_response_type: Annotated[
        bool | None,
        Meta(description="Has no effect: answers are always checked.", extra={"unused": True}),
    ] = None
    shutdown_timeout: Annotated[int, Meta(description="Milliseconds to close.", ge=1)] = 10_000
    unsettled_timeout: Annotated[
        int,
        Meta(
            description="Milliseconds until a message that is not settled goes back to its queue: "
            "less than the broker's consumer_timeout; 0: never.",
            ge=0,
        ),
    ] = 1_500_000
