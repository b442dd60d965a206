"""From a connection to what a link needs to be opened. Pure, but for reading certificates."""

from __future__ import annotations

import ssl
from typing import NamedTuple
from urllib.parse import unquote

from yarl import URL

from streamproc.config.uri import ConnectionUri, UriInvalid
from streamproc.connectors.base import SourceSpec, TargetSpec
from streamproc.errors import Misconfigured

DEFAULT_VHOST = "/"


class LinkSettings(NamedTuple):
    """What ``Link.open`` is given."""

    url: URL  # with user and password
    vhost: str
    is_secure: bool
    ca: str | None
    validate: bool
    connect_s: float
    answer_s: float
    close_s: float
    frame_max: int  # 0: the broker's


def of(spec: SourceSpec | TargetSpec, name: str) -> LinkSettings:
    """Raises Misconfigured. *name* is what the broker shows for the connection."""
    connection, options = spec.connection, spec.options
    try:
        uri = ConnectionUri.parse(connection.uri)
    except UriInvalid as error:
        raise Misconfigured(str(error)) from error
    url = URL.build(
        scheme=uri.scheme,
        user=uri.user,
        password=uri.password,
        host=uri.host,
        port=uri.port,
        query={"heartbeat": str(options.requested_heartbeat), "name": name},
    )
    return LinkSettings(
        url=url,
        vhost=unquote(uri.path[1:]) or DEFAULT_VHOST,
        is_secure=uri.scheme == "amqps",
        ca=connection.ca,
        validate=connection.validate_certificates,
        connect_s=(options.connection_timeout + options.handshake_timeout) / 1000,
        answer_s=options.channel_rpc_timeout / 1000,
        close_s=options.shutdown_timeout / 1000,
        frame_max=options.requested_frame_max,
    )


def tls(settings: LinkSettings) -> ssl.SSLContext | None:
    """Reads the system's certificates, if no others are given: some milliseconds."""
    if not settings.is_secure:
        return None
    try:
        context = ssl.create_default_context(cadata=settings.ca or None)
    except (ssl.SSLError, ValueError) as error:
        raise Misconfigured(f"the ca of the connection cannot be read: {error}") from error
    if not settings.validate:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def name_of(spec: SourceSpec | TargetSpec) -> str:
    """``connection#client``, and which end."""
    identity = spec.identity
    end = f"source {spec.consumer_index}" if isinstance(spec, SourceSpec) else "target"
    return f"{identity.connection_id}#{identity.client_index} {end}"
