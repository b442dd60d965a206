"""What the model says about an option, in the words of a person and in parts a walk can use."""

from __future__ import annotations

import functools
import re
import types
import typing
from typing import Annotated, Any, Literal, Union

import msgspec


@functools.cache
def options(model: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """The fields of a group of options. msgspec evaluates annotations anew at each call."""
    return msgspec.structs.fields(model)


def parts(annotation: Any) -> tuple[Any, list[msgspec.Meta]]:
    """The bare type and what ``Annotated`` says about it, outermost last."""
    metas: list[msgspec.Meta] = []
    while typing.get_origin(annotation) is Annotated:
        annotation, *more = typing.get_args(annotation)
        metas = [m for m in more if isinstance(m, msgspec.Meta)] + metas
    return annotation, metas


def alternatives(bare: Any) -> tuple[Any, ...]:
    """The members of a union, or the type alone."""
    if typing.get_origin(bare) in (Union, types.UnionType):
        return typing.get_args(bare)
    return (bare,)


def description(annotation: Any) -> str:
    return next((m.description for m in reversed(parts(annotation)[1]) if m.description), "")


def extra(annotation: Any, key: str) -> Any:
    """What the declaration says beside msgspec's own words: ``secret``, ``unused``."""
    return next((m.extra[key] for m in parts(annotation)[1] if m.extra and key in m.extra), None)


def without_source(text: str) -> str:
    """A docstring for users: without the place in the specification that it was made from."""
    return re.sub(r" \(spec: [^)]*\)", "", text)


def is_struct(bare: Any) -> bool:
    return isinstance(bare, type) and issubclass(bare, msgspec.Struct)


def words(annotation: Any) -> str:
    """``a whole number from 1 to 256``: what has to be written there."""
    bare, metas = parts(annotation)
    members = alternatives(bare)
    if len(members) > 1:
        return " or ".join(words(m) for m in members if m is not type(None)) + (
            " or null" if type(None) in members else ""
        )
    origin = typing.get_origin(bare)
    if origin is Literal:
        values = [repr(v) for v in typing.get_args(bare)]
        return values[0] if len(values) == 1 else f"one of {', '.join(values)}"
    if origin is list:
        return f"a list of {_plural(typing.get_args(bare)[0])}"
    if origin is dict:
        return "a mapping"
    if is_struct(bare):
        return "a mapping"
    if bare is int:
        return f"a whole number{_bounds(metas)}"
    if bare is float:
        return f"a number{_bounds(metas)}"
    return {str: "text", bool: "true or false", type(None): "null"}.get(bare, "any value")


def _plural(annotation: Any) -> str:
    bare, _ = parts(annotation)
    if is_struct(bare) or typing.get_origin(bare) is dict:
        return "mappings"
    return {str: "texts", int: "whole numbers"}.get(bare, "values")


def _bounds(metas: list[msgspec.Meta]) -> str:
    found = {
        k: v for m in metas for k in ("ge", "gt", "le", "lt") if (v := getattr(m, k)) is not None
    }
    if "ge" in found and "le" in found:
        return f" from {found['ge']} to {found['le']}"
    named = {"ge": "of at least", "gt": "above", "le": "of at most", "lt": "below"}
    return "".join(f" {named[k]} {v}" for k, v in found.items())


def blank(annotation: Any) -> Any:
    """A value of the type that says nothing: it stands where the real one could not be read."""
    bare, _ = parts(annotation)
    members = alternatives(bare)
    if type(None) in members:
        return None
    origin = typing.get_origin(members[0])
    if origin is Literal:
        return ""
    if origin is list:
        return []
    if origin is dict:
        return {}
    if is_struct(members[0]):
        return members[0](**{f.name: blank(f.type) for f in options(members[0]) if f.required})
    return {int: 0, float: 0.0, bool: False}.get(members[0], "")
