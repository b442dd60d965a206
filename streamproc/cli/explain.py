"""``streamproc explain CONNECTION``: every rule in force for a connection, and who set it."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import sys
from pathlib import Path

from streamproc.cli.rules import SECTIONS
from streamproc.cli.rules.about import About, Row
from streamproc.config.connection import Connection
from streamproc.config.file import ConfigFile
from streamproc.config.load import Loaded, load
from streamproc.config.options import options_of
from streamproc.config.secrets import redact

EXIT_PROBLEMS = 1
EXIT_USAGE = 2

_DESCRIPTION = """\
Show every rule in force for a connection: what counts as delivered, what is tried again and
for how long, when an endpoint is left alone, what goes to disk, what is parked, what may be
reached. With each: its value, and who set it.
"""

_EPILOG = """\
examples:
  streamproc explain hook --config service.yaml
  streamproc explain hook --config service.yaml --section retry --section breaker
  streamproc explain hook --config service.yaml --json

Where a rule comes from: 'default', built in; 'service', set in the service's file;
'connection', set in the connection itself.

sections: """


def main(argv: list[str]) -> int:
    """Show the rules of one connection; 1 when the file has problems, 2 without such a one."""
    options = _parser().parse_args(argv)
    loaded = load(options.file, os.environ)
    if loaded.problems:
        for problem in loaded.problems:
            print(problem, file=sys.stderr)
        return EXIT_PROBLEMS
    connection = _find(loaded, options.connection)
    if connection is None:
        return EXIT_USAGE
    told = explained(loaded, connection, options.file)
    if options.section:
        told = {name: rows for name, rows in told.items() if name in options.section}
    if options.json:
        print(_json(connection, told))
    else:
        _table(connection, told)
    return 0


def explained(loaded: Loaded, connection: Connection, file: Path) -> dict[str, list[Row]]:
    """The rows of each section that has any."""
    raw = ConfigFile(file, os.environ).value
    alone = not isinstance(raw, dict) or "connectionType" in raw
    about = About(
        service=loaded.service,
        connection=connection,
        options=options_of(connection),
        raw={} if alone else raw,
        shown=redact(connection, loaded.written.get(connection.id, {})),
    )
    found = {name: list(section(about)) for name, section in SECTIONS.items()}
    return {name: rows for name, rows in found.items() if rows}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="streamproc explain",
        description=_DESCRIPTION,
        epilog=_EPILOG + ", ".join(SECTIONS) + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "connection", nargs="?", metavar="CONNECTION", help="its id; not needed if it is the only"
    )
    parser.add_argument(
        "--config",
        "--file",
        dest="file",
        type=Path,
        required=True,
        metavar="FILE",
        help="the service, or one connection",
    )
    parser.add_argument(
        "--section",
        action="append",
        default=[],
        choices=tuple(SECTIONS),
        metavar="NAME",
        help="only this section; may be given again",
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    return parser


def _find(loaded: Loaded, name: str | None) -> Connection | None:
    """The connection that is meant; None, with a word about it, where there is none."""
    connections = {each.id: each for each in loaded.service.connections}
    if name is None and len(connections) == 1:
        return next(iter(connections.values()))
    if name in connections:
        return connections[name]
    if name is None:
        text = "which connection?"
    else:
        near = difflib.get_close_matches(name, connections, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        text = f"no connection has the id {name!r}{hint}"
    there = ", ".join(connections) or "none"
    print(f"streamproc explain: {text} (there are: {there})", file=sys.stderr)
    return None


def _table(connection: Connection, told: dict[str, list[Row]]) -> None:
    print(f"{connection.id} ({connection.connection_type})")
    rows = [row for rows in told.values() for row in rows]
    width = max((len(row.rule) for row in rows), default=0)
    for section, found in told.items():
        print(f"\n{section}")
        for row in found:
            origin = "" if row.origin == "default" else f"   [{row.origin}]"
            print(f"  {row.rule:{width}}  {row.value}{origin}")
    print("\nUnmarked values are built-in defaults.")


def _json(connection: Connection, told: dict[str, list[Row]]) -> str:
    rules = [
        {"section": section, "rule": row.rule, "value": row.value, "from": row.origin}
        for section, rows in told.items()
        for row in rows
    ]
    answer = {"connection": connection.id, "type": connection.connection_type, "rules": rules}
    return json.dumps(answer, indent=2, ensure_ascii=False)
