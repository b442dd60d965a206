"""Field selectors: which parts of a JSON object are wanted.

    thingId,attributes/location,features(lamp/properties/on,fan),features/*/properties/unit

``parse`` takes any selector, ``parse_extra_fields`` what a target's ``extraFields`` may name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final, TypeAlias, cast

from streamproc.errors import ExpressionError
from streamproc.lang import pointer

MAX_LENGTH: Final = 8_192  # characters
MAX_POINTERS: Final = 512
MAX_DEPTH: Final = 32  # parentheses inside each other

FIELDS: Final = (
    *("thingId", "policyId", "definition", "attributes", "features"),
    *("_namespace", "_revision", "_created", "_modified", "_metadata", "_policy", "_context"),
)
_WITH_PATH: Final = frozenset({"attributes", "features", "_context"})
# Text up to what ends it: a placeholder is taken whole, whatever is in it.
_TEXT: Final = re.compile(r"(?:\{\{.*?\}\}|[^,()])*+", re.DOTALL)
_PART: Final = re.compile(r"(?:\{\{.*?\}\}|[^,])*+", re.DOTALL)

# A tree of wanted keys; None: all below is wanted.
Tree: TypeAlias = dict[str, "Tree | None"]


@dataclass(frozen=True, slots=True)
class Selector:
    """A parsed selector: its pointers, each once, in the order written."""

    text: str
    keys: tuple[pointer.Keys, ...]
    pointers: tuple[str, ...]
    has_placeholders: bool
    _tree: Tree = field(compare=False, repr=False)

    def select(self, document: dict[str, Any], *, wildcards: bool = True) -> dict[str, Any]:
        """The wanted parts of *document*; with *wildcards* ``features/*`` means any feature."""
        return _select(document, self._tree, wildcards, top=True)


def parse(text: str) -> Selector:
    """Parse any selector; raises ExpressionError ``json.fieldselector.invalid``."""
    if len(text) > MAX_LENGTH:
        raise _invalid(f"it has {len(text)} characters, {MAX_LENGTH} are allowed", None)
    found: list[pointer.Keys] = []
    if text:
        end = _list(text, 0, (), found, 0)
        if end < len(text):
            raise _invalid(f"{text[end]!r} at {end} closes nothing", end)
    return _selector(text, found)


def parse_extra_fields(text: str) -> Selector:
    """Parse ``extraFields``; raises ExpressionError, as ``parse`` does, or else
    ``things:field.selection.invalid``.

    As in Ditto, each part between two commas must begin with a field of a thing, or with a
    placeholder.
    """
    if len(text) > MAX_LENGTH:
        raise _refused(f"it has {len(text)} characters, {MAX_LENGTH} are allowed", None, "")
    found = parse(text)
    at = 0
    while at <= len(text):
        end = cast(re.Match[str], _PART.match(text, at)).end()
        _check_field(text[at:end], at)
        at = end + 1
    return found


def _list(text: str, at: int, prefix: pointer.Keys, found: list[pointer.Keys], depth: int) -> int:
    """Fields with commas between, from *at* to what cannot belong to them; returns its place."""
    if depth > MAX_DEPTH:
        raise _invalid(f"more than {MAX_DEPTH} parentheses are inside each other", at)
    while True:
        end = cast(re.Match[str], _TEXT.match(text, at)).end()
        keys = prefix + _pointer(text[at:end], at)
        if text.startswith("(", end):
            end = _list(text, end + 1, keys, found, depth + 1)
            if not text.startswith(")", end):
                raise _invalid("a parenthesis is not closed", len(text))
            end += 1
        else:
            found.append(keys)
        if len(found) > MAX_POINTERS:
            raise _invalid(f"it names more than {MAX_POINTERS} fields", end)
        if not text.startswith(",", end):
            if end < len(text) and text[end] != ")":
                raise _invalid(f"expected a comma at {end}, found {text[end]!r}", end)
            return end
        at = end + 1


def _check_field(text: str, at: int) -> None:
    name, slash, path = text.removeprefix("/").partition("/")
    if name.startswith("{{"):
        return  # what it will name, nobody knows
    if name not in FIELDS:
        if text != text.strip():
            raise _refused(f"{text!r} has a blank around it", at, "leave the blank out")
        if "(" in name or ")" in name:
            hint = "write each field in full: attributes/a,attributes/b"
            raise _refused(f"a group cannot stand here, found {text!r}", at, hint)
        close = get_close_matches(name, FIELDS, 1)
        hint = f"did you mean {close[0]}?" if close else f"possible are {', '.join(FIELDS)}"
        raise _refused(f"{name!r} is no field of a thing" if name else "a field is empty", at, hint)
    if slash and (name not in _WITH_PATH or not path):
        raise _refused(f"nothing can follow {name!r}, found {slash + path!r}", at + len(name), "")


def _pointer(text: str, at: int) -> pointer.Keys:
    """The keys of the part of a selector that begins at *at*."""
    try:
        return pointer.parse(text)
    except ExpressionError as error:
        position = at + (error.position or 0)
        raise ExpressionError(error.code, str(error), position=position, hint=error.hint) from error


def _selector(text: str, found: list[pointer.Keys]) -> Selector:
    if len(found) > MAX_POINTERS:
        raise _invalid(f"it names {len(found)} fields, {MAX_POINTERS} are allowed", None)
    keys = tuple(dict.fromkeys(found))
    tree: Tree = {}
    for each in keys:
        _add(tree, each)
    return Selector(text, keys, tuple(map(pointer.render, keys)), "{{" in text, tree)


def _add(tree: Tree, keys: pointer.Keys) -> None:
    for key in keys[:-1]:
        below = tree.setdefault(key, {})
        if below is None:  # all of it is wanted already
            return
        tree = below
    if keys:
        tree[keys[-1]] = None


def _select(
    document: dict[str, Any], tree: Tree, wildcards: bool, top: bool = False
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, below in tree.items():
        if key not in document:
            continue
        value = document[key]
        if below is None:
            result[key] = value
        elif isinstance(value, dict):
            if wildcards and top and key == "features" and "*" in below:
                below = _spread(value, below)
            part = _select(value, below, wildcards)
            if part:
                result[key] = part
    return result


def _spread(features: dict[str, Any], wanted: Tree) -> Tree:
    """What is wanted of each feature, where some are named and ``*`` stands for all."""
    every = wanted["*"]
    return {name: _union(wanted.get(name, {}), every) for name in features}


def _union(left: Tree | None, right: Tree | None) -> Tree | None:
    if left is None or right is None:
        return None
    both = {key: _union(left[key], right[key]) for key in left.keys() & right.keys()}
    return {**left, **right, **both}


def _invalid(what: str, position: int | None) -> ExpressionError:
    message = f"the field selector is not valid: {what}"
    return ExpressionError("json.fieldselector.invalid", message, position=position)


def _refused(what: str, position: int | None, hint: str) -> ExpressionError:
    message = f"the extra fields are not valid: {what}"
    return ExpressionError("things:field.selection.invalid", message, position=position, hint=hint)
