"""What this version cannot run, or runs other than it is written.

Ditto's own rules are in ``rules``. A configuration that passes both starts, and does what it
says: what would be quietly left out is a problem here, what merely has no effect a warning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from streamproc.config import addresses, expressions, http_credentials
from streamproc.config.annotation import description, extra, options
from streamproc.config.bindings import BINDINGS
from streamproc.config.connection import Connection
from streamproc.config.duration import seconds
from streamproc.config.endpoint import EndpointOptions
from streamproc.config.mappers import ENGINES
from streamproc.config.options import options_of
from streamproc.config.problem import Finding, Path, quoted
from streamproc.config.statuses import StatusesInvalid, meanings
from streamproc.connectors import CONNECTORS
from streamproc.connectors.http_push.config import MAX_DELAY_S
from streamproc.errors import ConfigError
from streamproc.lang.scopes import Scope

MAPPERS = frozenset({"Ditto"})
"""Payload mappers that there are."""

CREDENTIALS: dict[str, frozenset[str]] = {
    "amqp-091": frozenset({"client-cert"}),
    "kafka": frozenset({"client-cert"}),
    "http-push": frozenset({"client-cert", "hmac", "oauth-client-credentials", "oauth-password"}),
}
"""Credentials that a connector uses, beside user and password in the uri."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_UNSENDABLE = re.compile(r"[\r\n\x00]")


def check(connection: Connection) -> list[Finding]:
    """Findings about one connection, problems and warnings."""
    return [
        *_connector(connection),
        *_credentials(connection),
        *_mappers(connection),
        *_group(connection),
        *_addresses(connection),
        *_headers(connection),
        *http_credentials.check(connection),
        *_batching(connection),
        *_statuses(connection),
        *_enforcement(connection),
        *_acknowledgements(connection),
        *_quiet(connection),
    ]


def unused(model: type[msgspec.Struct], raw: Any, path: Path = ()) -> Iterator[Finding]:
    """A warning for each option that is written down and has no effect."""
    for option in options(model):
        if isinstance(raw, dict) and option.encode_name in raw and extra(option.type, "unused"):
            yield Finding(
                path=(*path, option.encode_name),
                message=description(option.type).rstrip("."),
                warning=True,
            )


_LATER = {
    "declaredAcks": "has no effect in this version: only targets acknowledge, by "
    "issuedAcknowledgementLabel",
    "replyTarget": "has no effect in this version: no replies are sent",
}


def _without_effect(connection: Connection) -> Iterator[tuple[Path, bool]]:
    """Options that this version reads, checks and then leaves alone; whether each is given."""
    for index, source in enumerate(connection.sources):
        base: Path = ("sources", index)
        yield (*base, "declaredAcks"), bool(source.declared_acks)
        reply = source.reply_target
        yield (*base, "replyTarget"), reply is not None and reply.enabled


def _connector(connection: Connection) -> Iterator[Finding]:
    kind = connection.connection_type
    row = CONNECTORS.get(kind)
    if row is None:
        if kind in BINDINGS:
            yield Finding(
                path=("connectionType",),
                message="there is no connector of this type in this version",
                found=quoted(kind),
                hint=f"there are {', '.join(CONNECTORS)}",
            )
        return
    if connection.ssh_tunnel is not None and connection.ssh_tunnel.enabled:
        yield Finding(path=("sshTunnel",), message="there are no SSH tunnels in this version")
    for option in ("is-diversion-source", "is-diversion-target"):
        if str(connection.specific_config.get(option, "")).lower() == "true":
            yield Finding(
                path=("specificConfig", option),
                message="there is no diversion of responses in this version",
            )


def _credentials(connection: Connection) -> Iterator[Finding]:
    given, binding = connection.credentials, BINDINGS.get(connection.connection_type)
    if given is None or binding is None or connection.connection_type not in CONNECTORS:
        return
    kind = given.get("type")
    if kind in binding.credentials and kind not in CREDENTIALS.get(
        connection.connection_type, frozenset()
    ):
        yield Finding(
            path=("credentials", "type"),
            message=f"{connection.connection_type} has no such credentials in this version",
            found=quoted(kind),
        )
    elif kind == "client-cert" and (given.get("cert") is None) != (given.get("key") is None):
        missing = "key" if given.get("key") is None else "cert"
        yield Finding(
            path=("credentials", missing), message="is missing: a certificate needs its key"
        )
    elif kind == "client-cert" and connection.uri.partition("://")[0] not in binding.secure:
        yield Finding(
            path=("credentials",),
            message=f"has no effect without the scheme {' or '.join(map(repr, binding.secure))}",
            warning=True,
        )


def _mappers(connection: Connection) -> Iterator[Finding]:
    used: set[str] = set()
    for side, ends in (
        ("sources", [source.payload_mapping for source in connection.sources]),
        ("targets", [target.payload_mapping for target in connection.targets]),
    ):
        for index, names in enumerate(ends):
            used.update(names)
            for position, name in enumerate(names):
                definition = connection.mapping_definitions.get(name)
                engine = definition.mapping_engine if definition else name
                path: Path = (side, index, "payloadMapping", position)
                if engine in ENGINES and engine not in MAPPERS:
                    yield Finding(
                        path=path,
                        message="there is no such mapper in this version",
                        found=quoted(engine),
                    )
                elif position > 0:
                    yield Finding(
                        path=path, message="there is but one mapper a message in this version"
                    )
                elif definition is not None and (
                    definition.options
                    or definition.incoming_conditions
                    or definition.outgoing_conditions
                ):
                    yield Finding(
                        path=path,
                        message="mappers have no options and conditions in this version",
                        found=quoted(name),
                    )
    for name in connection.mapping_definitions.keys() - used:
        yield Finding(
            path=("mappingDefinitions", name),
            message="is used by no source and no target",
            warning=True,
        )


def _group(connection: Connection) -> Iterator[Finding]:
    """The group of a Kafka consumer is made before there is anything to run functions on."""
    text = connection.specific_config.get("groupId")
    if connection.connection_type == "kafka" and isinstance(text, str):
        path: Path = ("specificConfig", "groupId")
        plan, _ = expressions.template(text, Scope.GROUP_ID, path, connection.id)
        if plan is not None and (plan.constant is None or "${" in text):
            yield Finding(
                path=path,
                message="expected {{ connection:id }} without functions, in this version",
                found=quoted(text),
            )


def _addresses(connection: Connection) -> Iterator[Finding]:
    """Ditto takes any target address of AMQP 0.9.1 and fails when it publishes."""
    if connection.connection_type != "amqp-091":
        return
    for index, target in enumerate(connection.targets):
        path: Path = ("targets", index, "address")
        plan, _ = expressions.template(target.address, Scope.SIGNAL, path, connection.id)
        if plan is not None and (problem := addresses.amqp091_target(expressions.shape(plan))):
            yield Finding(path=path, message=problem, found=quoted(target.address))


def _headers(connection: Connection) -> Iterator[Finding]:
    """What no HTTP request can carry."""
    if connection.connection_type != "http-push":
        return
    for index, target in enumerate(connection.targets):
        for name, text in target.header_mapping.items():
            path: Path = ("targets", index, "headerMapping", name)
            if not _TOKEN.match(name):
                yield Finding(path=path, message="expected the name of an HTTP header")
            plan, _ = expressions.template(text, Scope.SIGNAL, path, connection.id)
            if plan is not None and _UNSENDABLE.search(expressions.shape(plan)):
                yield Finding(path=path, message="expected text without line ends and NUL")


def _batching(connection: Connection) -> Iterator[Finding]:
    """What no batch can be."""
    if connection.connection_type != "http-push":
        return
    try:
        batch = options_of(connection).batch  # type: ignore[attr-defined]
    except ConfigError:
        return
    if batch is None:
        return
    path: Path = ("specificConfig", "batch")
    found = seconds(batch.max_delay)
    if found is None or found > MAX_DELAY_S:
        yield Finding(
            path=(*path, "maxDelay"),
            message=f"expected a duration up to {MAX_DELAY_S:g}s, such as 10ms",
            found=quoted(batch.max_delay),
        )


def _statuses(connection: Connection) -> Iterator[Finding]:
    """What answers of an endpoint mean."""
    row = CONNECTORS.get(connection.connection_type)
    if row is None or not issubclass(row.options, EndpointOptions):
        return
    try:
        found = options_of(connection)
    except ConfigError:
        return
    assert isinstance(found, EndpointOptions)
    try:
        meanings(found.statuses)
    except StatusesInvalid as error:
        option = f"{error.meaning}Status"
        yield Finding(path=("specificConfig", option), message=str(error))


def _enforcement(connection: Connection) -> Iterator[Finding]:
    """Ditto takes an enforcement without filters, which then refuses every message."""
    for index, source in enumerate(connection.sources):
        if source.enforcement is not None and not source.enforcement.filters:
            yield Finding(
                path=("sources", index, "enforcement", "filters"),
                message="expected at least one filter",
            )


def _acknowledgements(connection: Connection) -> Iterator[Finding]:
    """What is asked for, or given, and reaches nobody."""
    for index, source in enumerate(connection.sources):
        if source.acknowledgement_requests is not None and source.qos == 0:
            yield Finding(
                path=("sources", index, "acknowledgementRequests"),
                message="has no effect with qos 0: messages are settled before anybody answers",
                warning=True,
            )
    for index, target in enumerate(connection.targets):
        label = target.issued_acknowledgement_label
        if label == "live-response" and connection.connection_type != "http-push":
            yield Finding(
                path=("targets", index, "issuedAcknowledgementLabel"),
                message="a target of this type answers without a payload: senders of live "
                "signals learn only that it has them",
                warning=True,
            )


def _quiet(connection: Connection) -> Iterator[Finding]:
    """What will not do what it seems to."""
    for path, is_given in _without_effect(connection):
        if is_given:
            yield Finding(path=path, message=_LATER[str(path[-1])], warning=True)
    for index, target in enumerate(connection.targets):
        base: Path = ("targets", index)
        if target.qos is not None and connection.connection_type not in ("mqtt", "mqtt-5"):
            yield Finding(
                path=(*base, "qos"), message="has no effect on targets but MQTT's", warning=True
            )
        for position, subject in enumerate(target.authorization_context):
            if "{{" in subject or "${" in subject:
                yield Finding(
                    path=(*base, "authorizationContext", position),
                    message="subjects of a target are no templates: taken as it is written",
                    warning=True,
                )
        if not target.topics:
            yield Finding(
                path=(*base, "topics"),
                message="without topics the target receives nothing",
                warning=True,
            )
