"""The two processes of a demo. Neither outlives it, however it ends."""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson

from streamproc.errors import StreamprocError
from streamproc.telemetry.readings import Reader

START_S = 60.0
PR_SET_PDEATHSIG = 1


class DemoError(StreamprocError):
    """The demo cannot run, or what it runs came to a bad end."""

    code = "demo_failed"


class ReceiverProcess:
    """The bundled receiver."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "streamproc.receiver", "--until-eof"]
        self._process = subprocess.Popen(  # noqa: S603 - our own
            [*command, "--forbidden", "/value/intruder"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the demo
        )
        assert self._process.stdout is not None
        words = self._process.stdout.readline().split()
        if not words:
            raise DemoError("the receiver did not start")
        self.uri = words[-1].decode()
        self.port = int(self.uri.rpartition(":")[2])

    def ledger(self) -> dict[str, Any]:
        """What it has counted so far."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            link.request("GET", "/ledger")
            found: dict[str, Any] = orjson.loads(link.getresponse().read())
        finally:
            link.close()
        return found

    def close(self) -> None:
        """End it."""
        _end(self._process, 10.0)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


class ServiceProcess:
    """``streamproc run``, with its logs and metrics in *folder*."""

    def __init__(self, config: Path, workers: int, folder: Path, receiver_port: int) -> None:
        self._runtime = folder / "run"
        self.log = folder / "service.log"
        command = [sys.executable, "-m", "streamproc", "run", str(config)]
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own
                [*command, "--workers", str(workers), "--runtime-dir", str(self._runtime)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "RECEIVER_PORT": str(receiver_port)},
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        try:
            self.management = self._wait_for_management()
            # Mapped, they can be read when the service has ended and removed the files.
            self.readers = [Reader(path) for path in self._runtime.glob("run-*/metrics-*")]
        except BaseException:
            self.kill()
            raise

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """Ask it to drain and end."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, its workers too: they see that the master died."""
        _end(self._process, 0.0)

    def ended(self, within_s: float) -> int | None:
        """Its exit code; None when it has not ended by then."""
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return None

    def last_words(self, lines: int = 20) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _wait_for_management(self) -> str:
        place = self._runtime / "management"
        ends = time.monotonic() + START_S
        while not place.exists():
            if not self.running or time.monotonic() > ends:
                raise DemoError(f"the service did not start:\n{self.last_words()}")
            time.sleep(0.05)
        return place.read_text().strip()


def _end(process: subprocess.Popen[bytes], grace_s: float) -> None:
    if process.poll() is None and grace_s:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
    if process.poll() is None:
        process.kill()
        process.wait()


def _die_with_parent() -> None:
    """Runs in the child before exec. The demo starts it from its only thread."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
