"""What counts as a secret."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.config.connection import Connection, SshTunnel, Target
from streamproc.config.service import HttpProxy, Service
from streamproc.telemetry.redact import MASK, mask, secrets_of, text_filter


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("amqp://u:p@h:1/v", "amqp://***@h:1/v"),
        ("tcp://h:9092", "tcp://h:9092"),
        ("a http://u:p@h/x and ssl://v:q@i/y", "a http://***@h/x and ssl://***@i/y"),
        ("http://u:p@ss@h/", "http://***@h/"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic ***"),
        ("password=hunter2, user=me", "password=***, user=me"),
        ('{"clientSecret": "abc", "n": 1}', '{"clientSecret": ***, "n": 1}'),
        ("https://h/x?access_token=abc&y=1", "https://h/x?access_token=***&y=1"),
        ("the token bucket is empty", "the token bucket is empty"),
    ],
)
def test_text_that_looks_like_a_secret_is_masked(text: str, shown: str) -> None:
    assert text_filter()(text) == shown


@given(st.text("abc:/@%!#?.", min_size=4, max_size=20))
def test_no_password_gets_through_whatever_is_in_it(password: str) -> None:
    shown = text_filter([password])(f"cannot open amqp://user:{password}@host:5672, giving up")
    assert f":{password}@" not in shown


def test_known_values_are_masked_the_longest_first() -> None:
    assert text_filter(["abcd", "abcdefgh", "xy"])("abcdefgh abcd xy") == f"{MASK} {MASK} xy"


def test_a_tree_is_masked_by_key_and_by_text() -> None:
    tree = {
        "credentials": {"type": "plain"},
        "uri": "http://a:b@c",
        "n": [1, True, None, 2.5, {"Set-Cookie": "x"}],
        "password": "",
        "odd": ValueError("http://a:b@c"),
    }
    assert mask(tree, text_filter()) == {
        "credentials": MASK,
        "uri": "http://***@c",
        "n": [1, True, None, 2.5, {"Set-Cookie": MASK}],
        "password": "",
        "odd": "http://***@c",
    }


def test_a_tree_without_a_bottom_is_cut_off() -> None:
    deep: list[object] = []
    deep.append(deep)
    assert MASK in str(mask(deep, text_filter()))


def test_the_secrets_of_a_connection_are_found() -> None:
    connection = Connection(
        id="c",
        connection_type="http-push",
        uri="https://user:p%40ss:w@h:443",
        credentials={
            "type": "oauth-client-credentials",
            "tokenEndpoint": "https://auth",
            "clientId": "the-id",
            "clientSecret": "the-secret",
            "requestedScopes": "a b",
        },
        ssh_tunnel=SshTunnel(
            enabled=True,
            uri="ssh://h:22",
            credentials={"type": "plain", "username": "me", "password": "tunnelpw"},
            validate_host=False,
        ),
        specific_config={"parallelism": "4", "saslPassword": "saslpw"},
        targets=[
            Target(
                address="POST:/",
                topics=["_/_/things/twin/events"],
                header_mapping={"Authorization": "Bearer fixed", "x-thing": "{{ thing:id }}"},
            )
        ],
    )
    found = secrets_of([connection])
    assert found >= {"p%40ss:w", "p@ss:w", "the-secret", "tunnelpw", "saslpw", "Bearer fixed"}
    assert not found & {"user", "me", "4", "{{ thing:id }}", "https://auth", "a b"}


def test_the_proxys_password_is_one_of_them() -> None:
    service = Service(http_proxy=HttpProxy(host="p", username="me", password="proxypw"))
    assert secrets_of([], service) == {"proxypw"}
    assert secrets_of([], Service()) == set()


def test_secrets_of_webhooks_and_of_signing_are_some_of_them() -> None:
    connection = Connection(
        id="c",
        connection_type="http-push",
        credentials={"type": "hmac", "algorithm": "az-sasl", "parameters": {"sharedKey": "k3yk3y"}},
        specific_config={"webhookSecrets": ["whsec_one", "whsec_two"]},
    )
    assert secrets_of([connection]) >= {"k3yk3y", "whsec_one", "whsec_two"}
