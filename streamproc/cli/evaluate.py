"""``streamproc eval``: cases from a program, or one expression from a person."""

from __future__ import annotations

import sys

from streamproc.evaluate.cases import answer_all


def main(argv: list[str]) -> int:
    """Answer cases from standard input."""
    answer_all(sys.stdin.buffer, sys.stdout.buffer)
    return 0
