"""As much of JSON Schema as ``configs/schema.json`` uses; an unknown keyword is an error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}
_SILENT = {"$schema", "$comment", "$defs", "title", "description", "default", "examples"}


def wrong(
    schema: dict[str, Any], value: Any, root: dict[str, Any], path: str = "$"
) -> Iterator[str]:
    """Where *value* is not what *schema* says."""
    for keyword, rule in schema.items():
        if keyword not in _SILENT:
            yield from _KEYWORDS[keyword](rule, value, root, path, schema)


def _type(rule: str, value: Any, root: Any, path: str, _: Any) -> Iterator[str]:
    known = isinstance(value, _TYPES[rule])
    if not known or (isinstance(value, bool) and rule in ("integer", "number")):
        yield f"{path}: no {rule}"


def _properties(rule: Any, value: Any, root: Any, path: str, _: Any) -> Iterator[str]:
    for key, inner in rule.items():
        if isinstance(value, dict) and key in value:
            yield from wrong(inner, value[key], root, f"{path}.{key}")


def _additional(rule: Any, value: Any, root: Any, path: str, schema: Any) -> Iterator[str]:
    for key in value if isinstance(value, dict) else ():
        if key in schema.get("properties", {}):
            continue
        if rule is False:
            yield f"{path}.{key}: not allowed"
        elif isinstance(rule, dict):
            yield from wrong(rule, value[key], root, f"{path}.{key}")


def _required(rule: Any, value: Any, root: Any, path: str, _: Any) -> Iterator[str]:
    yield from (f"{path}.{k}: missing" for k in rule if isinstance(value, dict) and k not in value)


def _items(rule: Any, value: Any, root: Any, path: str, _: Any) -> Iterator[str]:
    for index, item in enumerate(value if isinstance(value, list) else ()):
        yield from wrong(rule, item, root, f"{path}[{index}]")


def _any_of(rule: Any, value: Any, root: Any, path: str, _: Any) -> Iterator[str]:
    if all(list(wrong(each, value, root, path)) for each in rule):
        yield f"{path}: none of the alternatives"


def _all_of(rule: Any, value: Any, root: Any, path: str, _: Any) -> Iterator[str]:
    for each in rule:
        yield from wrong(each, value, root, path)


def _if(rule: Any, value: Any, root: Any, path: str, schema: Any) -> Iterator[str]:
    if not list(wrong(rule, value, root, path)):
        yield from wrong(schema["then"], value, root, path)


def _ref(rule: str, value: Any, root: Any, path: str, _: Any) -> Iterator[str]:
    yield from wrong(root["$defs"][rule.removeprefix("#/$defs/")], value, root, path)


def _bound(holds: Any) -> Any:
    def check(rule: Any, value: Any, root: Any, path: str, _: Any) -> Iterator[str]:
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and not holds(value, rule)
        ):
            yield f"{path}: out of bounds"

    return check


def _pattern(rule: str, value: Any, root: Any, path: str, _: Any) -> Iterator[str]:
    if isinstance(value, str) and not re.search(rule, value):
        yield f"{path}: does not match"


def _enum(rule: Any, value: Any, root: Any, path: str, _: Any) -> Iterator[str]:
    if value not in rule:
        yield f"{path}: none of {rule}"


_KEYWORDS = {
    "type": _type,
    "properties": _properties,
    "additionalProperties": _additional,
    "required": _required,
    "items": _items,
    "anyOf": _any_of,
    "allOf": _all_of,
    "if": _if,
    "then": lambda *_: iter(()),
    "$ref": _ref,
    "minimum": _bound(lambda value, rule: value >= rule),
    "maximum": _bound(lambda value, rule: value <= rule),
    "exclusiveMinimum": _bound(lambda value, rule: value > rule),
    "pattern": _pattern,
    "enum": _enum,
    "const": lambda rule, value, root, path, _: _enum([rule], value, root, path, _),
}
