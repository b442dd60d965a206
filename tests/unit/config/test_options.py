"""specificConfig: Ditto's texts become the connector's typed options."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.config import options
from streamproc.config.connection import Connection
from streamproc.config.options import options_of
from streamproc.config.rules import option_texts
from streamproc.connectors import CONNECTORS
from streamproc.connectors.amqp091.config import Amqp091Options
from streamproc.connectors.http_push.config import HttpPushOptions
from streamproc.connectors.kafka.config import KafkaOptions
from streamproc.errors import ConfigError
from tests.unit.config import written
from tests.unit.config.connections import good


def connection(kind: str, config: dict[str, Any]) -> Connection:
    return msgspec.convert({**good(kind), "specificConfig": config}, Connection)


@given(
    st.sampled_from(list(CONNECTORS.values())).flatmap(
        lambda row: st.tuples(st.just(row), written.mapping(row.options))
    )
)
def test_options_written_as_ditto_writes_them_are_what_they_were(made: Any) -> None:
    row, config = made
    config = {k: v for k, v in config.items() if v is not None and not isinstance(v, list)}
    texts = option_texts(config)
    assert all(isinstance(text, str) for text in texts.values())
    expected = msgspec.convert(config, row.options)
    assert options_of(connection(row.name, texts)) == expected
    assert options_of(connection(row.name, config)) == expected


def test_texts_are_read_as_what_the_option_is() -> None:
    kafka = options_of(
        connection(
            "kafka",
            {
                "bootstrapServers": "h:1",
                "saslMechanism": "SCRAM-SHA-256",
                "debugEnabled": "TRUE",
                "groupId": 7,
                "is-diversion-source": "false",
            },
        )
    )
    assert kafka == KafkaOptions(
        bootstrap_servers="h:1", sasl_mechanism="scram-sha-256", debug_enabled=True, group_id="7"
    )
    push = options_of(connection("http-push", {"parallelism": " 4 ", "omitRequestBody": ["GET"]}))
    assert push == HttpPushOptions(parallelism=4, omit_request_body="GET")
    kept = options_of(connection("http-push", {"omitRequestBody": '["GET", "PUT"]'}))
    assert kept == HttpPushOptions(omit_request_body="GET,PUT")
    assert options_of(connection("amqp-091", {"requestedHeartbeat": None})) == Amqp091Options()


@pytest.mark.parametrize(
    ("kind", "config", "key", "hint"),
    [
        ("kafka", {"bootstrapServers": "h:1", "groupID": "x"}, "groupID", "did you mean 'groupId'"),
        ("kafka", {"bootstrapServers": "h:1", "debugEnabled": "maybe"}, "debugEnabled", ""),
        ("http-push", {"parallelism": "4.5"}, "parallelism", ""),
        ("memory", {"x": "1"}, "x", ""),
        ("kafka", {}, "bootstrapServers", ""),
    ],
)
def test_a_wrong_option_is_told(kind: str, config: dict[str, Any], key: str, hint: str) -> None:
    found = options.check(connection(kind, config))
    assert [(f.path, f.hint) for f in found] == [(("specificConfig", key), hint)]
    with pytest.raises(ConfigError, match=key):
        options_of(connection(kind, config))


def test_a_type_without_a_connector_has_no_options_to_check() -> None:
    assert options.check(connection("mqtt", {"x": "y"})) == []
