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
    group_protocol: Annotated[
        Literal["classic", "consumer"],
        Meta(
            description="`consumer`: the brokers assign partitions (KIP-848, Kafka 4), and decide "
            "how long a dead consumer keeps its own (45 s unless set there; `classic`: 10 s)."
        ),
    ] = "classic"
    group_instance_id: Annotated[
        str | None,
        Meta(
            description="Makes consumers static members of the group: one that is killed gets its "
            "partitions back when it is there again, at once and undisturbed. A template with "
            "connection:id, to which the numbers of client, source and consumer are added. "
            "Must differ between installations that share a group.",
            examples=["{{ connection:id }}-site-1"],
        ),
    ] = None
