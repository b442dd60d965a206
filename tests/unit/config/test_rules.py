"""Ditto's rules: each thing a connection may and may not be, one change at a time."""

from __future__ import annotations

from typing import Any

import pytest

from streamproc.config import rules
from streamproc.config.bindings import BINDINGS
from streamproc.config.connection import Connection
from streamproc.config.convert import convert
from streamproc.config.problem import Finding
from streamproc.config.service import Limits
from tests.unit.config.connections import GONE, changed, good, steps
from tests.unit.config.keys import CERTIFICATE, KEY, OTHER_KEY, PUBLIC_KEY

CONFIG = "connectivity:connection.configuration.invalid"
URI = "connectivity:connection.uri.invalid"
LABEL = "acknowledgement:label.invalid"
RQL = "rql.expression.invalid"
MAPPER = "connectivity:message.mapper.config.invalid"

TOKEN = {
    "type": "oauth-client-credentials",
    "tokenEndpoint": "https://8.8.4.4/token",
    "clientId": "id",
    "clientSecret": "s",
    "requestedScopes": "scope",
}
PASSWORD = {**TOKEN, "type": "oauth-password", "username": "u", "password": "p"}
HMAC: dict[str, Any] = {"type": "hmac", "algorithm": "az-sasl", "parameters": {}}
CLIENT = {"type": "client-cert", "cert": CERTIFICATE, "key": KEY}
TUNNEL: dict[str, Any] = {
    "enabled": True,
    "uri": "ssh://ssh.example.com:22",
    "credentials": {"type": "plain", "username": "u", "password": "p"},
    "validateHost": False,
}
OPEN_KEY = {"type": "public-key", "username": "u", "publicKey": PUBLIC_KEY, "privateKey": KEY}


def found(kind: str, changes: dict[str, Any]) -> list[Finding]:
    read = convert(Connection, changed(good(kind), changes))
    assert read.findings == [], "the model itself refuses this: say so in test_convert"
    return [finding for finding in rules.check(read.value) if not finding.warning]


@pytest.mark.parametrize("kind", BINDINGS)
def test_a_good_connection_of_each_type_passes(kind: str) -> None:
    assert found(kind, {}) == []


TAKEN: list[tuple[str, dict[str, Any]]] = [
    ("amqp-10", {"id": "a-b_c:D9"}),
    ("amqp-10", {"id": "a" * 100}),
    ("amqp-10", {"uri": "amqp://h:1"}),
    ("amqp-10", {"sources": GONE}),
    ("amqp-10", {"targets": GONE}),
    ("amqp-10", {"targets.0.topics": []}),
    ("amqp-10", {"sources.0.addresses": ["a", "b"], "sources.0.consumerCount": 7}),
    ("amqp-10", {"clientCount": 3}),
    ("amqp-10", {"targets.0.topics": ["_/_/connections/announcements"]}),
    ("amqp-10", {"ca": CERTIFICATE}),
    ("amqp-10", {"ca": "  "}),
    ("amqp-10", {"credentials": CLIENT}),
    ("amqp-10", {"credentials": HMAC, "uri": "amqps://h:1"}),
    ("amqp-10", {"credentials": {"type": "client-cert"}}),
    ("amqp-10", {"sshTunnel": TUNNEL}),
    ("amqp-10", {"sshTunnel": {**TUNNEL, "credentials": OPEN_KEY}}),
    (
        "amqp-10",
        {"sshTunnel": {**TUNNEL, "validateHost": True, "knownHosts": ["MD5:00:00", "SHA256:x="]}},
    ),
    ("amqp-10", {"sources.0.declaredAcks": ["conn-1:ack", "{{ connection:id }}:ack"]}),
    ("amqp-10", {"targets.0.issuedAcknowledgementLabel": "live-response"}),
    ("amqp-10", {"sources.0.enforcement": {"input": "{{ header:x }}", "filters": []}}),
    (
        "mqtt",
        {"sources.0.enforcement": {"input": "{{ source:address }}", "filters": ["+/a/#", "b/"]}},
    ),
    ("mqtt-5", {"sources.0.enforcement": {"input": "{{ header:x }}", "filters": ["a#b"]}}),
    ("amqp-10", {"targets.0.issuedAcknowledgementLabel": "{{connection:id}}:a_b"}),
    (
        "amqp-10",
        {"sources.0.acknowledgementRequests": {"includes": ["a:b", "{{connection:id}}:xyz"]}},
    ),
    (
        "amqp-10",
        {
            "sources.0.acknowledgementRequests": {
                "includes": [],
                "filter": "fn:filter(header:qos,'ne','0')",
            }
        },
    ),
    ("amqp-10", {"sources.0.authorizationContext": ["a:{{ header:x | fn:lower() }}"]}),
    (
        "amqp-10",
        {
            "sources.0.enforcement": {
                "input": "{{ header:x }}",
                "filters": ["{{ entity:id }}", "{{ policy:name }}", "{{ feature:id }}"],
            }
        },
    ),
    (
        "amqp-10",
        {
            "sources.0.headerMapping": {
                "a": "{{ header:b }}",
                "c": "{{ topic:action | fn:upper() }}${thing:id}",
                "d": "{{ request:subjectId }}{{ time:now-1h[d] }}{{ thing-json:attributes/a }}",
            }
        },
    ),
    (
        "amqp-10",
        {
            "targets.0.topics": [
                "_/_/things/twin/events?filter=and(exists(feature:id),eq(attributes/a,1))"
            ]
        },
    ),
    (
        "amqp-10",
        {"targets.0.topics": ["_/_/things/live/messages?namespaces=a,b&extraFields=attributes/a"]},
    ),
    ("amqp-10", {"sources.0.payloadMapping": ["Ditto", "RawMessage", "Normalized", "CloudEvents"]}),
    ("amqp-10", {"sources.0.payloadMapping": ["Ditto"] * 10}),
    (
        "amqp-10",
        {
            "sources.0.payloadMapping": ["x", "y"],
            "mappingDefinitions": {
                "x": {
                    "mappingEngine": "ConnectionStatus",
                    "options": {"thingId": "{{ header:a }}"},
                },
                "y": {
                    "mappingEngine": "ImplicitThingCreation",
                    "options": {"thing": {"thingId": "{{ header:a }}", "attributes": {"b": 1}}},
                    "incomingConditions": {"c": "fn:filter(header:a,'exists')"},
                },
            },
        },
    ),
    ("amqp-10", {"sources.0.headerMapping": {"divert-response-to-connection": "other"}}),
    ("amqp-10", {"sources.0.headerMapping": {"divert-response-to-connection": "{{ header:a }}"}}),
    ("amqp-10", {"specificConfig": {"is-diversion-target": "true"}, "targets.0.topics": []}),
    ("amqp-10", {"sources.0.replyTarget": {"address": "{{ header:reply-to }}", "enabled": True}}),
    ("amqp-091", {"targets.0.address": "events"}),
    ("mqtt", {"sources.0.addresses": ["a/+/b", "#", "+", "/", "$SYS/#", "$share/g/a/#"]}),
    ("mqtt", {"sources.0.qos": 0, "targets.0.qos": 2}),
    ("mqtt", {"targets.0.address": "a/{{ thing:id }}/{{ header:x }}"}),
    (
        "mqtt",
        {
            "sources.0.enforcement": {
                "input": "{{ source:address }}",
                "filters": ["a/{{ entity:id }}/#"],
            }
        },
    ),
    ("mqtt", {"sources.0.headerMapping": {"any": "{{ header:mqtt.topic }}-{{ header:mqtt.qos }}"}}),
    ("mqtt", {"targets.0.headerMapping": {"mqtt.topic": "{{ header:x }}", "mqtt.retain": "true"}}),
    ("mqtt-5", {"clientCount": 2, "sources.0.consumerCount": 2}),
    ("mqtt-5", {"targets.0.headerMapping": {"any": "{{ thing:id }}"}}),
    (
        "mqtt-5",
        {"sources.0.enforcement": {"input": "{{ header:x }}", "filters": ["{{ thing:id }}"]}},
    ),
    (
        "mqtt-5",
        {
            "specificConfig": {
                "keepAlive": "65535s",
                "reconnectForRedeliveryDelay": "1s",
                "cleanSession": "true",
                "lastWillTopic": "a/b",
                "lastWillQos": "2",
                "lastWillRetain": False,
                "clientId": "",
            }
        },
    ),
    ("kafka", {"sources.0.qos": 0}),
    ("kafka", {"sources.0.addresses": ["a.b_c-D9"]}),
    ("kafka", {"targets.0.address": "a/b/c#d"}),
    ("kafka", {"targets.0.address": "a#0"}),
    ("kafka", {"targets.0.address": "{{ thing:namespace }}/{{ thing:name }}"}),
    ("kafka", {"targets.0.address": "events#{{ topic:full }}"}),
    ("kafka", {"targets.0.address": "${thing:namespace}"}),
    ("kafka", {"targets.0.address": "a" * 249}),
    ("kafka", {"specificConfig.bootstrapServers": "foo:1, bar:2 ,[::1]:3"}),
    (
        "kafka",
        {"specificConfig.saslMechanism": "SCRAM-SHA-512", "specificConfig.debugEnabled": True},
    ),
    (
        "kafka",
        {
            "specificConfig.groupId": "{{ connection:id }}-a",
            "specificConfig.consumerOffsetReset": "earliest",
        },
    ),
    (
        "hono",
        {"uri": "whatever", "sources.0.addresses": ["telemetry", "event", "command_response"]},
    ),
    ("http-push", {"targets.0.address": "PUT:events#{{topic:full}}"}),
    ("http-push", {"targets.0.address": "DELETE:"}),
    ("http-push", {"targets.0.address": "GET:a:b?c={{ header:d }}"}),
    ("http-push", {"uri": "http://h:80"}),
    ("http-push", {"uri": "http://h:80", "ca": " "}),
    ("http-push", {"credentials": TOKEN}),
    ("http-push", {"credentials": {**TOKEN, "requestedScopes": "a b:c/d ~!#[]"}}),
    ("http-push", {"credentials": PASSWORD}),
    ("http-push", {"credentials": {k: v for k, v in PASSWORD.items() if k != "clientSecret"}}),
    ("http-push", {"credentials": HMAC}),
    (
        "http-push",
        {"specificConfig": {"parallelism": 16, "idleTimeout": "0s", "omitRequestBody": ""}},
    ),
    ("http-push", {"specificConfig": {"idleTimeout": "1m", "omitRequestBody": ["GET", "TRACE"]}}),
    ("http-push", {"specificConfig": {"idleTimeout": "500ms", "parallelism": None}}),
]

REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("amqp-10", {"id": ""}, "id", "connectivity:connection.id.invalid"),
    ("amqp-10", {"id": "a b"}, "id", "connectivity:connection.id.invalid"),
    ("amqp-10", {"id": "a" * 101}, "id", "connectivity:connection.id.invalid"),
    ("amqp-10", {"id": "a\n"}, "id", "connectivity:connection.id.invalid"),
    ("amqp-10", {"sources": GONE, "targets": GONE}, "", CONFIG),
    ("amqp-10", {"sources": [good("amqp-10")["sources"][0]] * 5}, "sources", CONFIG),
    ("amqp-10", {"targets": [good("amqp-10")["targets"][0]] * 5}, "targets", CONFIG),
    ("amqp-10", {"sources.0.addresses": []}, "sources.0.addresses", CONFIG),
    ("amqp-10", {"sources.0.addresses": ["a", ""]}, "sources.0.addresses.1", CONFIG),
    ("amqp-10", {"sources.0.authorizationContext": []}, "sources.0.authorizationContext", CONFIG),
    ("amqp-10", {"targets.0.authorizationContext": GONE}, "targets.0.authorizationContext", CONFIG),
    (
        "amqp-10",
        {"sources.0.authorizationContext": [""]},
        "sources.0.authorizationContext.0",
        CONFIG,
    ),
    (
        "amqp-10",
        {"sources.0.authorizationContext": ["{{ thing:id }}"]},
        "sources.0.authorizationContext.0",
        CONFIG,
    ),
    ("amqp-10", {"targets.0.address": ""}, "targets.0.address", CONFIG),
    ("amqp-10", {"targets.0.address": "{{ header:a | fn:nope() }}"}, "targets.0.address", CONFIG),
    (
        "amqp-10",
        {"targets.0.address": "{{ header:a | fn:default() }}"},
        "targets.0.address",
        CONFIG,
    ),
    (
        "amqp-10",
        {"targets.0.topics": ["_/_/connections/announcements"], "clientCount": 2},
        "targets.0.topics.0",
        CONFIG,
    ),
    (
        "amqp-10",
        {"targets.0.topics": ["_/_/things/twin/event"]},
        "targets.0.topics.0",
        "connectivity:topic.invalid",
    ),
    (
        "amqp-10",
        {"targets.0.topics": ["_/_/things/twin/events?namespaces=a&namespaces=b"]},
        "targets.0.topics.0",
        "connectivity:topic.invalid",
    ),
    (
        "amqp-10",
        {"targets.0.topics": ["_/_/things/twin/events?filter=eq(a"]},
        "targets.0.topics.0",
        RQL,
    ),
    (
        "amqp-10",
        {"targets.0.topics": ["_/_/things/twin/events?filter=eq(header:x,1)"]},
        "targets.0.topics.0",
        RQL,
    ),
    (
        "amqp-10",
        {"targets.0.topics": ["_/_/things/twin/events?extraFields=attributes(a"]},
        "targets.0.topics.0",
        "json.fieldselector.invalid",
    ),
    ("amqp-10", {"sources.0.payloadMapping": ["Ditto"] * 11}, "sources.0.payloadMapping", CONFIG),
    ("amqp-10", {"targets.0.payloadMapping": ["nope"]}, "targets.0.payloadMapping.0", CONFIG),
    (
        "amqp-10",
        {"targets.0.payloadMapping": ["ConnectionStatus"]},
        "targets.0.payloadMapping.0",
        MAPPER,
    ),
    (
        "amqp-10",
        {"mappingDefinitions": {"x": {"mappingEngine": "Nope", "options": {}}}},
        "mappingDefinitions.x.mappingEngine",
        CONFIG,
    ),
    (
        "amqp-10",
        {"mappingDefinitions": {"x": {"mappingEngine": "ConnectionStatus", "options": {}}}},
        "mappingDefinitions.x.options.thingId",
        MAPPER,
    ),
    (
        "amqp-10",
        {"mappingDefinitions": {"x": {"mappingEngine": "ImplicitThingCreation", "options": {}}}},
        "mappingDefinitions.x.options.thing",
        MAPPER,
    ),
    (
        "amqp-10",
        {
            "mappingDefinitions": {
                "x": {
                    "mappingEngine": "ImplicitThingCreation",
                    "options": {"thing": {"thingId": "{{ thing:id }}"}},
                }
            }
        },
        "mappingDefinitions.x.options.thing.thingId",
        CONFIG,
    ),
    (
        "amqp-10",
        {
            "mappingDefinitions": {
                "x": {"mappingEngine": "Normalized", "options": {"fields": "a(b"}}
            }
        },
        "mappingDefinitions.x.options.fields",
        CONFIG,
    ),
    (
        "amqp-10",
        {
            "mappingDefinitions": {
                "x": {
                    "mappingEngine": "JavaScript",
                    "options": {"incomingScript": "x" * 50_001},
                }
            }
        },
        "mappingDefinitions.x.options.incomingScript",
        "connectivity:message.mapper.config.failed",
    ),
    (
        "amqp-10",
        {
            "mappingDefinitions": {
                "x": {
                    "mappingEngine": "Ditto",
                    "options": {},
                    "outgoingConditions": {"c": "fn:nope()"},
                }
            }
        },
        "mappingDefinitions.x.outgoingConditions.c",
        CONFIG,
    ),
    ("amqp-10", {"sources.0.declaredAcks": ["other:ack"]}, "sources.0.declaredAcks.0", LABEL),
    ("amqp-10", {"sources.0.declaredAcks": ["conn-12:ack"]}, "sources.0.declaredAcks.0", LABEL),
    ("amqp-10", {"sources.0.declaredAcks": ["live-response"]}, "sources.0.declaredAcks.0", LABEL),
    ("amqp-10", {"sources.0.declaredAcks": ["conn-1:a b"]}, "sources.0.declaredAcks.0", LABEL),
    (
        "amqp-10",
        {"sources.0.declaredAcks": ["{{thing:id}}:abc"]},
        "sources.0.declaredAcks.0",
        CONFIG,
    ),
    (
        "amqp-10",
        {"targets.0.issuedAcknowledgementLabel": "ack"},
        "targets.0.issuedAcknowledgementLabel",
        LABEL,
    ),
    (
        "amqp-10",
        {"targets.0.issuedAcknowledgementLabel": "x" * 166},
        "targets.0.issuedAcknowledgementLabel",
        LABEL,
    ),
    (
        "amqp-10",
        {"sources.0.acknowledgementRequests": {"includes": ["ok-label", "no"]}},
        "sources.0.acknowledgementRequests.includes.1",
        "acknowledgement:request.parsing.failed",
    ),
    (
        "amqp-10",
        {"sources.0.acknowledgementRequests": {"filter": "fn:filter('exists')"}},
        "sources.0.acknowledgementRequests.filter",
        CONFIG,
    ),
    ("amqp-10", {"ca": "Wurst"}, "ca", CONFIG),
    ("amqp-10", {"uri": ""}, "uri", URI),
    ("amqp-10", {"uri": GONE}, "uri", URI),
    ("amqp-10", {"uri": "amqps://h"}, "uri", URI),
    ("amqp-10", {"uri": "tcp://h:1"}, "uri", URI),
    ("amqp-10", {"uri": "amqp://h:1", "ca": CERTIFICATE}, "uri", URI),
    ("amqp-10", {"credentials": {}}, "credentials.type", CONFIG),
    ("amqp-10", {"credentials": {"type": "nope"}}, "credentials.type", CONFIG),
    (
        "amqp-10",
        {"credentials": {"type": "plain", "username": "u", "password": "p"}},
        "credentials.type",
        CONFIG,
    ),
    ("amqp-10", {"credentials": TOKEN}, "credentials.type", CONFIG),
    ("amqp-10", {"credentials": HMAC}, "credentials", CONFIG),
    ("amqp-10", {"credentials": {**CLIENT, "cert": "Wurst"}}, "credentials.cert", CONFIG),
    ("amqp-10", {"credentials": {**CLIENT, "key": "Wurst"}}, "credentials.key", CONFIG),
    ("amqp-10", {"credentials": {**CLIENT, "key": OTHER_KEY}}, "credentials.key", CONFIG),
    ("amqp-10", {"credentials": {**CLIENT, "cret": "x"}}, "credentials.cret", "key_unknown"),
    ("amqp-091", {"credentials": HMAC, "uri": "amqps://h:1"}, "credentials.type", CONFIG),
    ("amqp-10", {"sshTunnel": {**TUNNEL, "uri": "http://h:1"}}, "sshTunnel.uri", CONFIG),
    ("amqp-10", {"sshTunnel": {**TUNNEL, "uri": "ssh://h"}}, "sshTunnel.uri", CONFIG),
    ("amqp-10", {"sshTunnel": {**TUNNEL, "validateHost": True}}, "sshTunnel.knownHosts", CONFIG),
    (
        "amqp-10",
        {"sshTunnel": {**TUNNEL, "knownHosts": ["CRC:1"]}},
        "sshTunnel.knownHosts.0",
        CONFIG,
    ),
    ("amqp-10", {"sshTunnel": {**TUNNEL, "knownHosts": ["MD5"]}}, "sshTunnel.knownHosts.0", CONFIG),
    (
        "amqp-10",
        {"sshTunnel": {**TUNNEL, "credentials": CLIENT}},
        "sshTunnel.credentials.type",
        CONFIG,
    ),
    (
        "amqp-10",
        {
            "sshTunnel": {
                **TUNNEL,
                "credentials": {"type": "plain", "username": "u", "password": ""},
            }
        },
        "sshTunnel.credentials.password",
        CONFIG,
    ),
    (
        "amqp-10",
        {"sshTunnel": {**TUNNEL, "credentials": {"type": "plain", "username": "u"}}},
        "sshTunnel.credentials.password",
        CONFIG,
    ),
    (
        "amqp-10",
        {"sshTunnel": {**TUNNEL, "credentials": {**OPEN_KEY, "privateKey": "x"}}},
        "sshTunnel.credentials.privateKey",
        CONFIG,
    ),
    (
        "amqp-10",
        {"sources.0.headerMapping": {"divert-response-to-connection": "conn-1"}},
        "sources.0.headerMapping.divert-response-to-connection",
        CONFIG,
    ),
    (
        "amqp-10",
        {"sources.0.headerMapping": {"divert-response-to-connection": "a b"}},
        "sources.0.headerMapping.divert-response-to-connection",
        CONFIG,
    ),
    (
        "amqp-10",
        {
            "sources.0.headerMapping": {"divert-expected-response-types": "error,x"},
            "specificConfig": {"is-diversion-source": "true"},
        },
        "sources.0.headerMapping.divert-expected-response-types",
        CONFIG,
    ),
    ("amqp-10", {"specificConfig": {"is-diversion-target": True}}, "targets.0.topics", CONFIG),
    (
        "amqp-10",
        {"specificConfig": {"is-diversion-source": "x"}},
        "specificConfig.is-diversion-source",
        CONFIG,
    ),
    (
        "amqp-10",
        {"sources.0.headerMapping": {"a": "{{ policy:id }}"}},
        "sources.0.headerMapping.a",
        CONFIG,
    ),
    (
        "amqp-10",
        {"sources.0.replyTarget": {"address": "{{ nope:x }}"}},
        "sources.0.replyTarget.address",
        CONFIG,
    ),
    (
        "amqp-10",
        {"sources.0.replyTarget": {"headerMapping": {"a": "{{ nope:x }}"}}},
        "sources.0.replyTarget.headerMapping.a",
        CONFIG,
    ),
    (
        "mqtt",
        {"sources.0.enforcement": {"input": "{{ source:address }}", "filters": ["a#/b"]}},
        "sources.0.enforcement.filters.0",
        CONFIG,
    ),
    (
        "mqtt-5",
        {
            "sources.0.enforcement": {
                "input": "{{source:address}}",
                "filters": ["x/+{{ thing:id }}"],
            }
        },
        "sources.0.enforcement.filters.0",
        CONFIG,
    ),
    (
        "amqp-10",
        {"sources.0.enforcement": {"input": "{{ thing:id }}", "filters": ["{{ thing:id }}"]}},
        "sources.0.enforcement.input",
        CONFIG,
    ),
    (
        "kafka",
        {"sources.0.enforcement": {"input": "{{ header:x }}", "filters": ["{{ topic:full }}"]}},
        "sources.0.enforcement.filters.0",
        CONFIG,
    ),
    ("mqtt", {"sources.0.addresses": ["a/#/b"]}, "sources.0.addresses.0", CONFIG),
    ("mqtt", {"sources.0.addresses": ["a+"]}, "sources.0.addresses.0", CONFIG),
    ("mqtt", {"sources.0.addresses": ["a\x00"]}, "sources.0.addresses.0", CONFIG),
    ("mqtt-5", {"sources.0.addresses": ["$share/g"]}, "sources.0.addresses.0", CONFIG),
    ("mqtt-5", {"sources.0.addresses": ["$share/+/a"]}, "sources.0.addresses.0", CONFIG),
    ("mqtt", {"targets.0.address": "a/#"}, "targets.0.address", CONFIG),
    ("mqtt", {"targets.0.address": "{{ header:a }}/+"}, "targets.0.address", CONFIG),
    ("mqtt", {"sources.0.qos": GONE}, "sources.0.qos", CONFIG),
    ("mqtt-5", {"targets.0.qos": GONE}, "targets.0.qos", CONFIG),
    ("mqtt", {"clientCount": 2}, "clientCount", CONFIG),
    ("mqtt", {"sources.0.consumerCount": 2}, "sources.0.consumerCount", CONFIG),
    (
        "mqtt",
        {"sources.0.enforcement": {"input": "{{ header:a }}", "filters": ["{{ thing:id }}"]}},
        "sources.0.enforcement.input",
        CONFIG,
    ),
    (
        "mqtt-5",
        {"sources.0.enforcement": {"input": "{{ header:a }}", "filters": ["{{ feature:id }}"]}},
        "sources.0.enforcement.filters.0",
        CONFIG,
    ),
    (
        "mqtt",
        {"sources.0.headerMapping": {"a": "{{ header:other }}"}},
        "sources.0.headerMapping.a",
        CONFIG,
    ),
    ("mqtt", {"targets.0.headerMapping": {"a": "x"}}, "targets.0.headerMapping.a", CONFIG),
    (
        "mqtt",
        {"sources.0.replyTarget": {"headerMapping": {"a": "x"}}},
        "sources.0.replyTarget.headerMapping.a",
        CONFIG,
    ),
    ("mqtt", {"specificConfig": {"keepAlive": "65536s"}}, "specificConfig.keepAlive", CONFIG),
    ("mqtt", {"specificConfig": {"keepAlive": "x"}}, "specificConfig.keepAlive", CONFIG),
    (
        "mqtt",
        {"specificConfig": {"reconnectForRedeliveryDelay": "999ms"}},
        "specificConfig.reconnectForRedeliveryDelay",
        CONFIG,
    ),
    ("mqtt", {"specificConfig": {"lastWillQos": "3"}}, "specificConfig.lastWillQos", CONFIG),
    ("mqtt", {"specificConfig": {"lastWillTopic": "a/#"}}, "specificConfig.lastWillTopic", CONFIG),
    ("mqtt", {"specificConfig": {"cleanSession": "yes"}}, "specificConfig.cleanSession", CONFIG),
    ("kafka", {"sources.0.qos": 2}, "sources.0.qos", CONFIG),
    ("kafka", {"sources.0.addresses": ["a/b"]}, "sources.0.addresses.0", CONFIG),
    ("kafka", {"sources.0.addresses": ["{{ thing:id }}"]}, "sources.0.addresses.0", CONFIG),
    ("kafka", {"sources.0.addresses": [".."]}, "sources.0.addresses.0", CONFIG),
    ("kafka", {"targets.0.address": "a" * 250}, "targets.0.address", CONFIG),
    ("kafka", {"targets.0.address": "/key"}, "targets.0.address", CONFIG),
    ("kafka", {"targets.0.address": "a*{{ thing:id }}"}, "targets.0.address", CONFIG),
    ("kafka", {"targets.0.address": "a#-1"}, "targets.0.address", CONFIG),
    ("kafka", {"targets.0.address": "a#2147483648"}, "targets.0.address", CONFIG),
    ("kafka", {"sshTunnel": TUNNEL}, "sshTunnel", CONFIG),
    ("kafka", {"specificConfig": {}}, "specificConfig.bootstrapServers", CONFIG),
    ("kafka", {"specificConfig.bootstrapServers": ""}, "specificConfig.bootstrapServers", CONFIG),
    (
        "kafka",
        {"specificConfig.bootstrapServers": "foo"},
        "specificConfig.bootstrapServers",
        CONFIG,
    ),
    (
        "kafka",
        {"specificConfig.bootstrapServers": "foo:1,"},
        "specificConfig.bootstrapServers",
        CONFIG,
    ),
    (
        "kafka",
        {"specificConfig.bootstrapServers": "foo:x"},
        "specificConfig.bootstrapServers",
        CONFIG,
    ),
    ("kafka", {"specificConfig.saslMechanism": "gssapi"}, "specificConfig.saslMechanism", CONFIG),
    ("kafka", {"specificConfig.groupId": "a b"}, "specificConfig.groupId", CONFIG),
    ("kafka", {"specificConfig.groupId": "{{ header:a }}"}, "specificConfig.groupId", CONFIG),
    (
        "kafka",
        {"specificConfig.consumerOffsetReset": "none"},
        "specificConfig.consumerOffsetReset",
        CONFIG,
    ),
    ("hono", {"sources.0.addresses": ["other"]}, "sources.0.addresses.0", CONFIG),
    ("hono", {"targets.0.address": "telemetry"}, "targets.0.address", CONFIG),
    ("http-push", {"sources": good("amqp-10")["sources"]}, "sources.0", CONFIG),
    ("http-push", {"targets.0.address": "HEAD:/x"}, "targets.0.address", CONFIG),
    ("http-push", {"targets.0.address": "post:/x"}, "targets.0.address", CONFIG),
    ("http-push", {"targets.0.address": "{{ header:verb }}:/x"}, "targets.0.address", CONFIG),
    ("http-push", {"uri": "https://u:p@h:1", "credentials": HMAC}, "credentials", CONFIG),
    ("http-push", {"credentials": {**HMAC, "algorithm": "x"}}, "credentials.algorithm", CONFIG),
    (
        "http-push",
        {"credentials": {"type": "hmac", "algorithm": "az-sasl"}},
        "credentials.parameters",
        CONFIG,
    ),
    ("http-push", {"credentials": {**HMAC, "parameters": []}}, "credentials.parameters", CONFIG),
    (
        "http-push",
        {"credentials": {**TOKEN, "requestedScopes": ""}},
        "credentials.requestedScopes",
        CONFIG,
    ),
    (
        "http-push",
        {"credentials": {**TOKEN, "requestedScopes": "a  b"}},
        "credentials.requestedScopes",
        CONFIG,
    ),
    (
        "http-push",
        {"credentials": {**TOKEN, "tokenEndpoint": "http://h/t"}},
        "credentials.tokenEndpoint",
        CONFIG,
    ),
    (
        "http-push",
        {"credentials": {**TOKEN, "tokenEndpoint": "h"}},
        "credentials.tokenEndpoint",
        CONFIG,
    ),
    (
        "http-push",
        {"credentials": {**TOKEN, "tokenEndpoint": "https://[x"}},
        "credentials.tokenEndpoint",
        CONFIG,
    ),
    (
        "http-push",
        {"credentials": {**TOKEN, "clientSecret": 5}},
        "credentials.clientSecret",
        CONFIG,
    ),
    ("http-push", {"credentials": {**PASSWORD, "password": None}}, "credentials.password", CONFIG),
    ("http-push", {"specificConfig": {"parallelism": "0"}}, "specificConfig.parallelism", CONFIG),
    ("http-push", {"specificConfig": {"parallelism": "two"}}, "specificConfig.parallelism", CONFIG),
    ("http-push", {"specificConfig": {"idleTimeout": "61s"}}, "specificConfig.idleTimeout", CONFIG),
    ("http-push", {"specificConfig": {"idleTimeout": "-3s"}}, "specificConfig.idleTimeout", CONFIG),
    (
        "http-push",
        {"specificConfig": {"omitRequestBody": "GET,PUSH"}},
        "specificConfig.omitRequestBody",
        CONFIG,
    ),
    ("http-ingest", {"uri": "https://h:1"}, "uri", URI),
    ("http-ingest", {"sources.0.addresses": ["in"]}, "sources.0.addresses.0", CONFIG),
    ("http-ingest", {"sources.0.addresses": ["/in?x"]}, "sources.0.addresses.0", CONFIG),
    ("http-ingest", {"targets": good("amqp-10")["targets"]}, "targets.0", CONFIG),
    ("memory", {"credentials": CLIENT}, "credentials.type", CONFIG),
]


@pytest.mark.parametrize(("kind", "changes"), TAKEN, ids=repr)
def test_what_ditto_takes_is_taken(kind: str, changes: dict[str, Any]) -> None:
    assert found(kind, changes) == []


@pytest.mark.parametrize(("kind", "changes", "place", "code"), REFUSED, ids=repr)
def test_one_mistake_is_one_finding(
    kind: str, changes: dict[str, Any], place: str, code: str
) -> None:
    findings = found(kind, changes)
    assert [(f.path, f.code) for f in findings] == [(steps(place) if place else (), code)]


def test_labels_of_two_targets_must_differ() -> None:
    target = {**good("amqp-10")["targets"][0], "issuedAcknowledgementLabel": "conn-1:abc"}
    same = {**target, "issuedAcknowledgementLabel": "{{ connection:id }}:abc"}
    findings = found("amqp-10", {"targets": [target, same]})
    assert [(f.path, f.code) for f in findings] == [
        (("targets", 1, "issuedAcknowledgementLabel"), "acknowledgement:label.not.unique")
    ]
    other = {**target, "issuedAcknowledgementLabel": "conn-1:bcd"}
    assert found("amqp-10", {"targets": [target, other]}) == []


def test_two_targets_may_answer_live_signals() -> None:
    """One those of messages, say, and one those of commands."""
    target = {**good("amqp-10")["targets"][0], "issuedAcknowledgementLabel": "live-response"}
    assert found("amqp-10", {"targets": [target, target]}) == []


@pytest.mark.parametrize(
    ("types", "flag", "refused"),
    [
        ("response, nack,,error", True, False),
        ("", True, False),
        ("ERROR", True, True),
        ("response,all", True, True),
        ("all", False, False),  # has no effect there
    ],
)
def test_kinds_of_diverted_responses(types: str, flag: bool, refused: bool) -> None:
    findings = found(
        "amqp-10",
        {
            "sources.0.headerMapping": {"divert-expected-response-types": types},
            "specificConfig": {"is-diversion-source": flag},
        },
    )
    assert bool(findings) == refused


@pytest.mark.parametrize(
    ("names", "flag", "refused"),
    [
        ("a, b:c", "true", False),
        ("", "true", False),
        ("a,b c", "true", True),
        ("?", "false", False),
    ],
)
def test_ids_of_those_who_may_divert(names: str, flag: str, refused: bool) -> None:
    changes = {
        "targets.0.topics": [],
        "specificConfig": {
            "is-diversion-target": flag,
            "authorized-connections-as-sources": names,
        },
    }
    codes = [finding.code for finding in found("amqp-10", changes)]
    assert codes == (["connectivity:connection.id.invalid"] if refused else [])


def test_the_number_of_sources_and_targets_is_the_operators_to_choose() -> None:
    connection = convert(Connection, {**good("amqp-10"), "sources": good("amqp-10")["sources"] * 9})
    limits = Limits(sources_per_connection=9)
    assert rules.check(connection.value, limits=limits) == []


def test_a_password_over_http_is_allowed_by_ditto_and_warned_of() -> None:
    read = convert(
        Connection,
        changed(good("http-push"), {"credentials": {**PASSWORD, "tokenEndpoint": "http://h/t"}}),
    )
    assert [f.warning for f in rules.check(read.value)] == [True]


def test_an_unknown_type_hides_nothing_else() -> None:
    read = convert(Connection, {**good("amqp-10"), "connectionType": "x", "id": ""})
    assert next(f.path for f in rules.check(read.value)) == ("id",)
