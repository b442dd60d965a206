"""No pointer, selector or patch crashes or hangs; documents change as the reference says."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.fuzz.fuzzer import instrumented, run

with instrumented():
    from streamproc.errors import ExpressionError
    from streamproc.lang import pointer, selector
    from tests.reference import pointer as reference

DOCUMENT = {"a": {"b": [{"c": 1}, {"c": 2}, 3], "~": None}, "features": {"f": {"p": 1}, "g": {}}}
SEEDS = [
    b'/a/b/c\0{"a":{"b":null,"x":{"y":null}}}',
    b"features(f/p,g),a/~0\0[]",
    b'/features/*/p\0{"features":{"f":null}}',
    b"a/{{ header:x | fn:lower() }}/b,\0{}",
]
TOKENS = [
    *(
        b"/",
        b"//",
        b"~",
        b"~0",
        b"~1",
        b"a",
        b"b",
        b"c",
        b"features",
        b"*",
        b"(",
        b")",
        b",",
        b"{{",
    ),
    *(b"}}", b"\0", b"{", b"}", b'"a":', b"null", b"[", b"]", b"1", b"\xc3\xa4", b" "),
]


def target(data: bytes) -> None:
    """A pointer or selector, NUL, a merge patch as JSON."""
    raw, _, document = data.partition(b"\0")
    text = raw.decode(errors="replace")
    _select(text)
    try:
        keys = pointer.parse(text)
    except ExpressionError as error:
        if error.as_dict()["error"] != "json.pointer.invalid":
            raise
    else:
        _change(keys)
    try:
        patch = json.loads(document)
        expected = reference.merge_patch(DOCUMENT, patch)
    except (ValueError, RecursionError):
        return
    assert pointer.merge_patch(DOCUMENT, patch) == expected


def _change(keys: tuple[str, ...]) -> None:
    before = json.dumps(DOCUMENT)
    assert pointer.parse(pointer.render(keys)) == keys
    assert pointer.get(DOCUMENT, keys) is reference.get(DOCUMENT, keys)
    assert pointer.get_flat(DOCUMENT, keys) == reference.get_flat(DOCUMENT, keys)
    assert pointer.remove(DOCUMENT, keys) == reference.remove(DOCUMENT, keys)
    if keys:
        assert pointer.set(DOCUMENT, keys, 5) == reference.set(DOCUMENT, keys, 5)
    assert json.dumps(DOCUMENT) == before


def _select(text: str) -> None:
    for parse in (selector.parse, selector.parse_extra_fields):
        try:
            parsed = parse(text)
        except ExpressionError as error:
            str(error.as_dict())
            continue
        selected: Any = parsed.select(DOCUMENT)
        for keys in parsed.keys:
            if keys and "*" not in keys:
                assert pointer.get(selected, keys) == pointer.get(DOCUMENT, keys)


if __name__ == "__main__":
    run(target, SEEDS, TOKENS)
