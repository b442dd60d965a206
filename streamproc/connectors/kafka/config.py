"""Options of Kafka connections. Imports nothing but msgspec."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from streamproc.config.section import Section


class KafkaOptions(Section, frozen=True, kw_only=True):
    """`specificConfig` of a Kafka connection (spec: Ditto 11.2)."""

    bootstrap_servers: Annotated[
        str,
        Meta(
            description="host:port[,host:port...], beside the one in the uri.",
            examples=["localhost:9092"],
        ),
    ]
    sasl_mechanism: Annotated[
        Literal["plain", "scram-sha-256", "scram-sha-512"],
        Meta(description="Used when the uri has credentials."),
    ] = "plain"
    group_id: Annotated[
        str | None,
        Meta(description="Consumer group; template with connection:id. Default: connection id."),
    ] = None
    consumer_offset_reset: Annotated[
        Literal["earliest", "latest"],
        Meta(description="Where a group without offsets begins."),
    ] = "latest"
    debug_enabled: Annotated[
        bool, Meta(description="Acknowledgements carry the record's metadata.")
    ] = False
    skip_settled: Annotated[
        bool,
        Meta(
            description="Commits say which messages beyond their offset are settled, too, so "
            "that these do not come again after a restart."
        ),
    ] = True
