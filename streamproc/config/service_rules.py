"""What must fit together in a service: policies and the namespaces that name them, addresses
to listen on, host rules.
"""

from __future__ import annotations

from collections.abc import Iterator

from streamproc.config import hosts
from streamproc.config.problem import Finding, did_you_mean, quoted
from streamproc.config.service import Service
from streamproc.config.uri import ConnectionUri, UriInvalid
from streamproc.errors import ExpressionError
from streamproc.lang.scopes import Scope
from streamproc.lang.template import contains_placeholder, parse
from streamproc.twin.policy import Policies


def check(service: Service) -> Iterator[Finding]:
    """Findings with paths in the service; ``connections`` are counted over all files."""
    yield from Policies.findings(service)
    yield from _no_policy(service)
    yield from _host_rules(service)
    yield from _proxy(service)
    yield from _listeners(service)
    yield from _deaf(service)
    yield from _unanswered(service)
    yield from _parking(service)


def _no_policy(service: Service) -> Iterator[Finding]:
    if service.connections and not service.namespaces:
        yield Finding(
            path=(),
            message="no namespace has a policy, so every message will be refused",
            hint="see $.namespaces",
            warning=True,
        )


def _host_rules(service: Service) -> Iterator[Finding]:
    for index, text in enumerate(service.hosts.blocked_subnets):
        if hosts.subnet(text) is None:
            yield Finding(
                path=("hosts", "blockedSubnets", index),
                message="expected a network as CIDR",
                found=quoted(text),
            )
    if service.hosts.blocked_regex and hosts.pattern(service.hosts.blocked_regex) is None:
        yield Finding(
            path=("hosts", "blockedRegex"),
            message="expected a regular expression",
            found=quoted(service.hosts.blocked_regex),
        )


def _proxy(service: Service) -> Iterator[Finding]:
    proxy = service.http_proxy
    try:
        if proxy.host:
            ConnectionUri.parse(f"http://{_bracketed(proxy.host)}:{proxy.port}")
    except UriInvalid:
        yield Finding(
            path=("httpProxy", "host"),
            message="expected a host name or an address, without scheme and port",
        )
    if proxy.password and not proxy.username:
        yield Finding(path=("httpProxy", "username"), message="expected the user of the password")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _listeners(service: Service) -> Iterator[Finding]:
    """Nothing listens where the management interface does, or another connection, which may
    live on another worker.
    """
    users: dict[tuple[str, int], str] = {}
    for index, connection in enumerate(service.connections):
        if connection.connection_type != "http-ingest":
            continue
        try:
            uri = ConnectionUri.parse(connection.uri)
        except UriInvalid:
            continue
        taken = service.management
        anywhere = {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound
        same_host = uri.host == taken.host or bool(anywhere & {uri.host, taken.host})
        if uri.port == taken.port and same_host:
            yield Finding(
                path=("connections", index, "uri"),
                message="expected a port other than that of $.management",
                found=str(uri.port),
            )
        user = users.setdefault((uri.host, uri.port), connection.id)
        if user != connection.id:
            yield Finding(
                path=("connections", index, "uri"),
                message=f"expected an address of its own, or one connection with more sources: "
                f"{quoted(user)} listens there",
                found=uri.authority,
            )


def _parking(service: Service) -> Iterator[Finding]:
    """What is refused has no signal any more, so the address it goes to is a fixed one."""
    parking = service.parking
    if parking.connection is None:
        return
    named = [c for c in service.connections if c.id == parking.connection]
    if not named:
        yield Finding(
            path=("parking", "connection"),
            message="expected the id of a connection",
            found=quoted(parking.connection),
        )
        return
    (connection, *_) = named
    if parking.target >= len(connection.targets):
        yield Finding(
            path=("parking", "target"),
            message=f"expected the index of a target of {quoted(connection.id)}",
            found=str(parking.target),
        )
        return
    address = connection.targets[parking.target].address
    if contains_placeholder(address):
        yield Finding(
            path=("parking", "target"),
            message="expected a target whose address has no placeholders",
            found=quoted(address),
        )
    if connection.connection_status != "open":
        yield Finding(
            path=("parking", "connection"),
            message="is not open, so the store keeps what is refused",
            warning=True,
        )


def _deaf(service: Service) -> Iterator[Finding]:
    """A connection is not sent what its own sources brought (spec: Ditto 3.3)."""
    senders = {c.id for c in service.connections if c.sources and c.connection_status == "open"}
    for index, connection in enumerate(service.connections):
        listens = any(target.topics for target in connection.targets)
        if listens and connection.connection_status == "open" and not senders - {connection.id}:
            yield Finding(
                path=("connections", index, "targets"),
                message="will receive nothing: no other open connection has sources, "
                "and none is sent what its own sources brought",
                warning=True,
            )


_ANSWERED = frozenset({"twin-persisted", "live-response"})
"""By the twin; by whoever answers a live signal, and asked of nothing else."""


def _unanswered(service: Service) -> Iterator[Finding]:
    """Labels that a source asks for and no target issues: each of its messages is rejected."""
    issued = {
        _label(target.issued_acknowledgement_label, connection.id)
        for connection in service.connections
        for target in connection.targets
        if target.issued_acknowledgement_label is not None
    }
    for index, connection in enumerate(service.connections):
        for source_index, source in enumerate(connection.sources):
            requests = source.acknowledgement_requests
            for position, written in enumerate([] if requests is None else requests.includes):
                if (label := _label(written, connection.id)) in issued | _ANSWERED:
                    continue
                yield Finding(
                    path=(
                        *("connections", index, "sources", source_index),
                        *("acknowledgementRequests", "includes", position),
                    ),
                    message="no target issues this label, so messages that ask for it are rejected",
                    found=quoted(label),
                    hint=did_you_mean(label, issued) or "see issuedAcknowledgementLabel of targets",
                    warning=True,
                )


def _label(text: str, connection_id: str) -> str:
    """*text* with the id of its connection in place of the placeholder."""
    try:
        return parse(text, Scope.ACK_LABEL, connection_id=connection_id).constant or text
    except ExpressionError:
        return text
