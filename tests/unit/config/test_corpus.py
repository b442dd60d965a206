"""The connections of Ditto's own tests: taken and refused as Ditto does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from streamproc.errors import StreamprocError
from streamproc.evaluate.connection import connection

FILE = Path(__file__).parents[4] / "shared" / "corpus" / "connection_validation.json"
CASES = json.loads(FILE.read_text())["cases"] if FILE.is_file() else []
CODE = re.compile(r"[a-z][\w-]*[:.]")  # other names are those of Java classes


@pytest.mark.skipif(not CASES, reason="the corpus is not here")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_ditto_agrees(case: dict[str, Any]) -> None:
    expect = case["expect"]
    asked = {k: v for k, v in case.items() if k not in ("expect", "errorCode", "stage")}
    try:
        answer = connection(asked)
    except StreamprocError as error:
        answer = {"error": error.code}
    if isinstance(expect, dict) and "invalid" in expect:
        assert "invalid" in answer
        if CODE.match(case.get("errorCode", "")):
            assert answer["code"] == case["errorCode"]
    else:
        assert answer == expect
