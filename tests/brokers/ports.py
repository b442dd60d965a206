"""Free TCP ports that stay ours while a broker is down between stop and restart.

A port found by binding to port 0 comes from the range of outgoing connections, so any client
on the machine may take it before the broker binds it, or while the broker restarts. These
come from below that range, and a lock file keeps other test runs away from them.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

HOST = "127.0.0.1"
LOWEST = 15_000
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


class Port:
    """A reserved port. ``int(port)`` is its number; ``release()`` gives it back."""

    def __init__(self) -> None:
        self.number, self._lock = _reserve()

    def __int__(self) -> int:
        return self.number

    def __str__(self) -> str:
        return str(self.number)

    def release(self) -> None:
        """Give it back. Idempotent."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def accepts(port: int) -> bool:
    """Whether something listens there now."""
    try:
        with socket.create_connection((HOST, port), timeout=5):
            return True
    except OSError:
        return False


def _reserve() -> tuple[int, int]:
    folder = Path(tempfile.gettempdir(), f"streamproc-ports-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    # Not the seeded generator: two runs with one seed would meet at every port.
    for number in random.SystemRandom().sample(_range(), 200):
        lock = os.open(folder / str(number), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        if _bindable(number):
            return number, lock
        os.close(lock)
    raise OSError("no free port found")


def _range() -> range:
    try:
        first = int(EPHEMERAL.read_text().split()[0])
    except OSError:
        first = 32_768
    if first < LOWEST + 1_000:  # a machine tuned for many outgoing connections
        return range(LOWEST, 60_000)
    return range(LOWEST, first)


def _bindable(number: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, number))
        except OSError:
            return False
        return True
