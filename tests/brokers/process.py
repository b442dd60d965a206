"""One broker process: start, stop, kill, freeze, and its log."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

LEASH = Path(__file__).with_name("leash.py")


class Process:
    """A command held on a leash (see leash.py), so that it cannot outlive us."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        directory: Path,
        log: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._log = log
        with log.open("ab") as output:
            self._leash = subprocess.Popen(
                [sys.executable, "-I", "-S", str(LEASH), str(directory), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                cwd=directory,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        assert self._leash.stdout is not None
        self.pid = int(self._leash.stdout.readline())
        self._leash.stdout.close()

    @property
    def alive(self) -> bool:
        return self._leash.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """To the process and its group: what freezes must freeze whole."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def terminate(self, deadline: float) -> None:
        """Ask it to end; after *deadline* seconds, make it."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
                os.kill(self.pid, signal.SIGCONT)
        try:
            self._leash.wait(deadline)
        except subprocess.TimeoutExpired:
            self.kill()
        self._release()

    def kill(self) -> None:
        """SIGKILL, and return when nothing of it is left."""
        self.signal(signal.SIGKILL)
        self._leash.wait()
        self._release()

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def log_tail(self, lines: int = 40) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    def _release(self) -> None:
        assert self._leash.stdin is not None
        self._leash.stdin.close()
