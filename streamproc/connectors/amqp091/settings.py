"""From a connection to what a link needs to be opened, and what is agreed with the broker."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote

from streamproc.config.uri import ConnectionUri, UriInvalid
from streamproc.connectors.base import SourceSpec, TargetSpec
from streamproc.connectors.tls import Tls
from streamproc.errors import Misconfigured
from streamproc.version import VERSION

DEFAULT_VHOST = "/"
GUEST = "guest"  # user and password where there are none, as RabbitMQ's own clients have it

CAPABILITIES = {
    "authentication_failure_close": True,
    "basic.nack": True,
    "connection.blocked": True,
    "consumer_cancel_notify": True,
    "publisher_confirms": True,
}


class LinkSettings(NamedTuple):
    """What ``Link.open`` is given."""

    host: str
    port: int
    user: str | None
    password: str
    name: str  # what the broker shows for the connection
    vhost: str
    tls: Tls | None
    has_certificate: bool
    connect_s: float
    answer_s: float
    close_s: float
    heartbeat_s: int  # 0: none
    frame_max: int  # 0: the broker's, like the next
    channel_max: int


def of(spec: SourceSpec | TargetSpec, name: str) -> LinkSettings:
    """Raises Misconfigured. *name* is what the broker shows for the connection."""
    connection, options = spec.connection, spec.options
    try:
        uri = ConnectionUri.parse(connection.uri)
    except UriInvalid as error:
        raise Misconfigured(str(error)) from error
    is_secure = uri.scheme == "amqps"
    credentials = connection.credentials or {}
    return LinkSettings(
        host=uri.host,
        port=uri.port,
        user=uri.user,
        password=uri.password or "",
        name=name,
        vhost=unquote(uri.path[1:]) or DEFAULT_VHOST,
        tls=Tls(connection) if is_secure else None,
        has_certificate=is_secure and credentials.get("type") == "client-cert",
        connect_s=(options.connection_timeout + options.handshake_timeout) / 1000,
        answer_s=options.channel_rpc_timeout / 1000,
        close_s=options.shutdown_timeout / 1000,
        heartbeat_s=options.requested_heartbeat,
        frame_max=options.requested_frame_max,
        channel_max=options.requested_channel_max,
    )


def tls(settings: LinkSettings) -> ssl.SSLContext | None:
    """Reads certificates: some milliseconds. Raises Misconfigured."""
    return None if settings.tls is None else settings.tls.context()


def login(settings: LinkSettings, offered: Sequence[str]) -> tuple[str, str]:
    """Mechanism and response. Raises Misconfigured: the broker has no such way.

    The certificate speaks for itself, unless the uri names a user.
    """
    if settings.has_certificate and settings.user is None:
        wanted, response = "EXTERNAL", ""
    else:
        user, password = settings.user, settings.password
        if user is None:
            user = password = GUEST
        wanted, response = "PLAIN", f"\0{user}\0{password}"
    if wanted not in offered:
        has = ", ".join(offered) or "nothing"
        raise Misconfigured(f"the broker offers {has} to log in with, and not {wanted}")
    return wanted, response


def about(settings: LinkSettings) -> dict[str, Any]:
    """What the broker is told of us."""
    return {
        "product": "streamproc",
        "version": VERSION,
        "connection_name": settings.name,
        "capabilities": CAPABILITIES,
    }


def least(one: int, other: int) -> int:
    """The lower of two limits, of which 0 is none."""
    return min(one, other) if one and other else one or other


def name_of(spec: SourceSpec | TargetSpec) -> str:
    """``connection#client``, and which end."""
    identity = spec.identity
    end = f"source {spec.consumer_index}" if isinstance(spec, SourceSpec) else "target"
    return f"{identity.connection_id}#{identity.client_index} {end}"
