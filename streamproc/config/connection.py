"""A connection as Eclipse Ditto writes it (spec: Ditto 1.1, 2.1, 3.1).

Field types say what the JSON must look like; Ditto's further rules are in ``rules.py``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from streamproc.config.section import Section

ConnectionType = Literal[
    "amqp-091",
    "amqp-10",
    "mqtt",
    "mqtt-5",
    "kafka",
    "http-push",
    "hono",
    "http-ingest",
    "generator",
    "memory",
]
Status = Literal["open", "closed", "failed", "misconfigured", "unknown"]
Positive = Annotated[int, Meta(ge=1)]


class Enforcement(Section, frozen=True, kw_only=True):
    """Checks that a message speaks only about the entity its transport identity may."""

    input: Annotated[
        str,
        Meta(
            description="Template for the identity that the transport proves.",
            examples=["{{ header:device_id }}"],
        ),
    ]
    filters: Annotated[
        list[str],
        Meta(
            description="Templates over the entity; one of them must equal the input.",
            examples=[["{{ entity:id }}"]],
        ),
    ]


class AcknowledgementRequests(Section, frozen=True, kw_only=True):
    """Acknowledgements a source asks for on top of what messages ask themselves."""

    includes: Annotated[list[str], Meta(description="Labels always requested.")] = []
    filter: Annotated[
        str | None, Meta(description="Function pipeline that decides whether they are.")
    ] = None


class ReplyTarget(Section, frozen=True, kw_only=True):
    """Where responses and errors to messages of a source go."""

    address: Annotated[str | None, Meta(description="Address template.")] = None
    header_mapping: Annotated[
        dict[str, str], Meta(description="Headers of a reply, each a template.")
    ] = {}
    expected_response_types: Annotated[
        list[str], Meta(description="Which replies go out: response, error, nack.")
    ] = field(default_factory=lambda: ["response", "error"])
    enabled: Annotated[bool, Meta(description="False drops every reply.")] = True


class Source(Section, frozen=True, kw_only=True):
    """Where messages come from."""

    addresses: Annotated[
        list[str], Meta(description="Queues, topics or paths to read. At least one.")
    ]
    consumer_count: Annotated[Positive, Meta(description="Consumers per address and client.")] = 1
    qos: Annotated[
        Literal[0, 1, 2] | None,
        Meta(description="0 settles a message at once; else when every target has it."),
    ] = None
    authorization_context: Annotated[
        list[str],
        Meta(description="Subjects that messages act as. Templates may use header:*."),
    ] = []
    enforcement: Annotated[
        Enforcement | None, Meta(description="Identity check of every message.")
    ] = None
    acknowledgement_requests: Annotated[
        AcknowledgementRequests | None, Meta(description="Acknowledgements to ask for.")
    ] = None
    declared_acks: Annotated[
        list[str], Meta(description="Acknowledgement labels this source may send.")
    ] = []
    header_mapping: Annotated[
        dict[str, str], Meta(description="Ditto headers to set, each a template.")
    ] = {}
    payload_mapping: Annotated[
        list[str], Meta(description="Mappers each message goes through. Empty: Ditto.")
    ] = []
    reply_target: Annotated[ReplyTarget | None, Meta(description="Where replies go.")] = None


class Target(Section, frozen=True, kw_only=True):
    """Where signals go."""

    address: Annotated[
        str,
        Meta(
            description="Address template; its form depends on the connection type.",
            examples=["POST:/things/{{ thing:id }}"],
        ),
    ]
    topics: Annotated[
        list[str],
        Meta(
            description="Subscriptions: which signals, from which namespaces, by which filter.",
            examples=[["_/_/things/twin/events?namespaces=org.acme&filter=gt(attributes/n,3)"]],
        ),
    ]
    authorization_context: Annotated[
        list[str], Meta(description="Subjects that must be allowed to READ the signal.")
    ] = []
    qos: Annotated[
        Literal[0, 1, 2] | None, Meta(description="MQTT quality of service; others ignore it.")
    ] = None
    header_mapping: Annotated[
        dict[str, str], Meta(description="External headers to set, each a template.")
    ] = {}
    payload_mapping: Annotated[
        list[str], Meta(description="Mappers each signal goes through. Empty: Ditto.")
    ] = []
    issued_acknowledgement_label: Annotated[
        str | None, Meta(description="Label acknowledged when the target has a message.")
    ] = None


class SshTunnel(Section, frozen=True, kw_only=True):
    """An SSH tunnel to the broker."""

    enabled: Annotated[bool, Meta(description="Whether the tunnel is used.")]
    uri: Annotated[str, Meta(description="ssh://host:port")]
    credentials: Annotated[
        dict[str, Any],
        Meta(description="Of the type `plain` or `public-key`.", extra={"secret": True}),
    ]
    validate_host: Annotated[bool, Meta(description="Whether the host key is checked.")]
    known_hosts: Annotated[list[str], Meta(description="Fingerprints, algorithm first.")] = []


class MappingDefinition(Section, frozen=True, kw_only=True):
    """A payload mapper with its options."""

    mapping_engine: Annotated[str, Meta(description="Name of the mapper.", examples=["Ditto"])]
    options: Annotated[dict[str, Any], Meta(description="Options of the mapper.")]
    incoming_conditions: Annotated[
        dict[str, str], Meta(description="All must hold for an inbound message.")
    ] = {}
    outgoing_conditions: Annotated[
        dict[str, str], Meta(description="All must hold for an outbound signal.")
    ] = {}


class Connection(Section, frozen=True, kw_only=True):
    """A configured link to a broker or endpoint, with its sources and targets."""

    id: Annotated[
        str,
        Meta(
            description="Unique name. Letters, digits, - _ and :, at most 100.",
            examples=["factory-kafka"],
        ),
    ]
    name: Annotated[str | None, Meta(description="Free text for people.")] = None
    connection_type: Annotated[ConnectionType, Meta(description="The transport.")]
    connection_status: Annotated[
        Status, Meta(description="Desired state; only `open` makes it connect.")
    ] = "open"
    uri: Annotated[
        str,
        Meta(
            description="scheme://[user:password@]host:port[/path]",
            examples=["tcp://localhost:9092"],
            extra={"secret": True},
        ),
    ] = ""
    credentials: Annotated[
        dict[str, Any] | None,
        Meta(description="Credentials beyond those in the uri.", extra={"secret": True}),
    ] = None
    sources: Annotated[list[Source], Meta(description="Where messages come from.")] = []
    targets: Annotated[list[Target], Meta(description="Where signals go.")] = []
    ssh_tunnel: Annotated[SshTunnel | None, Meta(description="SSH tunnel to the broker.")] = None
    client_count: Annotated[
        Positive, Meta(description="Running instances, spread over the workers.")
    ] = 1
    failover_enabled: Annotated[
        bool,
        Meta(
            description="Has no effect: links are always opened again, with back-off.",
            extra={"unused": True},
        ),
    ] = True
    validate_certificates: Annotated[
        bool, Meta(description="False accepts any server certificate.")
    ] = True
    ca: Annotated[str | None, Meta(description="Trusted certificates, PEM.")] = None
    processor_pool_size: Annotated[
        Positive,
        Meta(description="Has no effect: messages are mapped in batches.", extra={"unused": True}),
    ] = 1
    specific_config: Annotated[
        dict[str, Any], Meta(description="Options of the connection type.")
    ] = {}
    mapping_definitions: Annotated[
        dict[str, MappingDefinition], Meta(description="Payload mappers by id.")
    ] = {}
    mapping_context: Annotated[
        dict[str, Any] | None, Meta(description="Deprecated: one mapper for all.")
    ] = None
    tags: Annotated[list[str], Meta(description="Free labels.")] = []
    lifecycle: Annotated[
        Literal["ACTIVE", "DELETED"], Meta(description="Written by Ditto; hidden.")
    ] = field(default="ACTIVE", name="__lifecycle")
    revision: Annotated[int | None, Meta(description="Written by Ditto; ignored.")] = field(
        default=None, name="_revision"
    )
    created: Annotated[str | None, Meta(description="Written by Ditto; ignored.")] = field(
        default=None, name="_created"
    )
    modified: Annotated[str | None, Meta(description="Written by Ditto; ignored.")] = field(
        default=None, name="_modified"
    )
