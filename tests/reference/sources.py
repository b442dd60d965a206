"""What placeholders mean, slowly and obviously: a list of values, empty without one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from streamproc.kernels.signal import ABSENT, Signal
from streamproc.kernels.thing import thing_of
from streamproc.lang.plan import Source
from streamproc.lang.scopes import SOURCE_ADDRESS_HEADER

CHANGES = [
    *("create", "modify", "merge", "delete", "migrate"),
    *("created", "modified", "merged", "deleted", "migrated"),
]


def values(
    source: Source, headers: Mapping[str, str], signal: Signal | None, now: datetime | None
) -> list[str]:
    match source.kind:
        case "never":
            return []
        case "header":
            return header(headers, source.name, source.any_case)
        case "source:address":
            return header(headers, SOURCE_ADDRESS_HEADER, False)
        case "time":
            return [source.detail.resolve(now)]
    if signal is None:
        return []
    found = of_signal(source, signal)
    if found is None:
        return []
    return found if isinstance(found, list) else [found]


def header(headers: Mapping[str, str], name: str, any_case: bool) -> list[str]:
    if name in headers:
        return [headers[name]]
    if not any_case:
        return []
    if name.lower() in headers:
        return [headers[name.lower()]]
    same = [value for key, value in headers.items() if ascii_lower(key) == ascii_lower(name)]
    return same if len(same) == 1 else []


def ascii_lower(text: str) -> str:
    return "".join(c.lower() if "A" <= c <= "Z" else c for c in text)


def of_signal(source: Source, signal: Signal) -> Any:
    prefix, _, name = source.kind.partition(":")
    topic = signal.topic
    match prefix:
        case "thing":
            return part(thing_id(signal), name)
        case "entity":
            return part(entity_id(signal), name)
        case "policy":
            return part(policy_id(signal), name)
        case "feature":
            return feature_ids(signal)
        case "request":
            return list(signal.subjects)
        case "thing-json":
            return thing_json(signal, source.detail)
        case "resource" if name == "path":
            return signal.path
        case "resource":
            return resource_type(signal)
    if topic is None:
        return None
    tells_action = topic.criterion in ("commands", "events")
    return {
        "full": topic.full,
        "namespace": topic.namespace,
        "entityName": topic.name,
        "group": topic.group,
        "channel": topic.channel,
        "criterion": topic.criterion,
        "action": topic.action if tells_action else None,
        "subject": topic.subject,
        "action-subject": topic.subject or (topic.action if tells_action else None),
    }[name]


def with_namespace(entity_id: str | None) -> str | None:
    return entity_id if entity_id is not None and ":" in entity_id else None


def thing_id(signal: Signal) -> str | None:
    if signal.topic is not None and signal.topic.group != "things":
        return None
    return with_namespace(signal.entity_id)


def entity_id(signal: Signal) -> str | None:
    return with_namespace(signal.policy_id if signal.entity_id is None else signal.entity_id)


def policy_id(signal: Signal) -> str | None:
    if signal.policy_id is not None:
        return with_namespace(signal.policy_id)
    if signal.topic is not None and signal.topic.group == "policies":
        return with_namespace(signal.entity_id)
    return None


def part(entity_id: str | None, name: str) -> str | None:
    if entity_id is None:
        return None
    namespace, _, own_name = entity_id.partition(":")
    return {"id": entity_id, "namespace": namespace, "name": own_name}[name]


def resource_type(signal: Signal) -> str | None:
    if signal.resource_type is not None:
        return signal.resource_type
    if signal.topic is None or signal.path is None:
        return None
    if signal.topic.criterion == "messages":
        return "message"
    return {"things": "thing", "policies": "policy", "connections": "connection"}[
        signal.topic.group
    ]


def feature_ids(signal: Signal) -> list[str]:
    topic = signal.topic
    if signal.path is None or (topic is not None and topic.group != "things"):
        return []
    keys = signal.path.split("/")[1:]
    if len(keys) > 1 and keys[0] == "features":
        return [keys[1].replace("~0", "~")] if keys[1] else []
    changes = topic is None or (
        topic.criterion in ("commands", "events") and topic.action in CHANGES
    )
    features: Any = None
    if changes and signal.path == "/features":
        features = signal.value
    elif changes and signal.path == "/" and isinstance(signal.value, dict):
        features = signal.value.get("features")
    return list(features) if isinstance(features, dict) else []


def thing_json(signal: Signal, keys: tuple[str, ...]) -> list[str]:
    thing_of([signal])
    value: Any = signal.thing
    if not value:
        return []
    for key in keys:
        value = value.get(key, ABSENT) if isinstance(value, dict) else ABSENT
    if value is ABSENT:
        return []
    return [json_text(item) for item in value] if isinstance(value, list) else [json_text(value)]


def json_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
