"""``configs/schema.json``: what editors know of a configuration, from the same declarations.

It says what shape a file has, with the options of each connection type. What Ditto's rules
and the parsers of expressions demand beyond that is for ``streamproc lint``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from streamproc.config.annotation import without_source
from streamproc.config.options import DIVERSION
from streamproc.config.service import Service
from streamproc.connectors import CONNECTORS

_REFERENCE = {
    "description": "A value from the environment or a file.",
    "type": "string",
    "pattern": r"^\$\{(env|file):[^}]+\}$",
}
_DIVERSION = {"description": "Ditto's diversion of responses; not in this version."}
_NOT_TEXT = ("integer", "number", "boolean")


def schema() -> dict[str, Any]:
    """The JSON schema of a service file."""
    options = [row.options for row in CONNECTORS.values()]
    _, definitions = msgspec.json.schema_components(
        [Service, *options], ref_template="#/$defs/{name}"
    )
    for row in CONNECTORS.values():
        definition = definitions[row.options.__name__]
        definition["properties"] |= dict.fromkeys(sorted(DIVERSION), _DIVERSION)
        _allow(definition, {"type": "string", "description": "The same, as text."})
    option_names = {model.__name__ for model in options}
    for name, definition in definitions.items():
        if name not in option_names:
            _allow(definition, {"$ref": "#/$defs/Reference"})
    for definition in definitions.values():
        definition["description"] = without_source(definition.get("description", ""))
    definitions["Reference"] = _REFERENCE
    definitions["Connection"]["allOf"] = [
        {
            "if": {
                "properties": {"connectionType": {"const": row.name}},
                "required": ["connectionType"],
            },
            "then": {"properties": {"specificConfig": {"$ref": f"#/$defs/{row.options.__name__}"}}},
        }
        for row in CONNECTORS.values()
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": "Generated from streamproc/config; edit that and run streamproc docs.",
        "title": "A streamproc service",
        "$ref": "#/$defs/Service",
        "$defs": dict(sorted(definitions.items())),
    }


def text() -> str:
    """The schema as it is written to ``configs/schema.json``."""
    encoded = msgspec.json.encode(schema(), order=None)
    return msgspec.json.format(encoded, indent=2).decode() + "\n"


def _allow(definition: dict[str, Any], other: dict[str, Any]) -> None:
    """Numbers and truths may also be written as *other*."""
    for key, option in definition.get("properties", {}).items():
        if not any(_is_number(each) for each in (option, *option.get("anyOf", ()))):
            continue
        about = {k: option[k] for k in ("description", "default", "examples") if k in option}
        rest = {k: v for k, v in option.items() if k not in about}
        choices = rest.pop("anyOf", None) or [rest]
        definition["properties"][key] = {**about, "anyOf": [*choices, other]}


def _is_number(option: dict[str, Any]) -> bool:
    """Whether it is a number or a truth, by type or by its values."""
    return option.get("type") in _NOT_TEXT or any(
        isinstance(value, int) for value in option.get("enum", ())
    )
