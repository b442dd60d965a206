"""Ditto's rules for a connection (spec: Ditto 1.2 to 1.6, 2.1, 2.7, 2.8, 3.1, 10.1, 11).

``check`` answers with everything that is wrong, each with the path in the connection and
Ditto's error code. What this project demands beyond Ditto is in ``support``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from streamproc.config import credentials, ends, mappers, pem
from streamproc.config.bindings import BINDINGS, Binding, diversion_options
from streamproc.config.connection import Connection, SshTunnel
from streamproc.config.hosts import HostCheck, Resolver, system_resolver
from streamproc.config.problem import CONFIG_INVALID, URI_INVALID, Finding, Path, quoted
from streamproc.config.service import Hosts, Limits
from streamproc.config.uri import ConnectionUri, UriInvalid

ID_INVALID = "connectivity:connection.id.invalid"
ANNOUNCEMENTS = "_/_/connections/announcements"
FINGERPRINTS = ("MD5", "SHA1", "SHA224", "SHA256", "SHA384", "SHA512")


def check(
    connection: Connection,
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    hosts: HostCheck | Hosts = Hosts(),  # noqa: B008 - frozen
    resolve: Resolver = system_resolver,
) -> list[Finding]:
    """All that Ditto would refuse, and warnings. Looks a host up only where *hosts* has rules."""
    reach = hosts if isinstance(hosts, HostCheck) else HostCheck(hosts, resolve)
    binding = BINDINGS.get(connection.connection_type)
    found = [
        *_identity(connection),
        *_counts(connection, limits),
        *ends.check(connection, binding),
        *mappers.check(connection),
        *_certificates(connection),
        *diversion_options(option_texts(connection.specific_config)),
        *_diverting(connection),
    ]
    if binding is not None:
        found += [
            *_uri(connection, binding, reach),
            *_credentials(connection, binding, reach),
            *binding.options(option_texts(connection.specific_config), connection.id),
        ]
    if connection.ssh_tunnel is not None:
        found += _ssh_tunnel(connection.ssh_tunnel, binding, reach)
    return found


def option_texts(options: Mapping[str, Any]) -> dict[str, str]:
    """specificConfig as Ditto keeps it: every value a text."""
    return {key: _option_text(value) for key, value in options.items() if value is not None}


def _option_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(map(_option_text, value))
    if isinstance(value, dict):
        return json.dumps(value, default=str)
    return str(value)


def _diverting(connection: Connection) -> Iterator[Finding]:
    """Who may divert responses to this connection."""
    option = "authorized-connections-as-sources"
    specific = option_texts(connection.specific_config)
    if specific.get("is-diversion-target", "").lower() != "true" or not specific.get(option):
        return
    for name in specific[option].split(","):
        if not ends.CONNECTION_ID.match(name.strip()):
            yield Finding(
                path=("specificConfig", option),
                message="expected a comma list of ids of connections",
                found=quoted(name.strip()),
                code=ID_INVALID,
            )


def _identity(connection: Connection) -> Iterator[Finding]:
    if not ends.CONNECTION_ID.match(connection.id):
        yield Finding(
            path=("id",),
            message="expected 1 to 100 letters, digits, '-', '_' or ':'",
            found=quoted(connection.id),
            code=ID_INVALID,
        )


def _counts(connection: Connection, limits: Limits) -> Iterator[Finding]:
    if not connection.sources and not connection.targets:
        yield Finding(
            path=(), message="expected at least one source or target", needs=("sources", "targets")
        )
    for key, count, most in (
        ("sources", len(connection.sources), limits.sources_per_connection),
        ("targets", len(connection.targets), limits.targets_per_connection),
    ):
        if count > most:
            yield Finding(path=(key,), message=f"expected at most {most}", found=str(count))
    if connection.client_count > 1:
        for index, target in enumerate(connection.targets):
            for position, topic in enumerate(target.topics):
                if topic.partition("?")[0] == ANNOUNCEMENTS:
                    yield Finding(
                        path=("targets", index, "topics", position),
                        message="announcements of connections need a clientCount of 1",
                        found=str(connection.client_count),
                    )


def _certificates(connection: Connection) -> Iterator[Finding]:
    """``ca``; one that cannot be used at all is a matter of the uri's scheme."""
    ca = connection.ca
    binding = BINDINGS.get(connection.connection_type)
    if not ca or not ca.strip() or (binding is not None and _is_insecure(connection.uri, binding)):
        return
    if problem := pem.certificates(ca):
        yield Finding(path=("ca",), message=problem)


def _is_insecure(uri: str, binding: Binding) -> bool:
    scheme = uri.partition("://")[0].lower()
    return scheme in binding.schemes and scheme not in binding.secure


def _uri(connection: Connection, binding: Binding, reach: HostCheck) -> Iterator[Finding]:
    path: Path = ("uri",)
    if not binding.schemes:
        if connection.uri and binding.uri == "required":
            yield Finding(path=path, message="this connection type has no uri", warning=True)
        return
    try:
        uri = ConnectionUri.parse(connection.uri)
    except UriInvalid as error:
        yield Finding(path=path, message=str(error), code=URI_INVALID)
        return
    if uri.scheme not in binding.schemes:
        yield Finding(
            path=path,
            message=f"expected the scheme {' or '.join(map(repr, binding.schemes))}",
            found=quoted(uri.scheme),
            code=URI_INVALID,
        )
    elif connection.ca and connection.ca.strip() and uri.scheme not in binding.secure:
        secure = " or ".join(map(repr, binding.secure))
        yield Finding(
            path=path if secure else ("ca",),
            message=f"trusted certificates need the scheme {secure}"
            if secure
            else "certificates have no use here",
            found=quoted(uri.scheme),
            code=URI_INVALID,
        )
    if reason := reach.refusal(uri.host):
        yield Finding(path=path, message="expected a host that may be reached", found=reason)


def _credentials(connection: Connection, binding: Binding, reach: HostCheck) -> Iterator[Finding]:
    given = connection.credentials
    if given is None:
        return
    path: Path = ("credentials",)
    yield from credentials.check(given, path, credentials.OF_CONNECTION)
    kind = given.get("type")
    if kind not in credentials.OF_CONNECTION:
        return
    if kind not in binding.credentials and binding.uri != "ignored":
        allowed = ", ".join(map(repr, sorted(binding.credentials))) or "none"
        yield Finding(
            path=(*path, "type"),
            message=f"expected credentials that {connection.connection_type} can use ({allowed})",
            found=quoted(kind),
        )
    if kind == "hmac" and _has_user(connection.uri):
        yield Finding(path=path, message="hmac and a user in the uri exclude each other")
    host = credentials.token_endpoint_host(given)
    if host and (reason := reach.refusal(host)):
        yield Finding(
            path=(*path, "tokenEndpoint"),
            message="expected a host that may be reached",
            found=reason,
        )


def _has_user(text: str) -> bool:
    try:
        return ConnectionUri.parse(text).user is not None
    except UriInvalid:
        return False


def _ssh_tunnel(tunnel: SshTunnel, binding: Binding | None, reach: HostCheck) -> Iterator[Finding]:
    path: Path = ("sshTunnel",)
    if binding is not None and not binding.ssh_tunnel:
        yield Finding(path=path, message="this connection type cannot use an SSH tunnel")
    try:
        uri = ConnectionUri.parse(tunnel.uri)
    except UriInvalid as error:
        yield Finding(path=(*path, "uri"), message=str(error))
    else:
        if uri.scheme != "ssh":
            yield Finding(
                path=(*path, "uri"),
                message="expected the scheme 'ssh'",
                found=quoted(uri.scheme),
                code=CONFIG_INVALID,
            )
        if reason := reach.refusal(uri.host):
            yield Finding(
                path=(*path, "uri"), message="expected a host that may be reached", found=reason
            )
    yield from credentials.check(
        tunnel.credentials, (*path, "credentials"), credentials.OF_SSH_TUNNEL
    )
    if tunnel.validate_host and not tunnel.known_hosts:
        yield Finding(path=(*path, "knownHosts"), message="validateHost needs a fingerprint here")
    for index, fingerprint in enumerate(tunnel.known_hosts):
        algorithm, colon, digest = fingerprint.partition(":")
        if algorithm not in FINGERPRINTS or not colon or not digest:
            yield Finding(
                path=(*path, "knownHosts", index),
                message=f"expected ALGORITHM:digest with one of {', '.join(FINGERPRINTS)}",
                found=quoted(fingerprint),
            )
