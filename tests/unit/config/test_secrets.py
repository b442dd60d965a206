"""What is shown of a connection holds none of its secrets."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from streamproc.config.connection import Connection
from streamproc.config.secrets import redact
from streamproc.config.uri import MASK
from tests.unit.config.connections import changed, good

SECRET = "s3cr3t-value"


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("amqp-091", {"uri": f"amqps://user:{SECRET}@h:1"}),
        ("amqp-091", {"uri": f"user:{SECRET}@h"}),
        ("http-push", {"credentials": {"type": "client-cert", "cert": "c", "key": SECRET}}),
        ("http-push", {"credentials": {"type": "oauth-password", "clientSecret": SECRET}}),
        ("http-push", {"credentials": {"type": "oauth-password", "password": SECRET}}),
        ("http-push", {"credentials": {"type": "hmac", "parameters": {"sharedKey": SECRET}}}),
        ("http-push", {"credentials": {"type": "hmac", "parameters": {"new": {"thing": SECRET}}}}),
        ("http-push", {"credentials": {"type": "tomorrow", "anything": SECRET}}),
        ("http-push", {"targets.0.headerMapping": {"Authorization": f"Bearer {SECRET}"}}),
        ("http-push", {"targets.0.headerMapping": {"x-api-key": SECRET}}),
        ("http-push", {"targets.0.address": f"POST:/x?api_key={SECRET}&a=b"}),
        ("amqp-10", {"sources.0.headerMapping": {"cookie": SECRET}}),
        ("amqp-10", {"sources.0.replyTarget": {"headerMapping": {"token": SECRET}}}),
        ("amqp-10", {"specificConfig": {"ssl.keystore.password": SECRET}}),
        (
            "amqp-10",
            {
                "mappingDefinitions": {
                    "x": {"mappingEngine": "Ditto", "options": {"a": [{"password": SECRET}]}}
                }
            },
        ),
        (
            "amqp-10",
            {
                "sshTunnel": {
                    "enabled": True,
                    "uri": f"ssh://u:{SECRET}@h:1",
                    "validateHost": False,
                    "credentials": {"type": "plain", "username": "u", "password": SECRET},
                }
            },
        ),
    ],
    ids=repr,
)
def test_no_secret_is_shown(kind: str, changes: dict[str, Any]) -> None:
    connection = msgspec.convert(changed(good(kind), changes), Connection)
    shown = json.dumps(redact(connection))
    assert SECRET not in shown
    assert MASK in shown


def test_what_is_harmless_is_shown_as_it_is() -> None:
    raw = changed(
        good("http-push"),
        {
            "targets.0.headerMapping": {"authorization": "{{ header:authorization }}", "a": "b"},
            "targets.0.address": "POST:/x?state={{ header:key }}",
            "specificConfig": {"parallelism": "4"},
        },
    )
    connection = msgspec.convert(raw, Connection)
    assert redact(connection) == msgspec.to_builtins(connection)


def test_in_place_of_a_value_from_elsewhere_its_reference_is_shown() -> None:
    connection = msgspec.convert({**good("kafka"), "name": SECRET}, Connection)
    shown = redact(
        connection,
        {
            ("name",): "${env:NAME}",
            ("uri",): "tcp://u:inline@${env:HOST}:9092",
            ("targets", 0, "address"): "${file:address}",
            ("targets", 7, "address"): "${env:GONE}",
            ("sources", 0, "qos"): "${env:QOS}",
        },
    )
    assert shown["name"] == "${env:NAME}"
    assert shown["uri"] == f"tcp://u:{MASK}@${{env:HOST}}:9092"
    assert shown["targets"][0]["address"] == "${file:address}"
    assert len(shown["targets"]) == 1
