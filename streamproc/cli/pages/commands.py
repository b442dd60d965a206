"""docs/reference/commands.md: the sub-commands."""

from __future__ import annotations

from streamproc.cli.main import COMMANDS
from streamproc.cli.pages.markdown import code, page, table


def commands() -> str:
    """The page."""
    rows = [(code(f"streamproc {name}"), f"{text}.") for name, (_, text) in COMMANDS.items()]
    return page(
        "streamproc/cli/main.py",
        "Commands",
        table(("command", "what it does"), rows),
        "`streamproc COMMAND --help` tells the arguments of one.",
    )
