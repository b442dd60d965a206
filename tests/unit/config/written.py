"""What an operator may write: values made from the declarations of the model alone."""

from __future__ import annotations

import typing
from typing import Any, Literal

import msgspec
from hypothesis import strategies as st

from streamproc.config.annotation import alternatives, is_struct, parts
from tests.unit.config.test_document import JSON, TEXT


def of(annotation: Any) -> st.SearchStrategy[Any]:
    """Values that *annotation* allows, as they stand in a file."""
    bare, metas = parts(annotation)
    members = alternatives(bare)
    if len(members) > 1:
        return st.one_of([of(member) for member in members])
    if bare is type(None):
        return st.none()
    if is_struct(bare):
        return mapping(bare)
    origin = typing.get_origin(bare)
    if origin is Literal:
        return st.sampled_from(typing.get_args(bare))
    if origin is list:
        return st.lists(of(typing.get_args(bare)[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(TEXT, of(typing.get_args(bare)[1]), max_size=3)
    if bare in (int, float):
        return numbers(bare, metas)
    return {str: TEXT, bool: st.booleans()}.get(bare, JSON)


def numbers(kind: type, metas: list[msgspec.Meta]) -> st.SearchStrategy[Any]:
    bounds = {
        k: getattr(m, k) for m in metas for k in ("ge", "gt", "le") if getattr(m, k) is not None
    }
    low = bounds.get("ge", bounds.get("gt", -1000))
    high = bounds.get("le", low + 10**6)
    if kind is int:
        return st.integers(low + ("gt" in bounds), high)
    return st.floats(low, high, exclude_min="gt" in bounds) | st.integers(
        int(low) + 1, max(int(low) + 1, int(high))
    )


def mapping(model: type[msgspec.Struct]) -> st.SearchStrategy[dict[str, Any]]:
    fields = msgspec.structs.fields(model)
    return st.fixed_dictionaries(
        {f.encode_name: of(f.type) for f in fields if f.required},
        optional={f.encode_name: of(f.type) for f in fields if not f.required},
    )


@st.composite
def spoilt(draw: st.DrawFn, value: Any) -> Any:
    """*value* with one part of it changed to anything, left out, or added."""
    if isinstance(value, dict) and value and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(value)))
        return {**value, key: draw(spoilt(value[key]))}
    if isinstance(value, list) and value and draw(st.booleans()):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], draw(spoilt(value[at])), *value[at + 1 :]]
    if isinstance(value, dict):
        if value and draw(st.booleans()):
            gone = draw(st.sampled_from(sorted(value)))
            return {k: v for k, v in value.items() if k != gone}
        return {**value, draw(TEXT): draw(JSON)}
    return draw(JSON)
