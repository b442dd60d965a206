"""``streamproc schema``: the JSON schema of a configuration, for editors."""

from __future__ import annotations

import argparse

from streamproc.config.schema import text


def main(argv: list[str]) -> int:
    """Print it."""
    argparse.ArgumentParser(
        prog="streamproc schema",
        description="Print the JSON schema of a service file (as in configs/schema.json).",
    ).parse_args(argv)
    print(text(), end="")
    return 0
