"""``streamproc lint FILE...``: every problem of a configuration, before anything is started."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from streamproc.config.load import Loaded, load
from streamproc.config.problem import Problem

EXIT_PROBLEMS = 1


def main(argv: list[str]) -> int:
    """Check each file; 0 when all of them would start."""
    options = _parser().parse_args(argv)
    loaded = [load(path, os.environ) for path in options.files]
    if options.format == "json":
        print(_json(loaded))
    else:
        _text(loaded)
    return EXIT_PROBLEMS if any(each.problems for each in loaded) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="streamproc lint",
        description="Check configuration files: a service, or one connection in Ditto's JSON. "
        "Reports every problem, with its place, and starts nothing. What passes starts.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="YAML or JSON")
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", help="how problems are written"
    )
    return parser


def _text(loaded: list[Loaded]) -> None:
    for each in loaded:
        for warning in each.warnings:
            _say(f"{_place(warning)}: warning: {warning.path}: {_told(warning)}")
        for problem in each.problems:
            _say(str(problem))
    problems = sum(len(each.problems) for each in loaded)
    if problems:
        _say(_counted(problems, "problem"))
        return
    connections = sum(len(each.service.connections) for each in loaded)
    warnings = sum(len(each.warnings) for each in loaded)
    more = f", {_counted(warnings, 'warning')}" if warnings else ""
    _say(f"ok: {_counted(connections, 'connection')}{more}")


def _place(problem: Problem) -> str:
    return f"{problem.file}:{problem.line}:{problem.column}"


def _told(problem: Problem) -> str:
    return f"{problem.message} ({problem.hint})" if problem.hint else problem.message


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _json(loaded: list[Loaded]) -> str:
    answer: dict[str, Any] = {
        "problems": [_dict(problem) for each in loaded for problem in each.problems],
        "warnings": [_dict(warning) for each in loaded for warning in each.warnings],
        "connections": sum(len(each.read.connections) for each in loaded),
    }
    return msgspec.json.format(msgspec.json.encode(answer), indent=2).decode()


def _dict(problem: Problem) -> dict[str, Any]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "path": problem.path,
        "message": problem.message,
        "hint": problem.hint,
        "code": problem.code,
    }


def _say(line: str) -> None:
    """A line that any terminal can show: file names may be no text at all."""
    encoding = sys.stdout.encoding or "utf-8"
    print(line.encode(encoding, "backslashreplace").decode(encoding))
