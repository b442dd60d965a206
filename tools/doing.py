"""What the developer's tools share: say what is run, run it, one at a time."""

from __future__ import annotations

import fcntl
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def run(*command: str | Path, env: Mapping[str, str] | None = None) -> None:
    """Run it in the project's folder, after saying so. Ends this program if it fails."""
    words = [str(word) for word in command]
    say("+ " + shlex.join(words))
    done = subprocess.run(words, cwd=ROOT, env={**os.environ, **(env or {})}, check=False)  # noqa: S603
    if done.returncode:
        sys.exit(done.returncode)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Wait until nobody else holds *lock*."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
