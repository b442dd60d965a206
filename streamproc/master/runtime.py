"""The files of one run: bus sockets, metric blocks, and where the management port is.

A run has a directory of its own, even where the operator names the place: after the death of
a master its workers still drain over their sockets, and must not meet those of the next run.
The lock is inherited by the workers, so it is free when the last process of a run has gone.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import tempfile
from pathlib import Path

from streamproc.errors import ConfigError
from streamproc.telemetry.readings import Reader
from streamproc.telemetry.slots import Block

MAX_PATH_BYTES = 100  # a Unix socket's path has room for 107
BACKLOG = 256


class Runtime:
    """Directories and sockets, made for *workers* worker indexes."""

    def __init__(self, place: Path | None, workers: int) -> None:
        self._temporary = place is None
        self.bus: list[socket.socket] = []
        try:
            if place is None:
                place = Path(tempfile.mkdtemp(prefix="streamproc-"))
            else:
                place.mkdir(mode=0o700, parents=True, exist_ok=True)
                _remove_finished_runs(place)
            self.place = place.absolute()
            self.run_dir = Path(tempfile.mkdtemp(prefix="run-", dir=self.place))
            lock = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC
            self.lock_fd = os.open(self.run_dir / "lock", lock, 0o600)
        except OSError as error:
            raise ConfigError(f"cannot use the runtime directory: {error}") from error
        fcntl.flock(self.lock_fd, fcntl.LOCK_EX)
        try:
            for index in range(workers):
                self.bus.append(self._listen(index))
                Block.create(self.metrics(index)).close()
            self.own_block = Block.create(self._metrics("master"))
        except OSError as error:
            self._remove()
            raise ConfigError(f"cannot use {self.run_dir}: {error.strerror}") from error
        except ConfigError:
            self._remove()
            raise
        self.readers = [Reader(self.metrics(index)) for index in range(workers)]
        self.readers.append(Reader(self._metrics("master")))

    def metrics(self, index: int) -> Path:
        """The block of a worker index."""
        return self._metrics(str(index))

    def publish_management(self, address: str) -> None:
        """Write down where the management port is, all or nothing."""
        fresh = self.run_dir / "management"
        fresh.write_text(address + "\n")
        fresh.replace(self.place / "management")

    def close(self) -> None:
        """Remove what this run made. No worker may be left."""
        for reader in self.readers:
            reader.close()
        self.own_block.close()
        (self.place / "management").unlink(missing_ok=True)
        self._remove()

    def _remove(self) -> None:
        for each in self.bus:
            each.close()
        os.close(self.lock_fd)
        shutil.rmtree(self.place if self._temporary else self.run_dir, ignore_errors=True)

    def _metrics(self, name: str) -> Path:
        return self.run_dir / f"metrics-{name}"

    def _listen(self, index: int) -> socket.socket:
        path = str(self.run_dir / f"bus-{index}.sock")
        if len(os.fsencode(path)) > MAX_PATH_BYTES:
            raise ConfigError(
                f"the path of the runtime directory is too long for sockets: {path} has more "
                f"than {MAX_PATH_BYTES} bytes; name a shorter one with --runtime-dir"
            )
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(path)
        listener.listen(BACKLOG)
        return listener


def _remove_finished_runs(place: Path) -> None:
    for run_dir in place.glob("run-*"):
        try:
            lock = os.open(run_dir / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue  # not ours, or just being made
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue  # a process of that run is still there
        else:
            shutil.rmtree(run_dir, ignore_errors=True)
        finally:
            os.close(lock)
