"""The service YAML: the one declaration of each option, from which all else follows.

Validation, defaults, ``configs/schema.json`` and ``docs/reference/configuration.md`` are
read from here. Units are in the names.
"""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from msgspec import Meta, field

from streamproc.config.connection import Connection
from streamproc.config.section import Section

MIB = 1 << 20


class Listener(Section, frozen=True, kw_only=True):
    """An address to listen on."""

    host: Annotated[str, Meta(description="Address of the interface.")] = "127.0.0.1"
    port: Annotated[
        int, Meta(description="TCP port; 0 takes a free one and logs it.", ge=0, le=65535)
    ] = 9095


class Limits(Section, frozen=True, kw_only=True):
    """Bounds. Full means that sources stop reading; nothing is dropped."""

    max_message_bytes: Annotated[
        int, Meta(description="Largest payload of one message.", ge=1024)
    ] = MIB
    max_header_bytes: Annotated[
        int, Meta(description="Largest sum of the header names and values of a signal.", ge=256)
    ] = 5 * 1024
    max_subjects: Annotated[
        int, Meta(description="Most authorisation subjects of a signal.", ge=1)
    ] = 100
    source_window_messages: Annotated[
        int, Meta(description="Unsettled messages per consumer of a source.", ge=1)
    ] = 4096
    source_window_bytes: Annotated[
        int, Meta(description="Bytes of unsettled messages per consumer of a source.", ge=1024)
    ] = 32 * MIB
    target_window_messages: Annotated[
        int,
        Meta(description="Deliveries waiting or in flight per client, per sending worker.", ge=1),
    ] = 4096
    target_window_bytes: Annotated[int, Meta(description="Their bytes.", ge=1024)] = 32 * MIB
    parked_bytes: Annotated[
        int, Meta(description="Bytes of parked messages; full means that lanes wait.", ge=4096)
    ] = 256 * MIB
    parked_messages: Annotated[int, Meta(description="Most parked messages.", ge=1)] = 1_000_000
    parked_age_s: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="Age at which a parked message is dropped, and counted; null: never."),
    ] = None
    sources_per_connection: Annotated[int, Meta(description="Most sources.", ge=1)] = 4
    targets_per_connection: Annotated[int, Meta(description="Most targets.", ge=1)] = 4


class Retry(Section, frozen=True, kw_only=True):
    """How a delivery is tried again. A retry holds its lane and no other."""

    first_delay_s: Annotated[float, Meta(description="Longest first wait.", gt=0)] = 0.2
    max_delay_s: Annotated[float, Meta(description="Longest wait.", gt=0)] = 30.0
    max_attempts: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Writes before a delivery is parked; null: no limit."),
    ] = None
    max_age_s: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="Age at which it is parked; null: no limit."),
    ] = None
    max_retry_after_s: Annotated[
        float, Meta(description="Longest wait that an endpoint may ask for (Retry-After).", ge=0)
    ] = 3600.0
    budget_ratio: Annotated[
        float,
        Meta(description="Retries of an endpoint that may fail, per delivery it took.", ge=0, le=1),
    ] = 0.2
    budget_per_s: Annotated[
        float,
        Meta(description="Retries of an endpoint that may fail each second beside these.", gt=0),
    ] = 10.0


class Breaker(Section, frozen=True, kw_only=True):
    """When an endpoint that fails is left alone, and how it is tried again.

    A failure is a connection that breaks, no answer in time, or a status that is tried again;
    but not 429, and not an answer with Retry-After: such an endpoint says itself what it bears.
    """

    mode: Annotated[
        Literal["on", "off"], Meta(description="off: requests go, however many of them fail.")
    ] = "on"
    failure_ratio: Annotated[
        float, Meta(description="Share of deliveries that fail at which it opens.", gt=0, le=1)
    ] = 0.5
    min_requests: Annotated[
        int, Meta(description="Deliveries within the window before it may open.", ge=1)
    ] = 20
    window_s: Annotated[float, Meta(description="How far back it looks.", gt=0)] = 10.0
    first_open_s: Annotated[
        float, Meta(description="Longest wait before the first probe.", gt=0)
    ] = 1.0
    max_open_s: Annotated[
        float, Meta(description="Longest wait before a probe; each in a row doubles it.", gt=0)
    ] = 60.0
    probes: Annotated[
        int, Meta(description="Probes in flight at most, and successes that close it.", ge=1)
    ] = 3


class Parking(Section, frozen=True, kw_only=True):
    """Where messages go that a target refuses for good: the store, or a target first."""

    connection: Annotated[
        str | None,
        Meta(description="Connection whose target gets them; null: the store keeps them."),
    ] = None
    target: Annotated[int, Meta(description="Index of that target.", ge=0)] = 0
    after_s: Annotated[
        float, Meta(description="How long it may take before the store takes them.", gt=0)
    ] = 30.0


class Spill(Section, frozen=True, kw_only=True):
    """The disk in front of a target that is slow or away, so that others go on."""

    mode: Annotated[
        Literal["auto", "off"],
        Meta(description="auto: deliveries that wait too long go to disk. off: sources wait."),
    ] = "auto"
    after_s: Annotated[
        float, Meta(description="How long a target may not keep up before it begins.", gt=0)
    ] = 1.0
    window_messages: Annotated[
        int, Meta(description="Deliveries waiting for a client that count as not keeping up.", ge=1)
    ] = 1024
    max_bytes: Annotated[
        int, Meta(description="Bytes on disk per client; full means that sources wait.", ge=MIB)
    ] = 1024 * MIB


class Supervision(Section, frozen=True, kw_only=True):
    """When a worker is restarted, and when the service gives up."""

    heartbeat_s: Annotated[float, Meta(description="Time between heartbeats.", gt=0)] = 1.0
    silence_s: Annotated[
        float, Meta(description="A worker silent for longer is stopped and started anew.", gt=0)
    ] = 15.0
    start_s: Annotated[float, Meta(description="Time a worker has to become ready.", gt=0)] = 60.0
    first_backoff_s: Annotated[
        float, Meta(description="Wait before the second restart in a row.", ge=0)
    ] = 0.5
    max_backoff_s: Annotated[float, Meta(description="Longest such wait.", gt=0)] = 30.0
    healthy_after_s: Annotated[
        float, Meta(description="A worker that lived this long starts with a clean record.", gt=0)
    ] = 30.0
    crash_limit: Annotated[
        int,
        Meta(description="Crashes in a row of one worker after which the service ends.", ge=1),
    ] = 20
    poison_crashes: Annotated[
        int,
        Meta(
            description="Deaths of workers with a message in hand after which it is parked.", ge=2
        ),
    ] = 3
    drain_s: Annotated[
        float, Meta(description="Time to drain on SIGTERM or before a client moves.", gt=0)
    ] = 30.0


class Hosts(Section, frozen=True, kw_only=True):
    """Which hosts connections may reach.

    With nothing set, all but link-local addresses and those of clouds' metadata services. Once
    a rule is set, loopback, private, multicast and wildcard addresses are refused as well. A
    host that is allowed by name passes in any case. HTTP connections are checked again whenever
    they connect, on the very address.
    """

    allowed: Annotated[
        list[str], Meta(description="Host names and addresses that pass whatever the rules say.")
    ] = []
    blocked: Annotated[
        list[str],
        Meta(description="Host names that, and whose addresses, connections may not reach."),
    ] = []
    blocked_subnets: Annotated[
        list[str],
        Meta(description="Networks that are refused, as CIDR.", examples=[["169.254.0.0/16"]]),
    ] = []
    blocked_regex: Annotated[
        str,
        Meta(description="Host names it matches as a whole are refused. Empty: none."),
    ] = ""
    resolve_within_s: Annotated[
        float, Meta(description="Time to look a host name up, once a rule is set.", gt=0, le=60)
    ] = 5.0


class HttpProxy(Section, frozen=True, kw_only=True):
    """The HTTP proxy that HTTP push connections and token requests go through.

    It looks names up itself, so of the rules in `hosts` those about names and literal addresses
    hold.
    """

    host: Annotated[str, Meta(description="Its host name or address. Empty: no proxy.")] = ""
    port: Annotated[int, Meta(description="Its TCP port.", ge=1, le=65535)] = 3128
    username: Annotated[str, Meta(description="User, for Basic authentication.")] = ""
    password: Annotated[str, Meta(description="Password.", extra={"secret": True})] = ""
    direct: Annotated[
        list[str],
        Meta(
            description="Hosts that are reached without it; with a leading dot, all below.",
            examples=[["localhost", ".internal"]],
        ),
    ] = []


class Twin(Section, frozen=True, kw_only=True):
    """What becomes of twin commands."""

    mode: Annotated[
        Literal["stateless"],
        Meta(description="stateless: a command becomes its event, nothing is stored."),
    ] = "stateless"


class NamespacePolicy(Section, frozen=True, kw_only=True):
    """Which policy governs the things of a namespace."""

    namespace: Annotated[
        str,
        Meta(
            description="A namespace, a prefix ending in `.*`, or `*` for all others.",
            examples=["org.acme", "org.acme.*", "*"],
        ),
    ]
    policy: Annotated[str, Meta(description="Id of a policy in `policies`.")]


class Log(Section, frozen=True, kw_only=True):
    """Log output, on standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="Least severe shown.")
    ] = "info"
    format: Annotated[
        Literal["auto", "json", "pretty"],
        Meta(description="auto: pretty on a terminal, JSON elsewhere."),
    ] = "auto"
    per_event_per_minute: Annotated[
        int, Meta(description="Lines of one event and connection before they are summed.", ge=1)
    ] = 60


def _cores() -> int:
    return len(os.sched_getaffinity(0))


class Service(Section, frozen=True, kw_only=True):
    """A whole service."""

    workers: Annotated[
        int, Meta(description="Worker processes. Default: one per core.", ge=1, le=256)
    ] = field(default_factory=_cores)
    data_dir: Annotated[
        str, Meta(description="Where parked messages are kept. Relative to the file.")
    ] = "data"
    management: Annotated[
        Listener, Meta(description="Where /metrics, /status, /live and /ready answer.")
    ] = Listener()
    limits: Annotated[Limits, Meta(description="Bounds.")] = Limits()
    retry: Annotated[Retry, Meta(description="How deliveries are tried again.")] = Retry()
    breaker: Annotated[Breaker, Meta(description="When an endpoint that fails is left alone.")] = (
        Breaker()
    )
    spill: Annotated[Spill, Meta(description="The disk in front of slow targets.")] = Spill()
    parking: Annotated[Parking, Meta(description="Where refused messages go.")] = Parking()
    supervision: Annotated[Supervision, Meta(description="How workers are watched.")] = (
        Supervision()
    )
    hosts: Annotated[Hosts, Meta(description="Which hosts connections may reach.")] = Hosts()
    http_proxy: Annotated[HttpProxy, Meta(description="The way out for HTTP push connections.")] = (
        HttpProxy()
    )
    twin: Annotated[Twin, Meta(description="What becomes of twin commands.")] = Twin()
    log: Annotated[Log, Meta(description="Log output.")] = Log()
    policies: Annotated[
        dict[str, dict[str, Any]],
        Meta(description="Ditto policies by id: entries, subjects, resources."),
    ] = {}
    namespaces: Annotated[
        list[NamespacePolicy],
        Meta(description="Which policy governs which things. None: no access."),
    ] = []
    connections: Annotated[
        list[Connection], Meta(description="Connections, in Ditto's JSON model.")
    ] = []
    connections_dir: Annotated[
        str | None,
        Meta(description="Folder of more connections, one a file (.json, .yaml, .yml)."),
    ] = None
