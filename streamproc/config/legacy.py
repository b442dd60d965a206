"""Older shapes of a connection that Ditto still takes (spec: Ditto 1.1, 1.8), made new.

Each change is a warning, so that nobody wonders where an option went.
"""

from __future__ import annotations

from typing import Any

from streamproc.config.problem import Finding, Path

_OLD_ACTION = "topic:action|subject"
_NEW_ACTION = "topic:action-subject"
_OLD_MAPPER = "javascript"


def modernise(connection: Any) -> list[Finding]:
    """Rewrite *connection* in place. What has the wrong type is left for others to refuse."""
    if not isinstance(connection, dict):
        return []
    found: list[Finding] = []
    _subjects(connection, found)
    _filters(connection, found)
    _mapping_context(connection, found)
    _action(connection, (), found)
    return found


def _warn(found: list[Finding], path: Path, message: str) -> None:
    found.append(Finding(path=path, message=message, warning=True))


def _ends(connection: dict[str, Any]) -> list[dict[str, Any]]:
    """Sources and targets, as far as they are mappings."""
    lists = [connection.get(side) for side in ("sources", "targets")]
    return [
        end for ends in lists if isinstance(ends, list) for end in ends if isinstance(end, dict)
    ]


def _subjects(connection: dict[str, Any], found: list[Finding]) -> None:
    if isinstance(connection.get("authorizationContext"), list):
        subjects = connection.pop("authorizationContext")
        for end in _ends(connection):
            if not end.get("authorizationContext"):
                end["authorizationContext"] = list(subjects)
        _warn(
            found,
            ("authorizationContext",),
            "is old: taken for the sources and targets that have none",
        )


def _filters(connection: dict[str, Any], found: list[Finding]) -> None:
    sources = connection.get("sources")
    for index, source in enumerate(sources if isinstance(sources, list) else []):
        if isinstance(source, dict) and isinstance(source.get("filters"), list):
            filters = source.pop("filters")
            source.setdefault("enforcement", {"input": "{{ source:address }}", "filters": filters})
            _warn(
                found,
                ("sources", index, "filters"),
                "is old: taken for an enforcement of the source's address",
            )


def _mapping_context(connection: dict[str, Any], found: list[Finding]) -> None:
    context = connection.get("mappingContext")
    definitions = connection.setdefault("mappingDefinitions", {}) if context else None
    if not isinstance(context, dict) or not isinstance(definitions, dict):
        return
    del connection["mappingContext"]
    definitions[_OLD_MAPPER] = context
    for end in _ends(connection):
        mapping = end.setdefault("payloadMapping", [])
        if isinstance(mapping, list):
            mapping.append(_OLD_MAPPER)
    _warn(
        found,
        ("mappingContext",),
        f"is old: taken for a mapping definition {_OLD_MAPPER!r} of every source and target",
    )


def _action(value: Any, path: Path, found: list[Finding]) -> Any:
    """``topic:action|subject`` in any text, from when ``|`` was part of its name."""
    if isinstance(value, dict):
        for key, child in value.items():
            value[key] = _action(child, (*path, key), found)
    elif isinstance(value, list):
        value[:] = [_action(child, (*path, index), found) for index, child in enumerate(value)]
    elif isinstance(value, str) and _OLD_ACTION in value:
        _warn(found, path, f"{_OLD_ACTION} is old: taken for {_NEW_ACTION}")
        return value.replace(_OLD_ACTION, _NEW_ACTION)
    return value
