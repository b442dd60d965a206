"""The installed command as a process, with eyes: status, metrics, process ids."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import yaml
from prometheus_client.parser import text_string_to_metric_families

PATIENCE_S = 120.0


class Service:
    """``streamproc run`` on *config*. A context manager: what is left running is killed."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.folder = folder
        # Not in *folder*: names of sockets have 100 bytes at most, and those of tests are long.
        self.runtime = Path(tempfile.mkdtemp(prefix="streamproc-"))
        self.config_file = folder / "service.yaml"
        self.config = {
            "dataDir": str(folder / "data"),
            "management": {"port": 0},
            "log": {"format": "json"},
            **config,
        }
        self.log = folder / "service.log"
        self._process: subprocess.Popen[bytes] | None = None

    def write_config(self) -> None:
        self.config_file.write_text(yaml.safe_dump(self.config))

    def start(self) -> None:
        """Start it and return when every client is open."""
        self.launch()
        self.eventually(self.ready, "ready")

    def launch(self) -> None:
        """Start it."""
        self.write_config()
        (self.runtime / "management").unlink(missing_ok=True)
        command = [sys.executable, "-m", "streamproc", "run", str(self.config_file)]
        command += ["--runtime-dir", str(self.runtime)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def ready(self) -> bool:
        try:
            self.get("/ready")
        except (OSError, FileNotFoundError):
            return False
        return True

    def get(self, path: str) -> bytes:
        address = (self.runtime / "management").read_text().strip()
        base = address if "://" in address else f"http://{address}"
        with urllib.request.urlopen(base.rstrip("/") + path, timeout=20) as answer:
            return bytes(answer.read())

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.get("/status"))
        return found

    def worker_pids(self) -> dict[int, int]:
        return {w["index"]: w["pid"] for w in self.status()["workers"] if w["pid"]}

    def workers_of(self, connection: str) -> set[int]:
        """Where the clients of *connection* run."""
        clients = self.status()["clients"]
        return {c["worker"] for c in clients if c["connection"] == connection}

    def metrics(self) -> dict[tuple[str, str], float]:
        """(name, connection) -> the sum over its other labels."""
        sums: dict[tuple[str, str], float] = {}
        for family in text_string_to_metric_families(self.get("/metrics").decode()):
            for sample in family.samples:
                key = (sample.name, sample.labels.get("connection", ""))
                sums[key] = sums.get(key, 0.0) + sample.value
        return sums

    def metric(self, name: str, connection: str) -> int:
        return int(self.metrics().get((f"streamproc_{name}", connection), 0))

    def balanced(self, source: str, target: str) -> dict[str, int]:
        """The ledger of a source and a target; raises when an identity does not hold."""
        found = self.metrics()

        def of(name: str, connection: str) -> int:
            return int(found.get((f"streamproc_{name}", connection), 0))

        ledger = {
            "received": of("messages_received_total", source),
            "accepted": of("messages_accepted_total", source),
            "rejected": of("messages_rejected_total", source),
            "settled": of("messages_settled_total", source),
            "returned": of("messages_returned_total", source),
            "messages in flight": of("messages_in_flight", source),
            "filtered": of("signals_filtered_total", source),
            "due": of("deliveries_due_total", target),
            "delivered": of("deliveries_delivered_total", target),
            "parked": of("deliveries_parked_total", target),
            "spilled": of("deliveries_spilled_total", target),
            "deliveries returned": of("deliveries_returned_total", target),
            "deliveries in flight": of("deliveries_in_flight", target),
        }
        assert ledger["received"] == (
            ledger["settled"] + ledger["returned"] + ledger["messages in flight"]
        ), ledger
        assert ledger["due"] == (
            ledger["delivered"]
            + ledger["parked"]
            + ledger["spilled"]
            + ledger["deliveries returned"]
            + ledger["deliveries in flight"]
        ), ledger
        return ledger

    def eventually(
        self, condition: Callable[[], bool], what: str, patience_s: float = PATIENCE_S
    ) -> None:
        """Wait until *condition*; fail with the end of the log."""
        deadline = time.monotonic() + patience_s
        while True:
            try:
                if condition():
                    return
            except (OSError, urllib.error.URLError, FileNotFoundError):
                pass
            if self._process is not None and self._process.poll() is not None:
                raise AssertionError(
                    f"the service ended ({self._process.returncode}), not {what}:\n{self._tail()}"
                )
            if time.monotonic() > deadline:
                raise AssertionError(f"not {what} within {patience_s:.0f} s:\n{self._tail()}")
            time.sleep(0.1)

    def signal(self, number: signal.Signals) -> None:
        """To the process, if it was not waited for yet: its number may be another's by now."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, patience_s: float = PATIENCE_S) -> int:
        """-> the exit code."""
        assert self._process is not None
        return self._process.wait(patience_s)

    def terminate(self) -> int:
        """SIGTERM, and the exit code after draining."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            self._forget()
            return
        if self._process.poll() is None:
            for pid in descendants(self._process.pid):
                _kill(pid)
            self._process.kill()
            self._process.wait(30)
        self._forget()

    def _forget(self) -> None:
        shutil.rmtree(self.runtime, ignore_errors=True)


def descendants(pid: int) -> list[int]:
    """The children of a process, and theirs."""
    found: list[int] = []
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return found
    for child in children:
        found += [int(child), *descendants(int(child))]
    return found


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
