"""``streamproc eval``: cases from a program, or one expression from a person."""

from __future__ import annotations

import io
import sys
from typing import cast

from streamproc.evaluate.cases import answer_all


def main(argv: list[str]) -> int:
    """Answer cases from standard input."""
    answer_all(cast(io.BufferedReader, sys.stdin.buffer), sys.stdout.buffer)
    return 0
