"""``streamproc run FILE``: the service, in the foreground until it is told to stop."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import uvloop

from streamproc.config.load import load
from streamproc.config.service import Service
from streamproc.errors import ConfigError
from streamproc.master.main import Master
from streamproc.telemetry import events as tell

EXIT_PROBLEMS = 2


def main(argv: list[str]) -> int:
    """-> the exit code: 0 drained, 1 not everything, 2 nothing was started."""
    parser = argparse.ArgumentParser(
        prog="streamproc run",
        description="Run a service. SIGTERM or Ctrl-C drains and ends it, a second one ends it "
        "at once; SIGHUP takes in a changed configuration.",
    )
    parser.add_argument("file", type=Path, help="the service's YAML file")
    parser.add_argument("--workers", type=int, metavar="N", help="instead of what the file says")
    parser.add_argument("--check", action="store_true", help="only say what is wrong with the file")
    parser.add_argument(
        "--runtime-dir",
        type=Path,
        metavar="DIR",
        help="where sockets and metrics are, and the file 'management', which names the port; "
        "default: a new temporary directory",
    )
    options = parser.parse_args(argv)
    if options.workers is not None and not 1 <= options.workers <= 256:
        parser.error(f"--workers must be 1 to 256, not {options.workers}")

    def read_again() -> Service:
        return _read(options.file, options.workers, tell.config_warned)

    try:
        service = _read(options.file, options.workers, _warn)
        if options.check:
            return 0
        return uvloop.run(Master(service, read_again, runtime_dir=options.runtime_dir).run())
    except ConfigError as error:
        for problem in error.details.get("problems", [f"streamproc run: {error}"]):  # type: ignore[attr-defined]
            print(problem, file=sys.stderr)
        return EXIT_PROBLEMS


def _read(file: Path, workers: int | None, warn: Callable[[str], None]) -> Service:
    """The service in *file*; ConfigError with all ``problems`` when it cannot work."""
    loaded = load(file)
    for warning in loaded.warnings:
        warn(str(warning))
    if loaded.problems:
        problems = [str(problem) for problem in loaded.problems]
        raise ConfigError(f"{file} has {len(problems)} problems", problems=problems)
    if workers is None:
        return loaded.service
    return msgspec.structs.replace(loaded.service, workers=workers)


def _warn(warning: str) -> None:
    print(f"warning: {warning}", file=sys.stderr)
