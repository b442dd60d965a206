"""The ``streamproc`` command: a table of sub-commands, each imported only when asked for.

A row's function takes the arguments after the sub-command's name and returns the exit
status; it builds its own parser. A row whose module is not there is not shown, and says so
when it is called; the others do not notice.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from typing import cast

from streamproc.errors import StreamprocError
from streamproc.version import VERSION

Command = Callable[[list[str]], int]

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("streamproc.cli.run:main", "run a service from its YAML file"),
    "lint": ("streamproc.cli.lint:main", "check configuration files, reporting every problem"),
    "eval": (
        "streamproc.cli.evaluate:main",
        "try a template, a filter or a rule, no broker needed",
    ),
    "parked": (
        "streamproc.cli.parked:main",
        "list, show, replay or drop messages that a target refused",
    ),
    "explain": (
        "streamproc.cli.explain:main",
        "show every rule in force for a connection, and who set it",
    ),
    "demo": (
        "streamproc.cli.demo:main",
        "play devices through the whole path and balance a ledger",
    ),
    "schema": ("streamproc.cli.schema:main", "print the JSON schema of the configuration"),
    "docs": ("streamproc.cli.docs:main", "write the generated reference pages"),
}

# Exit statuses that are the shell's custom, not ours.
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command; the exit status."""
    parser = _parser()
    options = parser.parse_args(sys.argv[1:] if argv is None else argv)
    name: str | None = options.command
    if name is None:
        parser.print_help(sys.stderr)
        return EXIT_USAGE
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "; see streamproc --help"
        return _say(f"streamproc: unknown command {name!r}{hint}")
    try:
        return _load(name)(options.arguments)
    except StreamprocError as error:
        return _say(f"streamproc {name}: {error}")
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _load(name: str) -> Command:
    """The function of a row; raises StreamprocError where its module is not there."""
    module, _, function = COMMANDS[name][0].partition(":")
    if not _exists(module):
        raise StreamprocError(f"this installation comes without it (no module {module})")
    return cast(Command, getattr(importlib.import_module(module), function))


def _exists(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _parser() -> argparse.ArgumentParser:
    shown = {n: text for n, (place, text) in COMMANDS.items() if _exists(place.partition(":")[0])}
    width = max(map(len, shown), default=0) + 2
    parser = argparse.ArgumentParser(
        prog="streamproc",
        usage="streamproc [--version] COMMAND ...",
        description="Moves IoT messages between brokers and HTTP endpoints, in order and "
        "without loss, from Eclipse Ditto connections.",
        epilog="commands:\n"
        + "".join(f"  {name:{width}}{text}\n" for name, text in shown.items())
        + "\nstreamproc COMMAND --help tells more about one.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"streamproc {VERSION}")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def _say(text: str) -> int:
    print(text, file=sys.stderr)
    return EXIT_USAGE
