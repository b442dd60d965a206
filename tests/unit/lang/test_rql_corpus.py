"""Facts about Ditto, where they lie beside the project: RQL, target topics, pointers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamproc.errors import StreamprocError
from streamproc.evaluate.pointer import pointer
from streamproc.evaluate.rql import rql, target_topic

CORPUS = Path(__file__).parents[4] / "shared" / "corpus"
OPERATIONS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "rql": rql,
    "topics": target_topic,
    "pointers": pointer,
}
# An error named like this must match to the letter; any other name means some error.
DITTO_CODE = re.compile(r"^[a-z][\w-]*[:.]")

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not beside the project")


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_counted_case_agrees(name: str) -> None:
    cases = json.loads((CORPUS / f"{name}.json").read_text())["cases"]
    counted = [case for case in cases if not case.get("quirk")]
    assert counted
    assert [case for case in counted if not agrees(OPERATIONS[name], case)] == []


def agrees(operation: Callable[[dict[str, Any]], Any], case: dict[str, Any]) -> bool:
    expect = case["expect"]
    try:
        result = operation({key: value for key, value in case.items() if key != "expect"})
    except StreamprocError as error:
        wanted = expect.get("error") if isinstance(expect, dict) else None
        return wanted is not None and (error.code == wanted or not DITTO_CODE.match(wanted))
    return bool(result == expect) and isinstance(result, bool) == isinstance(expect, bool)
