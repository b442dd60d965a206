"""The schema and the loader agree on shape: what the model takes, the schema takes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import event, given, settings

from streamproc.config.schema import schema
from streamproc.config.service import Service
from streamproc.connectors import CONNECTORS
from tests.docs.json_schema import wrong
from tests.unit.config import written
from tests.unit.config.connections import changed, good

ROOT = json.loads(json.dumps(schema()))


def without_options(raw: Any) -> Any:
    """Options are checked by connection type; here only the model is."""
    if isinstance(raw, dict) and isinstance(raw.get("connections"), list):
        for connection in raw["connections"]:
            if isinstance(connection, dict):
                connection.pop("specificConfig", None)
    return raw


@given(written.mapping(Service).map(without_options))
@settings(max_examples=40)
def test_what_may_be_written_fits_the_schema(raw: dict[str, Any]) -> None:
    assert list(wrong(ROOT, raw, ROOT)) == []


@given(written.mapping(Service).flatmap(written.spoilt).map(without_options))
@settings(max_examples=60)
def test_the_schema_refuses_what_the_model_refuses(raw: Any) -> None:
    try:
        msgspec.convert(raw, Service)
    except msgspec.ValidationError:
        event("refused")
        found = list(wrong(ROOT, raw, ROOT))
        # A reference to the environment may stand for a number; nothing else may.
        assert found or "${" in json.dumps(raw)
    else:
        event("taken")
        assert list(wrong(ROOT, raw, ROOT)) == []


def test_options_are_those_of_the_type() -> None:
    for kind in CONNECTORS:
        connection = {**good(kind)}
        assert list(wrong(ROOT, {"connections": [connection]}, ROOT)) == []
        connection["specificConfig"] = {**connection.get("specificConfig", {}), "nope": 1}
        assert list(wrong(ROOT, {"connections": [connection]}, ROOT)) == [
            "$.connections[0].specificConfig.nope: not allowed"
        ]
    kafka = {**good("kafka"), "specificConfig": {}}
    assert list(wrong(ROOT, {"connections": [kafka]}, ROOT)) == [
        "$.connections[0].specificConfig.bootstrapServers: missing"
    ]


def test_a_number_may_come_from_elsewhere_and_an_option_be_text() -> None:
    assert list(wrong(ROOT, {"workers": "${env:N}"}, ROOT)) == []
    assert list(wrong(ROOT, {"workers": "4"}, ROOT)) == ["$.workers: none of the alternatives"]
    kafka = changed(good("kafka"), {"sources.0.qos": "${env:QOS}", "clientCount": "${file:n}"})
    assert list(wrong(ROOT, {"connections": [kafka]}, ROOT)) == []
    push = {**good("http-push"), "specificConfig": {"parallelism": "4"}}
    assert list(wrong(ROOT, {"connections": [push]}, ROOT)) == []
