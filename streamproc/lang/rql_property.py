"""Which properties an RQL filter may name: fields of a thing, and placeholders of a signal."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Final, NoReturn

from streamproc.errors import ExpressionError
from streamproc.lang import pointer, timeexpr
from streamproc.lang.rql_plan import Field, Placeholder, Property

CODE: Final = "rql.expression.invalid"

PLACEHOLDERS: Final[dict[str, tuple[str, ...]]] = {
    "topic": (
        *("full", "namespace", "entityName", "group", "channel", "criterion"),
        *("action", "subject", "action-subject"),
    ),
    "resource": ("type", "path"),
    "entity": ("id", "namespace", "name"),
    "thing": ("id", "namespace", "name"),
    "feature": ("id",),
    "time": ("now", "now_epoch_millis"),  # and what timeexpr adds to them
}
FIELDS: Final = (
    *("thingId", "policyId", "definition"),
    *("_namespace", "_revision", "_created", "_modified", "_metadata"),
)
# What is below features/<id>/, and whether a path can follow.
_PARTS: Final = {"definition": False, "properties": True, "desiredProperties": True}
_SHAPES: Final = (
    *FIELDS,
    *("attributes/<path>", "_metadata/<path>", "features/<id>/definition"),
    *("features/<id>/properties/<path>", "features/<id>/desiredProperties/<path>"),
)


def parse(text: str, position: int, *, existence: bool) -> Property:
    """The property that *text* names; raises ExpressionError ``rql.expression.invalid``.

    *existence*: for ``exists`` and ``empty``, which take features and their parts as well.
    *position* is where *text* begins in the filter.
    """
    name = text.removeprefix("/")
    prefix, colon, rest = name.partition(":")
    if colon and prefix in PLACEHOLDERS:
        return _placeholder(text, position, prefix, rest)
    try:
        keys = pointer.parse(name)
    except ExpressionError as error:
        _fail(position, str(error), error.hint)
    if name.startswith("/") or not _is_known(name, keys, existence):
        _fail(position, f"unknown property {text!r}", _hint(name, existence))
    return Field(text, keys)


def unchecked(text: str) -> Property:
    """The property that *text* names, whether there is such a thing or not."""
    prefix, colon, rest = text.removeprefix("/").partition(":")
    if colon and rest in PLACEHOLDERS.get(prefix, ()):
        return _placeholder(text, 0, prefix, rest)
    return Field(text, tuple([key for key in text.split("/") if key]))


def _is_known(name: str, keys: pointer.Keys, existence: bool) -> bool:
    match keys:
        case (("attributes" | "_metadata"), *path):
            # "attributes/" is all attributes, "_metadata" needs no slash for that.
            return bool(path) or name in ("attributes/", "_metadata/", "_metadata")
        case ("features", _, part, *path) if part in _PARTS:
            return bool(path) == _PARTS[part] or (existence and not path)
        case ("features", _):
            return existence and not name.endswith("/")
        case _:
            return name in FIELDS


def _placeholder(text: str, position: int, prefix: str, name: str) -> Placeholder:
    if prefix == "time":
        try:
            return Placeholder(text, prefix, name, timeexpr.parse(name))
        except ExpressionError as error:
            _fail(position, str(error), error.hint)
    names = PLACEHOLDERS[prefix]
    if name not in names:
        close = get_close_matches(name, names, 1)
        hint = (
            f"did you mean {prefix}:{close[0]}?" if close else f"{prefix}: has {', '.join(names)}"
        )
        _fail(position, f"unknown placeholder {prefix}:{name}", hint)
    return Placeholder(text, prefix, name)


def _hint(name: str, existence: bool) -> str:
    """What was probably meant."""
    if name != name.strip():
        return "no blank allowed here"
    if name.startswith("/"):
        return "leave one slash out"
    prefix, colon, _ = name.partition(":")
    if colon and "/" not in prefix:
        return f"placeholders possible here: {', '.join(f'{each}:' for each in PLACEHOLDERS)}"
    keys = [key for key in name.split("/") if key]
    first = keys[0] if keys else ""
    if keys == ["attributes"]:
        return "add a path: attributes/<path>"
    if first == "features":
        wanted = "write features/<id>, or" if existence else "compare"
        return f"{wanted} features/<id>/properties/<path>"
    if f"_{first}" in FIELDS:
        return f"did you mean _{first}?"
    close = get_close_matches(first, ("attributes", "features", *FIELDS), 1)
    return f"did you mean {close[0]}?" if close else f"possible are {', '.join(_SHAPES)}"


def _fail(position: int, what: str, hint: str) -> NoReturn:
    raise ExpressionError(CODE, what, position=position, hint=hint)
