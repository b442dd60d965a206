"""``eval`` of JSON pointers, field selectors and merge patches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from streamproc.evaluate.context import bad_case, text
from streamproc.kernels.signal import ABSENT
from streamproc.lang import pointer as pointers
from streamproc.lang import selector

Case = dict[str, Any]


def pointer(case: Case) -> Any:
    """One of KINDS, on the case's ``pointer``, ``document``, ``value``, ``selector``, ``patch``."""
    kind = KINDS.get(str(case.get("kind")))
    if kind is None:
        raise bad_case(f"kind must be one of {', '.join(KINDS)}, found {case.get('kind')!r}")
    return kind(case)


def _parse(case: Case) -> Case:
    keys = _keys(case)
    return {"keys": list(keys), "string": pointers.render(keys)}


def _get(case: Case) -> Case:
    return _found(pointers.get(case.get("document"), _keys(case)))


def _get_flat(case: Case) -> Case:
    return _found(pointers.get_flat(case.get("document"), _keys(case)))


def _set(case: Case) -> Any:
    return pointers.set(_object(case), _keys(case), case.get("value"))


def _remove(case: Case) -> Any:
    return pointers.remove(_object(case), _keys(case))


def _select(case: Case) -> Case:
    parsed = selector.parse(text(case.get("selector"), "selector"))
    # Ditto's JSON library knows no wildcards; targets and retrieve commands do.
    selected = parsed.select(_object(case), wildcards=False) if "document" in case else {}
    return {"pointers": list(parsed.pointers), "result": selected}


def _merge_patch(case: Case) -> Any:
    return pointers.merge_patch(case.get("document"), case.get("patch"))


KINDS: Final[dict[str, Callable[[Case], Any]]] = {
    "parse": _parse,
    "get": _get,
    "getflat": _get_flat,
    "set": _set,
    "remove": _remove,
    "fieldSelector": _select,
    "mergePatch": _merge_patch,
}


def _found(value: Any) -> Case:
    return {"absent": True} if value is ABSENT else {"value": value}


def _keys(case: Case) -> pointers.Keys:
    return pointers.parse(text(case.get("pointer"), "pointer"))


def _object(case: Case) -> dict[str, Any]:
    document = case.get("document")
    if not isinstance(document, dict):
        raise bad_case("document must be a JSON object")
    return document
