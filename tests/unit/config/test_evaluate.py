"""``eval``'s op ``connection``: what Ditto passes over while it reads, and what it insists on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from streamproc.errors import StreamprocError
from streamproc.evaluate.connection import connection
from tests.unit.config.connections import GONE, changed, good
from tests.unit.config.test_document import JSON


def answer(raw: Any, **more: Any) -> Any:
    return connection({"kind": "connection", "connection": raw, **more})


@pytest.mark.parametrize(
    "changes",
    [
        {"sources.1": "no object", "targets.1": 7},
        {"sources.0.headerMapping": {"a": 5}},
        {"tags": ["a", 1]},
        {"mappingDefinitions": {"x": "no object"}},
        {"unknown": 1, "sources.0.unknown": 2},
        {"specificConfig": {"unknown": "x"}},
        {"_revision": 3, "_created": "2026-01-01T00:00:00Z", "__lifecycle": "ACTIVE"},
        {"authorizationContext": ["a:b"], "sources.0.authorizationContext": GONE},
        {"sources.0.headerMapping": {"a": "{{ topic:action|subject }}"}},
        {"mappingContext": {"mappingEngine": "JavaScript", "options": {}}},
        {"sources.0.enforcement": {"input": "{{ header:x }}"}},
    ],
)
def test_ditto_passes_over_it(changes: dict[str, Any]) -> None:
    assert answer(changed(good("amqp-10"), changes)) == "valid"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"connectionStatus": GONE}, "json.field.missing"),
        ({"connectionType": GONE}, "json.field.missing"),
        ({"targets.0.address": GONE}, "json.field.missing"),
        ({"targets.0.topics": GONE}, "json.field.missing"),
        ({"id": "a b"}, "connectivity:connection.id.invalid"),
        ({"clientCount": 0}, "connectivity:connection.configuration.invalid"),
        ({"sources": "x"}, "connectivity:connection.configuration.invalid"),
    ],
)
def test_ditto_insists_on_it(changes: dict[str, Any], code: str) -> None:
    assert answer(changed(good("amqp-10"), changes))["code"] == code


def test_one_thing_that_cannot_be_read_is_one_reason() -> None:
    said = answer(changed(good("amqp-10"), {"id": 5, "sources.0.declaredAcks": ["conn-1:ack"]}))
    assert said["invalid"] == "$.id: expected text, found 5"


@pytest.mark.parametrize("key", ["blockedHostnames", "blocked-hostnames"])
@pytest.mark.parametrize("value", [["8.8.8.8"], "8.8.8.8, 9.9.9.9"])
def test_host_rules_may_be_written_both_ways(key: str, value: Any) -> None:
    raw = {**good("amqp-10"), "uri": "amqps://8.8.8.8:443"}
    assert "blocked" in answer(raw, hostConfig={key: value})["invalid"]
    assert answer({**raw, "uri": "amqps://8.8.4.4:443"}, hostConfig={key: value}) == "valid"


def test_an_allowed_host_needs_no_look_up() -> None:
    raw = {**good("amqp-10"), "uri": "amqps://localhost:443"}
    config = {"blockedHostnames": ["8.8.8.8"], "allowedHostnames": ["localhost"]}
    assert answer(raw, hostConfig=config) == "valid"


def test_an_ipv6_host_keeps_its_brackets() -> None:
    assert connection({"kind": "uri", "uri": "tcp://[::1]:1"})["hostname"] == "[::1]"


def test_the_path_of_a_uri_is_decoded() -> None:
    assert connection({"kind": "uri", "uri": "tcp://h:1/a%20b"})["path"] == "/a b"


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(StreamprocError):
        connection({"kind": "x"})


@given(JSON)
def test_anything_gets_an_answer(raw: Any) -> None:
    said = answer(raw)
    assert said["invalid"]
    assert said["code"]
    assert connection({"kind": "connection", "connection": {**good("kafka"), "targets": [raw]}})
