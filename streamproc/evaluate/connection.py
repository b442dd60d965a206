"""``streamproc eval``, op ``connection``: would Ditto take this connection, uri or address.

A connection is judged as Ditto reads it, which is milder than ``streamproc lint`` in what it
passes over, and stricter in one thing: ``connectionStatus`` must be there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from streamproc.config import legacy, rules
from streamproc.config.addresses import KafkaAddress
from streamproc.config.connection import Connection
from streamproc.config.convert import convert
from streamproc.config.problem import FIELD_MISSING, KEY_UNKNOWN, Finding, json_path
from streamproc.config.service import Hosts
from streamproc.config.uri import ConnectionUri
from streamproc.errors import StreamprocError


def connection(case: dict[str, Any]) -> Any:
    """The answer to one case; see ``kind``."""
    kind = case.get("kind", "connection")
    if kind == "connection":
        return _connection(case.get("connection"), case.get("hostConfig"))
    if kind == "uri":
        return _uri(str(case.get("uri", "")))
    if kind == "kafkaTarget":
        return _kafka_target(str(case.get("address", "")))
    raise StreamprocError(f"expected the kind connection, uri or kafkaTarget, found {kind!r}")


def findings(raw: object, hosts: Hosts | None = None) -> list[Finding]:
    """All for which Ditto would refuse *raw*, most basic first."""
    found = [] if not isinstance(raw, Mapping) or "connectionStatus" in raw else [_NO_STATUS]
    found += legacy.modernise(value := as_ditto_reads(raw))
    read = convert(Connection, value)
    found += read.findings
    checked = rules.check(read.value, hosts=hosts or Hosts())
    found += [
        finding
        for finding in checked
        if not read.spoils(finding.path) and not any((k,) in read.broken for k in finding.needs)
    ]
    return [f for f in found if not f.warning and f.code != KEY_UNKNOWN]


_NO_STATUS = Finding(path=("connectionStatus",), message="is missing", code=FIELD_MISSING)


def as_ditto_reads(raw: object) -> Any:
    """A copy without what Ditto silently passes over while it reads (spec: Ditto 1.1)."""
    if not isinstance(raw, dict):
        return raw
    value = dict(raw)
    for side in ("sources", "targets"):
        if isinstance(value.get(side), list):
            value[side] = [_end(end) for end in value[side] if isinstance(end, dict)]
    if isinstance(definitions := value.get("mappingDefinitions"), dict):
        kept = {k: v for k, v in definitions.items() if isinstance(v, dict)}
        value["mappingDefinitions"] = kept
    if isinstance(value.get("tags"), list):
        value["tags"] = [tag for tag in value["tags"] if isinstance(tag, str)]
    if value.get("connectionType") == "hono":
        value["uri"] = ""
    return value


def _end(end: dict[str, Any]) -> dict[str, Any]:
    kept = dict(end)
    if isinstance(mapping := kept.get("headerMapping"), dict):
        kept["headerMapping"] = {k: v for k, v in mapping.items() if isinstance(v, str)}
    if isinstance(enforcement := kept.get("enforcement"), dict):
        kept["enforcement"] = {"filters": [], **enforcement}
    return kept


def _connection(raw: object, host_config: object) -> Any:
    found = findings(raw, _hosts(host_config))
    if not found:
        return "valid"
    first = found[0]
    return {"invalid": f"{json_path(first.path)}: {first.sentence}", "code": first.code}


def _hosts(config: object) -> Hosts:
    """Host rules of a deployment, under Ditto's names; lists may be comma text."""
    given = config if isinstance(config, Mapping) else {}

    def words(*names: str) -> list[str]:
        value: Any = next((given[name] for name in names if name in given), [])
        items = value.split(",") if isinstance(value, str) else value
        return [text for item in items if (text := str(item).strip())]

    return Hosts(
        allowed=words("allowedHostnames", "allowed-hostnames"),
        blocked=words("blockedHostnames", "blocked-hostnames"),
        blocked_subnets=words("blockedSubnets", "blocked-subnets"),
        blocked_regex=str(given.get("blockedHostRegex", given.get("blocked-host-regex", "")) or ""),
    )


def _uri(text: str) -> dict[str, Any]:
    uri = ConnectionUri.parse(text)
    parts = {
        "protocol": uri.scheme,
        "hostname": f"[{uri.host}]" if ":" in uri.host else uri.host,
        "port": uri.port,
        "username": uri.user,
        "password": uri.password,
        "path": unquote(uri.path) or None,
    }
    return {key: value for key, value in parts.items() if value is not None}


def _kafka_target(text: str) -> dict[str, Any]:
    address = KafkaAddress.parse(text)
    parts = {"topic": address.topic, "key": address.key, "partition": address.partition}
    return {key: value for key, value in parts.items() if value is not None}
