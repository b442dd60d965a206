"""From a connection to what librdkafka is told. Pure: the same in, the same out."""

from __future__ import annotations

import re
from typing import Any

from streamproc.config.uri import ConnectionUri, UriInvalid
from streamproc.connectors.base import SourceSpec, TargetSpec
from streamproc.errors import Misconfigured

KIB = 1024
MIB = 1024 * KIB

SESSION_TIMEOUT_S = 10.0
"""How long a dead consumer keeps its partitions from the others."""

DELIVERY_TIMEOUT_S = 30.0
"""How long librdkafka tries to deliver a message before the link counts as lost."""

METADATA_S = 30.0
"""New partitions are found within this time."""

IN_FLIGHT = 3
"""Produce requests on their way to a broker at once. It serves those of a connection one after
the other, so more only cover the network's time. An idempotent producer has one for each
partition: were more allowed than its partitions use, the client library's thread would look
without a pause whether the next may go."""

MOST_MESSAGE_BYTES = 64 * MIB
"""The broker decides what is too large, not the client."""

BATCH_BYTES = 200_000
"""The broker refuses a batch as a whole, so keep it well under any usual topic's limit."""

_CONNECTION_ID = re.compile(r"\{\{\s*connection:id\s*\}\}")
_MECHANISMS = {
    "plain": "PLAIN",
    "scram-sha-256": "SCRAM-SHA-256",
    "scram-sha-512": "SCRAM-SHA-512",
}


def consumer(spec: SourceSpec) -> dict[str, Any]:
    """Settings of one consumer. Half of the byte budget is librdkafka's, half is ours."""
    identity, options = spec.identity, spec.options
    budget = max(spec.prefetch_bytes // 2, MIB)
    member = f"{identity.client_index}-{_index(spec)}-{spec.consumer_index}"
    return {
        **_link(spec, f"{identity.connection_id}-{member}"),
        "group.id": group_id(options.group_id, identity.connection_id),
        **_membership(spec, member),
        "auto.offset.reset": "earliest",  # "latest" is found at the assignment: see Intake
        "max.poll.interval.ms": 60_000,
        # We commit ourselves: only what is settled (see Commits).
        "enable.auto.offset.store": False,
        "enable.auto.commit": False,
        "queued.max.messages.kbytes": budget // KIB,
        "queued.min.messages": max(spec.prefetch, 1),
        "fetch.max.bytes": budget,
        "fetch.message.max.bytes": min(MIB, budget),
        "fetch.queue.backoff.ms": 10,
    }


def _index(spec: SourceSpec) -> int:
    """Which of the connection's sources it is: they share a group."""
    sources = spec.connection.sources
    return next((n for n, source in enumerate(sources) if source is spec.source), 0)


def _membership(spec: SourceSpec, member: str) -> dict[str, Any]:
    """How it belongs to its group."""
    options = spec.options
    settings: dict[str, Any] = {}
    if options.group_instance_id:
        name = _resolved("groupInstanceId", options.group_instance_id, spec.identity.connection_id)
        settings["group.instance.id"] = f"{name}-{member}"
    if options.group_protocol == "consumer":
        return settings | {"group.protocol": "consumer"}
    return settings | {
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": int(SESSION_TIMEOUT_S * 1000),
        "heartbeat.interval.ms": 2_000,
    }


def producer(spec: TargetSpec, capacity: int) -> dict[str, Any]:
    """Settings of the producer: no loss, no doubles and no new order by its own retries."""
    return {
        **_link(spec, f"{spec.identity.connection_id}-{spec.identity.client_index}-target"),
        "enable.idempotence": True,
        "message.timeout.ms": int(DELIVERY_TIMEOUT_S * 1000),
        # How long a topic may be unknown before its messages fail.
        "topic.metadata.propagation.max.ms": 5_000,
        "linger.ms": 0.5,
        "max.in.flight": IN_FLIGHT,
        "batch.size": BATCH_BYTES,
        "message.max.bytes": MOST_MESSAGE_BYTES,
        "queue.buffering.max.messages": 2 * capacity,
        "queue.buffering.max.kbytes": 2 * 1024 * 1024,  # the runner's window is the bound
        # As Java clients do, Ditto among them: the same key goes to the same partition.
        "partitioner": "murmur2_random",
    }


def group_id(template: str | None, connection_id: str) -> str:
    """The consumer group. Raises Misconfigured."""
    return _resolved("groupId", template, connection_id) if template else connection_id


def _resolved(name: str, template: str, connection_id: str) -> str:
    resolved = _CONNECTION_ID.sub(lambda _: connection_id, template)
    if "{{" in resolved:
        raise Misconfigured(f"{name} {template!r} has a placeholder other than connection:id")
    return resolved


def _link(spec: SourceSpec | TargetSpec, client_id: str) -> dict[str, Any]:
    connection, options = spec.connection, spec.options
    try:
        uri = ConnectionUri.parse(connection.uri)
    except UriInvalid as error:
        raise Misconfigured(str(error)) from error
    secure = uri.scheme == "ssl"
    settings: dict[str, Any] = {
        "client.id": client_id,
        "bootstrap.servers": _servers(uri.authority, options.bootstrap_servers),
        "security.protocol": _protocol(secure=secure, sasl=uri.user is not None),
        "socket.keepalive.enable": True,
        "topic.metadata.refresh.interval.ms": int(METADATA_S * 1000),
        "reconnect.backoff.ms": 100,
        "reconnect.backoff.max.ms": 2_000,
        "log_level": 0,  # nothing to standard error: what matters comes as an error
    }
    if uri.user is not None:
        settings["sasl.mechanisms"] = _MECHANISMS[options.sasl_mechanism]
        settings["sasl.username"] = uri.user
        settings["sasl.password"] = uri.password
    if secure:
        settings |= _tls(connection)
    return settings


def _servers(first: str, more: str) -> str:
    servers = [first, *(server.strip() for server in more.split(","))]
    return ",".join(dict.fromkeys(server for server in servers if server))


def _protocol(*, secure: bool, sasl: bool) -> str:
    return ("SASL_" if sasl else "") + ("SSL" if secure else "PLAINTEXT")


def _tls(connection: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if connection.ca:
        settings["ssl.ca.pem"] = connection.ca
    if not connection.validate_certificates:
        settings["enable.ssl.certificate.verification"] = False
        settings["ssl.endpoint.identification.algorithm"] = "none"
    credentials = connection.credentials or {}
    if credentials.get("type") == "client-cert":
        if credentials.get("cert"):
            settings["ssl.certificate.pem"] = credentials["cert"]
        if credentials.get("key"):
            settings["ssl.key.pem"] = credentials["key"]
    return settings
