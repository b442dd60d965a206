"""JSON pointers as Ditto writes them, and what is done with one in a JSON document.

They differ from RFC 6901: the first slash may be missing and one may follow the last key;
``~0`` is a tilde but ``~1`` is not a slash; keys are never indexes of an array; two slashes
in a row are an error. Documents are values: every change gives a new one, which shares with
the old all that did not change.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from streamproc.errors import ExpressionError
from streamproc.kernels.signal import ABSENT

Keys: TypeAlias = tuple[str, ...]

# Deeper documents could not be written as JSON again.
MAX_KEYS: Final = 128


def parse(text: str) -> Keys:
    """The keys of a pointer, none for the root; ExpressionError ``json.pointer.invalid``."""
    twice = text.find("//")
    if twice >= 0:
        raise _invalid(text, "it has two slashes in a row", twice + 1, "leave one slash out")
    keys = text.strip("/").split("/") if text.strip("/") else []
    if len(keys) > MAX_KEYS:
        raise _invalid(text[:64], f"it has {len(keys)} keys, {MAX_KEYS} are allowed", None, "")
    return tuple([key.replace("~0", "~") for key in keys]) if "~" in text else tuple(keys)


def render(keys: Keys) -> str:
    """The canonical text: ``/a/b``, or ``/`` for the root. ``parse`` gives the keys again."""
    return "/" + "/".join(keys).replace("~", "~0")


def get(document: Any, keys: Keys) -> Any:
    """The value at *keys*, or ABSENT. Arrays are not entered."""
    for key in keys:
        if not isinstance(document, dict) or key not in document:
            return ABSENT
        document = document[key]
    return document


def get_flat(document: Any, keys: Keys) -> Any:
    """The value at *keys*, or ABSENT; where the way leads to an array, the values of all
    objects in it, as an array (ABSENT if none has one). This is how RQL looks.
    """
    for depth, key in enumerate(keys):
        if isinstance(document, list):
            found = [get_flat(each, keys[depth:]) for each in document if isinstance(each, dict)]
            return [value for value in found if value is not ABSENT] or ABSENT
        if not isinstance(document, dict) or key not in document:
            return ABSENT
        document = document[key]
    return document


def set(document: dict[str, Any], keys: Keys, value: Any) -> dict[str, Any]:
    """*document* with *value* at *keys*. What is in the way and is no object is replaced."""
    if not keys:
        raise _invalid("/", "the root cannot be set", None, "name a key")
    result = inner = dict(document)
    for key in keys[:-1]:
        below = inner.get(key)
        inner[key] = dict(below) if isinstance(below, dict) else {}
        inner = inner[key]
    inner[keys[-1]] = value
    return result


def remove(document: dict[str, Any], keys: Keys) -> dict[str, Any]:
    """*document* without the value at *keys*; the same object if there is none."""
    if not keys or get(document, keys) is ABSENT:
        return document
    result = inner = dict(document)
    for key in keys[:-1]:
        inner[key] = dict(inner[key])
        inner = inner[key]
    del inner[keys[-1]]
    return result


def merge_patch(document: Any, patch: Any) -> Any:
    """*document* changed by a JSON merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    result: dict[str, Any] = dict(document) if isinstance(document, dict) else {}
    # A list in place of recursion: a patch may be nested deeper than Python's stack.
    open_objects = [(result, patch)]
    while open_objects:
        target, changes = open_objects.pop()
        for key, change in changes.items():
            if change is None:
                target.pop(key, None)
            elif isinstance(change, dict):
                before = target.get(key)
                target[key] = dict(before) if isinstance(before, dict) else {}
                open_objects.append((target[key], change))
            else:
                target[key] = change
    return result


def _invalid(text: str, what: str, position: int | None, hint: str) -> ExpressionError:
    message = f"{text!r} is no JSON pointer: {what}"
    return ExpressionError("json.pointer.invalid", message, position=position, hint=hint)
