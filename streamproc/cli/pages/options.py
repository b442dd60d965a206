"""A group of options as a table: key, type, default, meaning."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

import msgspec

from streamproc.cli.pages.markdown import code, table
from streamproc.config.annotation import (
    alternatives,
    description,
    is_struct,
    parts,
    without_source,
    words,
)


def option_table(model: type[msgspec.Struct]) -> str:
    """All options of *model*, in the order of their declaration."""
    rows = [
        (code(option.encode_name), _type(option.type), _default(option), _meaning(option.type))
        for option in msgspec.structs.fields(model)
    ]
    return table(("option", "value", "default", "meaning"), rows) if rows else "No options."


def summary(model: type[Any]) -> str:
    """What the group is about."""
    return without_source(" ".join((model.__doc__ or "").split()))


def groups(model: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    """*model* and every group of options inside it, each once, outer ones first."""
    waiting, seen = [model], {model}
    while waiting:
        yield (current := waiting.pop(0))
        for option in msgspec.structs.fields(current):
            for inner in _structs(option.type):
                if inner not in seen:
                    seen.add(inner)
                    waiting.append(inner)


def _structs(annotation: Any) -> Iterator[type[msgspec.Struct]]:
    for member in alternatives(parts(annotation)[0]):
        bare, _ = parts(member)
        if is_struct(bare):
            yield bare
        for argument in typing.get_args(bare):
            yield from _structs(argument)


def _type(annotation: Any) -> str:
    """In words, with a link where there is a group of its own."""
    inner = next(_structs(annotation), None)
    if inner is None:
        return words(annotation).replace("'", "`")
    link = f"[{inner.__name__}](#{inner.__name__.lower()})"
    origins = {typing.get_origin(parts(m)[0]) for m in alternatives(parts(annotation)[0])}
    if list in origins:
        return f"list of {link}"
    return f"{link} by name" if dict in origins else link


def _default(option: msgspec.structs.FieldInfo) -> str:
    if option.required:
        return "**required**"
    if option.default_factory is not msgspec.NODEFAULT:
        value = option.default_factory()
        if not isinstance(value, list | dict):
            return "see there"  # differs from machine to machine
    else:
        value = option.default
    if is_struct(type(value)):
        return ""
    return code(msgspec.json.encode(value).decode())


def _meaning(annotation: Any) -> str:
    _, metas = parts(annotation)
    examples = next((meta.examples for meta in reversed(metas) if meta.examples), None)
    text = description(annotation)
    if not examples:
        return text
    shown = [e if isinstance(e, str) else msgspec.json.encode(e).decode() for e in examples]
    return f"{text} Example: {', '.join(map(code, shown))}"
