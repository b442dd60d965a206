"""What this version cannot run is refused, what has no effect is warned of."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from streamproc.config import support
from streamproc.config.connection import Connection
from streamproc.connectors.amqp091.config import Amqp091Options
from tests.unit.config.connections import changed, good, steps
from tests.unit.config.keys import CERTIFICATE, KEY

TUNNEL: dict[str, Any] = {
    "enabled": True,
    "uri": "ssh://h:1",
    "validateHost": False,
    "credentials": {"type": "plain", "username": "u", "password": "p"},
}
PLAIN = {"mappingEngine": "Ditto", "options": {}}


def found(kind: str, changes: dict[str, Any]) -> list[tuple[Any, bool]]:
    connection = msgspec.convert(changed(good(kind), changes), Connection)
    return [(finding.path, finding.warning) for finding in support.check(connection)]


@pytest.mark.parametrize(
    "kind", ["kafka", "amqp-091", "http-push", "http-ingest", "memory", "generator"]
)
def test_what_there_is_a_connector_for_runs(kind: str) -> None:
    assert found(kind, {}) == []


@pytest.mark.parametrize("kind", ["amqp-10", "mqtt", "mqtt-5", "hono"])
def test_what_there_is_no_connector_for_is_refused(kind: str) -> None:
    assert found(kind, {}) == [(("connectionType",), False)]


@pytest.mark.parametrize(
    ("kind", "changes", "place", "warning"),
    [
        ("http-push", {"sshTunnel": TUNNEL}, "sshTunnel", False),
        (
            "kafka",
            {"sources.0.enforcement": {"input": "{{ header:x }}", "filters": []}},
            "sources.0.enforcement.filters",
            False,
        ),
        (
            "http-push",
            {"specificConfig": {"batch": {"maxDelay": "soon"}}},
            "specificConfig.batch.maxDelay",
            False,
        ),
        (
            "http-push",
            {"specificConfig": {"batch": '{"maxDelay": "61s"}'}},
            "specificConfig.batch.maxDelay",
            False,
        ),
        (
            "http-push",
            {"specificConfig": {"is-diversion-target": "true"}},
            "specificConfig.is-diversion-target",
            False,
        ),
        (
            "http-push",
            {
                "credentials": {
                    "type": "hmac",
                    "algorithm": "az-sasl",
                    "parameters": {"sharedKey": "?"},
                }
            },
            "credentials.parameters",
            False,
        ),
        (
            "http-push",
            {"specificConfig": {"webhookSecrets": "whsec_?"}},
            "specificConfig.webhookSecrets",
            False,
        ),
        (
            "http-push",
            {"specificConfig": {"keepAlive": "4 years"}},
            "specificConfig.keepAlive",
            False,
        ),
        (
            "http-push",
            {"credentials": {"type": "client-cert", "cert": CERTIFICATE}},
            "credentials.key",
            False,
        ),
        ("kafka", {"credentials": {"type": "client-cert", "key": KEY}}, "credentials.cert", False),
        (
            "kafka",
            {"credentials": {"type": "client-cert", "cert": CERTIFICATE, "key": KEY}},
            "credentials",
            True,
        ),
        (
            "kafka",
            {"sources.0.payloadMapping": ["RawMessage"]},
            "sources.0.payloadMapping.0",
            False,
        ),
        (
            "kafka",
            {"sources.0.payloadMapping": ["Ditto", "Ditto"]},
            "sources.0.payloadMapping.1",
            False,
        ),
        (
            "kafka",
            {
                "targets.0.payloadMapping": ["x"],
                "mappingDefinitions": {"x": {**PLAIN, "incomingConditions": {"a": "fn:delete()"}}},
            },
            "targets.0.payloadMapping.0",
            False,
        ),
        (
            "kafka",
            {"specificConfig.groupId": "{{ connection:id | fn:upper() }}"},
            "specificConfig.groupId",
            False,
        ),
        ("amqp-091", {"targets.0.address": "events"}, "targets.0.address", False),
        ("amqp-091", {"targets.0.address": "a/"}, "targets.0.address", False),
        ("amqp-091", {"targets.0.address": "/b"}, "targets.0.address", False),
        (
            "http-push",
            {"targets.0.headerMapping": {"a b": "x"}},
            "targets.0.headerMapping.a b",
            False,
        ),
        (
            "http-push",
            {"targets.0.headerMapping": {"a": "x\r\ny: z"}},
            "targets.0.headerMapping.a",
            False,
        ),
        ("kafka", {"mappingDefinitions": {"x": PLAIN}}, "mappingDefinitions.x", True),
        ("kafka", {"targets.0.qos": 1}, "targets.0.qos", True),
        (
            "kafka",
            {"targets.0.authorizationContext": ["{{ header:x }}"]},
            "targets.0.authorizationContext.0",
            True,
        ),
        ("kafka", {"targets.0.topics": []}, "targets.0.topics", True),
        ("kafka", {"sources.0.declaredAcks": ["conn-1:ack"]}, "sources.0.declaredAcks", True),
        ("kafka", {"sources.0.replyTarget": {}}, "sources.0.replyTarget", True),
    ],
    ids=repr,
)
def test_it_is_told(kind: str, changes: dict[str, Any], place: str, warning: bool) -> None:
    assert found(kind, changes) == [(steps(place), warning)]


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("http-push", {"sshTunnel": {**TUNNEL, "enabled": False}}),
        ("http-push", {"specificConfig": {"batch": '{"maxDelay": "1m"}', "ordering": "none"}}),
        ("http-push", {"specificConfig": {"batch": {"maxDelay": "0", "format": "ndjson"}}}),
        ("http-push", {"specificConfig": {"is-diversion-target": "false"}}),
        ("http-push", {"credentials": {"type": "client-cert", "cert": CERTIFICATE, "key": KEY}}),
        ("kafka", {"specificConfig.groupId": "{{ connection:id }}"}),
        ("kafka", {"sources.0.replyTarget": {"enabled": False}}),
        ("kafka", {"sources.0.payloadMapping": ["x"], "mappingDefinitions": {"x": PLAIN}}),
        ("amqp-091", {"targets.0.address": "{{ header:exchange }}/{{ thing:id }}"}),
        ("amqp-091", {"targets.0.address": "{{ header:reply-to }}"}),
        ("amqp-091", {"targets.0.address": "a/b/c"}),
    ],
    ids=repr,
)
def test_it_is_fine(kind: str, changes: dict[str, Any]) -> None:
    assert found(kind, changes) == []


def test_an_option_without_effect_is_warned_of_only_where_it_is_written() -> None:
    raw = {"networkRecoveryInterval": "5", "requestedHeartbeat": "5"}
    findings = list(support.unused(Amqp091Options, raw))
    assert [(f.path, f.warning) for f in findings] == [(("networkRecoveryInterval",), True)]
    assert findings[0].message == "Has no effect: links are opened again with back-off"
    assert list(support.unused(Connection, good("kafka"))) == []
    assert (
        len(list(support.unused(Connection, {"failoverEnabled": True, "processorPoolSize": 2})))
        == 2
    )
