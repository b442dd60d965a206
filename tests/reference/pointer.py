"""What JSON pointers and merge patches mean, slowly and obviously."""

from __future__ import annotations

import copy
from typing import Any

from streamproc.kernels.signal import ABSENT


def get(document: Any, keys: tuple[str, ...]) -> Any:
    if not keys:
        return document
    if isinstance(document, dict) and keys[0] in document:
        return get(document[keys[0]], keys[1:])
    return ABSENT


def get_flat(document: Any, keys: tuple[str, ...]) -> Any:
    if not keys:
        return document
    if isinstance(document, list):
        found = [get_flat(element, keys) for element in document if isinstance(element, dict)]
        found = [value for value in found if value is not ABSENT]
        return found if found else ABSENT
    if isinstance(document, dict) and keys[0] in document:
        return get_flat(document[keys[0]], keys[1:])
    return ABSENT


def set(document: dict[str, Any], keys: tuple[str, ...], value: Any) -> dict[str, Any]:
    document = copy.deepcopy(document)
    if len(keys) == 1:
        document[keys[0]] = copy.deepcopy(value)
        return document
    below = document.get(keys[0])
    document[keys[0]] = set(below if isinstance(below, dict) else {}, keys[1:], value)
    return document


def remove(document: Any, keys: tuple[str, ...]) -> Any:
    document = copy.deepcopy(document)
    if not keys or not isinstance(document, dict) or keys[0] not in document:
        return document
    if len(keys) == 1:
        del document[keys[0]]
    else:
        document[keys[0]] = remove(document[keys[0]], keys[1:])
    return document


def merge_patch(target: Any, patch: Any) -> Any:
    """The pseudo code of RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = copy.deepcopy(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result
