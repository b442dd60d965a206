"""``streamproc docs``: writes every generated page and the schema, or says which are stale."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from streamproc.cli.pages.commands import commands
from streamproc.cli.pages.configuration import configuration
from streamproc.cli.pages.connectors import connector, overview
from streamproc.cli.pages.errors import errors
from streamproc.cli.pages.functions import functions
from streamproc.cli.pages.metrics import metrics
from streamproc.config import schema
from streamproc.connectors import CONNECTORS

EXIT_STALE = 1
EXIT_USAGE = 2
REFERENCE = "docs/reference"
GENERATED = "Generated from "

PAGES: dict[str, Callable[[], str]] = {
    "configs/schema.json": schema.text,
    f"{REFERENCE}/commands.md": commands,
    f"{REFERENCE}/configuration.md": configuration,
    f"{REFERENCE}/connectors.md": overview,
    **{
        f"{REFERENCE}/connectors/{row.name}.md": partial(connector, row)
        for row in CONNECTORS.values()
    },
    f"{REFERENCE}/errors.md": errors,
    f"{REFERENCE}/functions.md": functions,
    f"{REFERENCE}/metrics.md": metrics,
}


def main(argv: list[str]) -> int:
    """Write what is not as it should be, or with --check only name it."""
    parser = argparse.ArgumentParser(
        prog="streamproc docs",
        description="Write the generated pages in docs/reference and configs/schema.json.",
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail if any is stale")
    parser.add_argument(
        "--root", type=Path, default=Path(), metavar="DIR", help="the project; default: here"
    )
    options = parser.parse_args(argv)
    root: Path = options.root
    if not (root / "docs").is_dir():
        print(f"streamproc docs: no folder docs in {root.absolute()}", file=sys.stderr)
        return EXIT_USAGE
    stale = [place for place, page in PAGES.items() if _content(root / place) != page()]
    left = left_over(root)
    if options.check:
        for place in stale:
            print(f"{place} is stale: run streamproc docs")
        for place in left:
            print(f"{place} is no longer generated: run streamproc docs")
        return EXIT_STALE if stale or left else 0
    for place in stale:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(PAGES[place](), encoding="utf-8")
        print(f"wrote {place}")
    for place in left:
        (root / place).unlink()
        print(f"removed {place}")
    return 0


def left_over(root: Path) -> list[str]:
    """Generated pages that nothing makes any more."""
    found = sorted((root / REFERENCE).rglob("*.md"))
    places = [path.relative_to(root).as_posix() for path in found]
    return [
        place
        for place in places
        if place not in PAGES and (_content(root / place) or "").startswith(GENERATED)
    ]


def _content(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None
