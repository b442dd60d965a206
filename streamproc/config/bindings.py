"""Ditto's rules by connection type (spec: Ditto 10.1, 11), one row each.

``rules`` reads this table. Types that only this project has stand in it too. A row says
nothing about whether there is a connector: that is the table in ``connectors``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from streamproc.config import addresses, duration, expressions
from streamproc.config.problem import Finding, did_you_mean, quoted
from streamproc.lang.scopes import Scope

AddressCheck = Callable[[str], str]
OptionsCheck = Callable[[Mapping[str, str], str], Iterator[Finding]]
"""specificConfig as texts, and the connection's id, to what is wrong with its values."""


def _no_options(options: Mapping[str, str], connection_id: str) -> Iterator[Finding]:
    yield from ()


@dataclass(frozen=True, kw_only=True)
class Headers:
    """What the header mapping of one side may hold."""

    scope: Scope = Scope.SIGNAL
    keys: frozenset[str] | None = None  # the only ones allowed


@dataclass(frozen=True, kw_only=True)
class Binding:
    """One connection type."""

    schemes: tuple[str, ...] = ()  # none: the type has no uri
    secure: tuple[str, ...] = ()
    uri: Literal["required", "ignored"] = "required"
    sources: bool = True
    targets: bool = True
    source_address: AddressCheck = addresses.not_empty
    source_form: str = ""  # what an address looks like, for people
    target_address: AddressCheck = addresses.not_empty
    target_form: str = ""
    credentials: frozenset[str] = frozenset()
    ssh_tunnel: bool = True
    source_qos: tuple[int, ...] | None = None  # allowed values; None: any, ignored
    qos_required: bool = False  # of sources and targets
    single_consumer: bool = False  # neither clientCount nor consumerCount above 1
    enforcement_input: Scope = Scope.ENFORCEMENT_INPUT
    enforcement_filter: Scope = Scope.ENFORCEMENT_FILTER
    source_headers: Headers = field(default_factory=Headers)
    target_headers: Headers = field(default_factory=Headers)
    options: OptionsCheck = _no_options


def _duration(
    options: Mapping[str, str], key: str, least_s: float, most_s: float
) -> Iterator[Finding]:
    if key not in options:
        return
    length = duration.seconds(options[key])
    if length is None or not least_s <= length <= most_s:
        most = "" if most_s == float("inf") else f" to {most_s:g}s"
        yield Finding(
            path=("specificConfig", key),
            message=f"expected a duration from {least_s:g}s{most}",
            found=quoted(options[key]),
        )


def _whole(options: Mapping[str, str], key: str, least: int, most: int) -> Iterator[Finding]:
    text = options.get(key)
    if text is None:
        return
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text) or not least <= int(text) <= most:
        yield Finding(
            path=("specificConfig", key),
            message=f"expected a whole number from {least} to {most}",
            found=quoted(text),
        )


def _truth(options: Mapping[str, str], *keys: str) -> Iterator[Finding]:
    for key in keys:
        if key in options and options[key].lower() not in ("true", "false"):
            yield Finding(
                path=("specificConfig", key),
                message="expected true or false",
                found=quoted(options[key]),
            )


def _one_of(options: Mapping[str, str], key: str, *words: str) -> Iterator[Finding]:
    if key in options and options[key].lower() not in words:
        yield Finding(
            path=("specificConfig", key),
            message=f"expected one of {', '.join(map(repr, words))}",
            found=quoted(options[key]),
            hint=did_you_mean(options[key], words),
        )


def diversion_options(options: Mapping[str, str]) -> Iterator[Finding]:
    """Response diversion (spec: Ditto 2.8), of every type."""
    yield from _truth(
        options, "is-diversion-source", "is-diversion-target", "preserve-normal-response-via-source"
    )


def methods(text: str) -> list[str]:
    """The methods of ``omitRequestBody``: comma text, or the text of a JSON list."""
    inside = text.strip().removeprefix("[").removesuffix("]")
    return [word for part in inside.split(",") if (word := part.strip().strip('"'))]


def _http_push(options: Mapping[str, str], connection_id: str) -> Iterator[Finding]:
    yield from _whole(options, "parallelism", 1, 10_000)
    yield from _duration(options, "idleTimeout", 0, 60)
    for method in methods(options.get("omitRequestBody", "")):
        if method not in addresses.HTTP_METHODS:
            yield Finding(
                path=("specificConfig", "omitRequestBody"),
                message="expected names of HTTP methods",
                found=quoted(method),
                hint=did_you_mean(method, addresses.HTTP_METHODS),
            )


_SERVER = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})\Z")


def servers(text: str) -> list[str]:
    """``host:port,host:port`` taken apart; those that are none stay as they are."""
    return [part.strip() for part in text.split(",")]


def is_server(text: str) -> bool:
    match = _SERVER.match(text)
    return match is not None and 0 < int(match[1]) < 65536


def _kafka(options: Mapping[str, str], connection_id: str) -> Iterator[Finding]:
    path = ("specificConfig", "bootstrapServers")
    if "bootstrapServers" not in options:
        yield Finding(path=path, message="is missing, expected host:port[,host:port...]")
    elif not all(is_server(server) for server in servers(options["bootstrapServers"])):
        yield Finding(
            path=path,
            message="expected host:port[,host:port...]",
            found=quoted(options["bootstrapServers"]),
        )
    yield from _one_of(options, "saslMechanism", "plain", "scram-sha-256", "scram-sha-512")
    yield from _one_of(options, "consumerOffsetReset", "earliest", "latest")
    yield from _one_of(options, "groupProtocol", "classic", "consumer")
    yield from _truth(options, "debugEnabled", "skipSettled")
    yield from _group(options, connection_id)
    yield from _group(options, connection_id, "groupInstanceId")


def _group(
    options: Mapping[str, str], connection_id: str, name: str = "groupId"
) -> Iterator[Finding]:
    text = options.get(name)
    if text is None:
        return
    path = ("specificConfig", name)
    # The id itself may hold a colon, which Kafka takes; so it is left out of the check.
    plan, found = expressions.template(text, Scope.GROUP_ID, path, "")
    yield from found
    if plan is None:
        return
    fixed = expressions.shape(plan).replace(expressions.HOLE, "")
    if not text or not re.fullmatch(r"[a-zA-Z0-9._-]*", fixed):
        yield Finding(
            path=path, message="expected letters, digits, '.', '_' and '-'", found=quoted(text)
        )


def _hono(options: Mapping[str, str], connection_id: str) -> Iterator[Finding]:
    yield from _group(options, connection_id)
    if (tenant := options.get("honoTenantId")) is not None:
        path = ("specificConfig", "honoTenantId")
        yield from expressions.mistakes(tenant, Scope.TENANT, path, connection_id)


def _mqtt(options: Mapping[str, str], connection_id: str) -> Iterator[Finding]:
    yield from _duration(options, "keepAlive", 0, 65_535)
    yield from _duration(options, "reconnectForRedeliveryDelay", 1, float("inf"))
    yield from _truth(
        options,
        *("cleanSession", "separatePublisherClient", "reconnectForRedelivery", "lastWillRetain"),
    )
    yield from _whole(options, "lastWillQos", 0, 2)
    topic = options.get("lastWillTopic")
    if topic is not None and (problem := addresses.mqtt_topic(topic)):
        yield Finding(
            path=("specificConfig", "lastWillTopic"), message=problem, found=quoted(topic)
        )


_AMQP = ("amqp", "amqps")
_TCP = ("tcp", "ssl")
_CERTIFICATE = frozenset({"client-cert"})
_MQTT3_KEYS = frozenset({"mqtt.topic", "mqtt.qos", "mqtt.retain"})

BINDINGS: dict[str, Binding] = {
    "amqp-091": Binding(
        schemes=_AMQP,
        secure=("amqps",),
        source_form="the name of a queue that exists",
        target_form="`exchange/routingKey`, where the exchange exists; `amq.default/queue` for a "
        "queue",
        credentials=_CERTIFICATE,
    ),
    "amqp-10": Binding(
        schemes=_AMQP,
        secure=("amqps",),
        source_form="a queue or topic",
        target_form="`queue://name`, `topic://name`, or the name of a queue",
        credentials=_CERTIFICATE | {"hmac"},
    ),
    "mqtt": Binding(
        schemes=_TCP,
        secure=("ssl",),
        source_address=addresses.mqtt_filter,
        target_address=addresses.mqtt_topic,
        credentials=_CERTIFICATE,
        source_qos=(0, 1, 2),
        qos_required=True,
        single_consumer=True,
        enforcement_input=Scope.ENFORCEMENT_INPUT_MQTT,
        enforcement_filter=Scope.ENFORCEMENT_FILTER_MQTT,
        source_headers=Headers(scope=Scope.MQTT_SOURCE_HEADERS),
        target_headers=Headers(scope=Scope.MQTT_TARGET_HEADERS, keys=_MQTT3_KEYS),
        options=_mqtt,
    ),
    "mqtt-5": Binding(
        schemes=_TCP,
        secure=("ssl",),
        source_address=addresses.mqtt_filter,
        target_address=addresses.mqtt_topic,
        credentials=_CERTIFICATE,
        source_qos=(0, 1, 2),
        qos_required=True,
        enforcement_input=Scope.ENFORCEMENT_INPUT_MQTT5,
        enforcement_filter=Scope.ENFORCEMENT_FILTER_MQTT,
        options=_mqtt,
    ),
    "kafka": Binding(
        schemes=_TCP,
        secure=("ssl",),
        source_address=addresses.kafka_topic,
        source_form="the name of a topic; no pattern",
        target_address=addresses.kafka_target,
        target_form="`topic`, `topic/key` or `topic#partition`",
        credentials=_CERTIFICATE,
        ssh_tunnel=False,
        source_qos=(0, 1),
        options=_kafka,
    ),
    "hono": Binding(
        uri="ignored",
        source_address=addresses.hono_source,
        target_address=addresses.hono_target,
        source_qos=(0, 1),
        options=_hono,
    ),
    "http-push": Binding(
        schemes=("http", "https"),
        secure=("https",),
        sources=False,
        target_address=addresses.http_target,
        target_form="`VERB:/path`, appended to the path of the uri; "
        f"the verb is one of {', '.join(addresses.HTTP_VERBS)}",
        credentials=frozenset(
            {"client-cert", "hmac", "oauth-client-credentials", "oauth-password"}
        ),
        options=_http_push,
    ),
    "http-ingest": Binding(
        schemes=("http",),
        targets=False,
        source_address=addresses.http_path,
        source_form="the path to listen on, beginning with `/`",
        ssh_tunnel=False,
    ),
    "generator": Binding(targets=False, ssh_tunnel=False, source_form="any name"),
    "memory": Binding(
        ssh_tunnel=False, source_form="the name of a queue", target_form="the name of a queue"
    ),
}
