"""The endpoint that the HTTP benches push to: a process of its own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def receiver(*, tls: bool = False) -> Iterator[str]:
    """-> its uri."""
    module = ["bench.http.tls_receiver"] if tls else ["streamproc.receiver", "--until-eof"]
    process = subprocess.Popen(
        [sys.executable, "-m", *module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.communicate()
