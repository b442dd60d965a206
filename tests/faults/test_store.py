"""The stores on a full disk, on damaged files, and in processes that are killed: what was promised
is there, and what is wrong is said.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamproc.store.environment import DATA_FILE, StoreError
from streamproc.store.parked import Bounds, Parked, ParkedStore
from streamproc.store.queue import Entry, Queue
from tests.e2e import ends
from tests.e2e.service import Service
from tests.e2e.test_parked import MESSAGES, Command, config, parked

ROOM = 64 << 20
WIDE = Bounds(1 << 30, ROOM)


@contextmanager
def victim(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """It is killed at the end, if it is still there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.store_victim", *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()


def said_until_killed(process: subprocess.Popen[str], after: int) -> list[str]:
    """All that it said, when it is killed after *after* lines."""
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(after)]
    process.kill()
    rest = process.stdout.read()
    # A last line that is cut was not said.
    return [line.strip() for line in [*lines, *rest.splitlines(keepends=True)] if line[-1:] == "\n"]


@pytest.mark.parametrize("after", [1, 7, 40])
def test_what_a_killed_process_was_told_to_be_durable_is_there_in_order(
    tmp_path: Path, after: int
) -> None:
    with victim("append", tmp_path / "q") as process:
        promised = int(said_until_killed(process, after)[-1])
    queue = Queue(tmp_path / "q", ROOM)
    found = [entry.address for _, entry in queue.read(0, 1 << 20)]
    assert found == [f"a/{n}" for n in range(len(found))]
    assert promised <= len(found) <= promised + 5
    assert queue.count == len(found)
    queue.close()


@pytest.mark.parametrize("after", [3, 50, 110])
def test_a_queue_whose_drain_is_killed_loses_nothing(tmp_path: Path, after: int) -> None:
    queue = Queue(tmp_path / "q", ROOM)
    queue.append([Entry(0, "k", f"a/{n}", {}, b"x" * 300, 0) for n in range(200)])
    queue.close()
    with victim("drain", tmp_path / "q") as process:
        delivered = said_until_killed(process, after)
    queue = Queue(tmp_path / "q", ROOM)
    left = [entry.address for _, entry in queue.read(0, 1000)]
    queue.close()
    everything = [f"a/{n}" for n in range(200)]
    assert left == everything[200 - len(left) :]
    assert set(delivered) - {"end"} | set(left) == set(everything)


def test_what_a_killed_process_had_parked_is_there(tmp_path: Path) -> None:
    with victim("park", tmp_path / "p") as process:
        promised = int(said_until_killed(process, 20)[-1])
    store = ParkedStore(tmp_path / "p", WIDE)
    found = [entry.address for _, entry in store.select(lambda _: True)]
    assert found == [f"a/{n}" for n in range(len(found))]
    assert promised <= len(found) <= promised + 5
    assert store.totals().messages == len(found)
    store.close()


def test_a_full_disk_is_an_error_and_costs_nothing_that_was_there(tmp_path: Path) -> None:
    with victim("fill", tmp_path, 400_000) as process:
        out, _ = process.communicate(timeout=120)
    told = json.loads(out)
    for name in ("queue", "parked"):
        reason, full, kept = told[name]
        assert not full, "the bound of the store is far away"
        assert "store failed" in reason
        assert kept >= 100
    assert told["read"] == told["queue"][2]
    assert told["after"] == [told["queue"][2] + 1, told["parked"][2] + 1], "room again"
    queue, store = Queue(tmp_path / "queue", ROOM), ParkedStore(tmp_path / "parked", WIDE)
    assert [e.address for _, e in queue.read(0, 1 << 20)] == [f"a/{n}" for n in range(queue.count)]
    assert queue.count == told["queue"][2] + 1
    assert store.totals().messages == told["parked"][2] + 1
    queue.close()
    store.close()


@pytest.mark.parametrize("size", [0.5, 0.9, 8192])
def test_a_file_that_was_cut_short_is_an_error_not_the_end_of_the_process(
    tmp_path: Path, size: float
) -> None:
    store = ParkedStore(tmp_path / "p", WIDE)
    for start in range(0, 400, 50):
        store.add(
            [
                Parked(1.0, "c", 0, "r", "m", 1, f"a/{n}", "k", {}, b"x" * 300)
                for n in range(start, start + 50)
            ]
        )
    store.close()
    file = tmp_path / "p" / DATA_FILE
    os.truncate(file, int(size if size > 1 else file.stat().st_size * size))
    check = (
        "import sys; from pathlib import Path;"
        "from streamproc.store.environment import StoreError;"
        "from streamproc.store.parked import Bounds, ParkedStore\n"
        "try:\n"
        f"    store = ParkedStore(Path({str(tmp_path / 'p')!r}), Bounds(1 << 30, 1 << 26))\n"
        "    for _ in store.select(lambda _: True): pass\n"
        "except StoreError as error:\n"
        "    sys.exit(str(error))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 1, run
    assert "store" in run.stderr


def test_rubbish_in_the_place_of_a_store_is_an_error_and_is_left_as_it_is(tmp_path: Path) -> None:
    for name in ("q", "p"):
        (tmp_path / name).mkdir()
        (tmp_path / name / DATA_FILE).write_bytes(b"rubbish" * 3000)
    for _ in range(2):
        with pytest.raises(StoreError, match="cannot be opened"):
            Queue(tmp_path / "q", ROOM)
        with pytest.raises(StoreError, match="cannot be opened"):
            ParkedStore(tmp_path / "p", WIDE)
    for name in ("q", "p"):
        assert (tmp_path / name / DATA_FILE).read_bytes() == b"rubbish" * 3000


def test_a_service_whose_disk_is_full_keeps_what_it_cannot_park(tmp_path: Path) -> None:
    with ends.Receiver() as receiver:
        receiver.behave(delayMs=300, status=400)  # so that they come one after another
        with Service(tmp_path, config(ends.push("out", receiver.url))) as service:
            service.start()
            service.eventually(lambda: parked(service) > 10, "some parked")
            # No file may grow: what has no room in the store's file stays in its lane.
            size = (tmp_path / "data" / "parked" / DATA_FILE).stat().st_size
            for pid in service.worker_pids().values():
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
            service.eventually(lambda: "parking_failed" in service.log.read_text(), "it is told")
            service.eventually(
                lambda: service.metric("deliveries_retried_total", "out") > 0, "they wait"
            )
            ledger = service.balanced("devices", "out")
            assert ledger["parked"] < MESSAGES
            assert ledger["deliveries in flight"] > 0
            workers = service.worker_pids()
            receiver.behave(status=400)
            for pid in workers.values():
                resource.prlimit(
                    pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
                )
            service.eventually(lambda: parked(service) == MESSAGES, "all parked")
            assert service.worker_pids() == workers, "nobody died of it"
            assert len(Command(service).entries()) == MESSAGES
            service.balanced("devices", "out")
            assert service.terminate() == 0


def test_a_worker_that_is_killed_while_it_replays_loses_nothing(tmp_path: Path) -> None:
    with ends.Receiver() as receiver:
        receiver.behave(status=400)
        with Service(tmp_path, config(ends.push("out", receiver.url))) as service:
            service.start()
            service.eventually(lambda: parked(service) == MESSAGES, "all parked")
            receiver.behave(delayMs=30)
            where = ["--config", str(service.config_file), "--runtime-dir", str(service.runtime)]
            with subprocess.Popen(
                [sys.executable, "-m", "streamproc", "parked", "replay", "--all", *where],
                stderr=subprocess.PIPE,
                text=True,
            ) as replay:
                service.eventually(lambda: receiver.figures()["unique"] > 50, "some replayed")
                (worker,) = service.workers_of("out")
                os.kill(service.worker_pids()[worker], signal.SIGKILL)
                _, said = replay.communicate(timeout=120)
            # What was delivered and not yet deleted by then comes twice; nothing is missing.
            figures = receiver.figures()
            assert figures["unique"] == MESSAGES, said
            assert figures["duplicated"] <= 100, said
            service.eventually(lambda: Command(service).entries() == [], "the store is empty")
            assert replay.returncode in (0, 1)
            service.balanced("devices", "out")
            assert service.terminate() == 0


def test_a_service_runs_beside_a_damaged_store_and_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "parked"
    folder.mkdir(parents=True)
    (folder / DATA_FILE).write_bytes(b"rubbish" * 3000)
    with ends.Receiver() as receiver:
        receiver.behave(failedShare=0.2, failedStatus=400)
        with Service(tmp_path, config(ends.push("out", receiver.url))) as service:
            service.start()
            service.eventually(lambda: "parking_failed" in service.log.read_text(), "it is told")
            service.eventually(lambda: receiver.figures()["unique"] > 50, "others go on")
            workers = service.worker_pids()
            receiver.behave(status=204)
            service.eventually(lambda: receiver.figures()["unique"] == MESSAGES, "all arrived")
            assert service.worker_pids() == workers
            assert service.metric("deliveries_parked_total", "out") == 0
            service.balanced("devices", "out")
            assert service.terminate() == 0
    assert (folder / DATA_FILE).read_bytes() == b"rubbish" * 3000
