"""What all brokers share: the life of one instance, from its directory to its last process."""

from __future__ import annotations

import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Self

from tests.brokers.ports import Port
from tests.brokers.process import Process

START_DEADLINE = 90.0  # seconds; a shared machine may be slow
STOP_DEADLINE = 30.0


class BrokerMissing(Exception):
    """What this broker runs from is not on this machine. The text says how to get it."""


class BrokerFailed(Exception):
    """The broker did not come up, or ended by itself. The text ends with its log."""


class Broker(ABC):
    """One broker: ``with Kafka() as kafka: ...``, or ``start()`` and ``close()``.

    The calls block and may come from any thread. In a coroutine, use
    ``await asyncio.to_thread(broker.restart)``.
    """

    name: ClassVar[str]

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"streamproc-{self.name}-"))
        self._ports: list[Port] = []
        self._process: Process | None = None

    @staticmethod
    @abstractmethod
    def missing() -> str:
        """What is missing to run it and how to get it, or nothing."""

    @abstractmethod
    def _launch(self) -> Process:
        """Start the process."""

    @abstractmethod
    def _ready(self) -> bool:
        """Whether a client is served, asked over the broker's own protocol."""

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.alive

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> Path:
        return self.directory / "broker.log"

    def start(self) -> None:
        """Start it and return when clients are served. Nothing if it runs."""
        if self.alive:
            return
        if reason := self.missing():
            raise BrokerMissing(reason)
        process = self._process = self._launch()
        ends = time.monotonic() + START_DEADLINE
        while process.alive and time.monotonic() < ends:
            if self._ready():
                return
            time.sleep(0.05)
        why = f"was not ready in {START_DEADLINE:g} s" if process.alive else "ended by itself"
        process.kill()
        raise BrokerFailed(f"{self.name} {why}:\n{process.log_tail()}")

    def stop(self) -> None:
        """Stop it as an operator would. Ports and data stay for ``start``."""
        if self._process:
            self._process.terminate(STOP_DEADLINE)

    def kill(self) -> None:
        """kill -9. Ports and data stay for ``start``."""
        if self._process:
            self._process.kill()

    def restart(self) -> None:
        """Stop and start: the same ports, the same data."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """It holds its connections and answers nothing, until ``thaw``."""
        assert self._process is not None
        self._process.freeze()

    def thaw(self) -> None:
        assert self._process is not None
        self._process.thaw()

    def close(self) -> None:
        """End it and remove its data. Idempotent."""
        self.kill()
        for port in self._ports:
            port.release()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _port(self) -> int:
        port = Port()
        self._ports.append(port)
        return int(port)


def eventually(condition: Callable[[], bool], deadline: float = 30.0) -> bool:
    """Poll *condition* until it holds or *deadline* seconds have passed."""
    ends = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > ends:
            return False
        time.sleep(0.02)
    return True
