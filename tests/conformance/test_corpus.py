"""The corpus of facts about Ditto agrees with ``streamproc eval``, as its own checker sees it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT.parent / "shared" / "corpus"
FILES = [
    *("placeholders", "functions", "rql", "protocol_topics", "topics", "enforcement"),
    *("header_mapping", "pointers", "connection_validation", "acks", "hmac", "http_address"),
]


@pytest.mark.skipif(
    not CORPUS.is_dir(),
    reason="the conformance corpus is not beside the project (../shared/corpus)",
)
@pytest.mark.parametrize("name", FILES)
def test_agrees_with_the_corpus(name: str) -> None:
    run = subprocess.run(
        [
            *(sys.executable, str(CORPUS / "check"), str(CORPUS / f"{name}.json")),
            *("--eval", f"{sys.executable} -m streamproc eval"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
