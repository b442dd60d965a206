"""What a link is opened with follows from the connection."""

from __future__ import annotations

import ssl

import pytest

from streamproc.config.connection import Connection, Source
from streamproc.connectors.amqp091 import settings
from streamproc.connectors.amqp091.config import Amqp091Options
from streamproc.connectors.base import Identity, SourceSpec
from streamproc.errors import Misconfigured


def made(uri: str = "amqp://h:5672", *, options=None, **more) -> settings.LinkSettings:
    connection = Connection(
        id="factory",
        connection_type="amqp-091",
        uri=uri,
        sources=[Source(addresses=["q"], authorization_context=["s"])],
        **more,
    )
    spec = SourceSpec(
        identity=Identity(connection_id="factory", client_index=3),
        connection=connection,
        options=Amqp091Options(**(options or {})),
        source=connection.sources[0],
        consumer_index=1,
    )
    return settings.of(spec, settings.name_of(spec))


@pytest.mark.parametrize(
    ("path", "vhost"),
    [("", "/"), ("/", "/"), ("/%2F", "/"), ("/%2f", "/"), ("/prod", "prod"), ("/a%20b", "a b")],
)
def test_the_path_is_the_vhost(path, vhost):
    assert made(f"amqp://h:5672{path}").vhost == vhost


def test_credentials_are_decoded_once():
    found = made("amqp://us%3Aer:p%40ss%2525@h:5672")
    assert (found.user, found.password) == ("us:er", "p@ss%25")
    assert made().user is None


def test_options_are_taken_over():
    found = made(
        options={
            "connection_timeout": 1000,
            "handshake_timeout": 500,
            "channel_rpc_timeout": 2000,
            "shutdown_timeout": 250,
            "requested_heartbeat": 7,
            "requested_frame_max": 8192,
            "requested_channel_max": 5,
        }
    )
    assert (found.connect_s, found.answer_s, found.close_s) == (1.5, 2.0, 0.25)
    assert (found.heartbeat_s, found.frame_max, found.channel_max) == (7, 8192, 5)


def test_the_broker_shows_which_end_it_is():
    assert made().name == settings.about(made())["connection_name"] == "factory#3 source 1"


def test_tls_is_checked_unless_told_otherwise():
    assert settings.tls(made()) is None
    context = settings.tls(made("amqps://h:5671"))
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    lax = settings.tls(made("amqps://h:5671", validate_certificates=False))
    assert lax.verify_mode is ssl.CERT_NONE
    assert not lax.check_hostname


def test_a_ca_that_is_none_is_misconfigured():
    with pytest.raises(Misconfigured, match="certificates cannot be used"):
        settings.tls(made("amqps://h:5671", ca="nonsense"))


def test_a_bad_uri_is_misconfigured_and_its_password_not_repeated():
    with pytest.raises(Misconfigured) as caught:
        made("amqp://user:secret@host")
    assert "secret" not in str(caught.value)


CERTIFIED = {"type": "client-cert", "cert": "c", "key": "k"}


@pytest.mark.parametrize(
    ("uri", "credentials", "expected"),
    [
        ("amqp://h:5672", None, ("PLAIN", "\0guest\0guest")),
        ("amqp://ü:p%00@h:5672", None, ("PLAIN", "\0ü\0p\0")),
        ("amqps://u:p@h:5671", CERTIFIED, ("PLAIN", "\0u\0p")),
        ("amqps://h:5671", CERTIFIED, ("EXTERNAL", "")),
        ("amqp://h:5672", CERTIFIED, ("PLAIN", "\0guest\0guest")),
    ],
)
def test_who_logs_in_is_the_uri_or_else_the_certificate(uri, credentials, expected):
    found = made(uri, credentials=credentials)
    assert settings.login(found, ["AMQPLAIN", "PLAIN", "EXTERNAL"]) == expected
    with pytest.raises(
        Misconfigured, match=f"offers AMQPLAIN to log in with, and not {expected[0]}"
    ):
        settings.login(found, ["AMQPLAIN"])


def test_the_lower_of_two_limits_holds_and_0_is_none():
    assert settings.least(3, 4) == settings.least(4, 3) == 3
    assert settings.least(0, 4) == settings.least(4, 0) == 4
    assert settings.least(0, 0) == 0
