"""Real processes: started, killed, hung, told to stop; and the master itself killed.

The workers are fakes that speak the real protocol, so that this is about processes alone.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog
import uvloop

from streamproc.config.service import Limits, Listener, Supervision
from streamproc.errors import ConfigError
from streamproc.master import main, supervisor
from streamproc.master.main import EXIT_BUG
from streamproc.telemetry import events
from tests.brokers.ports import Port
from tests.integration.master_at_work import (
    DEADLINE_S,
    QUICK,
    MasterAtWork,
    at_work,
    connection,
    is_alive,
    service,
    until,
)

Story = Callable[[], Awaitable[None]]


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    events._output.clear()  # each test has a standard error of its own
    yield
    events._output.clear()
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Short enough for a socket's path."""
    return tmp_path_factory.mktemp("r", numbered=True)


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "GRACE_S", 0.5)


def told(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What was logged since the last time, by master and workers."""
    lines = capfd.readouterr().err.splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def clients(status: dict[str, Any]) -> dict[str, tuple[int | None, str]]:
    return {f"{c['connection']}#{c['index']}": (c["worker"], c["live"]) for c in status["clients"]}


def test_a_service_starts_runs_and_stops_clean(
    place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def story() -> None:
        async with at_work(service(connection("a", client_count=2)), place) as master:
            status = await master.ready()
            pids = [worker["pid"] for worker in status["workers"]]
            assert {worker for worker, _ in clients(status).values()} == {0, 1}
            assert all(worker["state"] == "ready" for worker in status["workers"])
            assert all(os.getsid(pid) == pid for pid in pids), "Ctrl-C would reach a worker"
            assert (await master.get("/live"))[0] == 200
            assert (await master.get("/ready"))[0] == 200
            assert await master.stop() == 0
            assert not any(is_alive(pid) for pid in pids)

    uvloop.run(story())
    assert list(place.iterdir()) == [], "nothing is left behind"
    names = [line["event"] for line in told(capfd)]
    assert names[0] == "service_started"
    assert names[-1] == "service_stopped"
    assert names.count("worker_ended") == 2
    assert "worker_died" not in names


def test_a_killed_worker_is_started_again_and_its_books_are_closed(
    place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def story() -> None:
        async with at_work(service(connection("a"), connection("b")), place) as master:
            before = await master.ready()
            worker, _ = clients(before)["a#0"]
            assert worker is not None
            pid = before["workers"][worker]["pid"]
            os.kill(pid, signal.SIGKILL)
            after = await master.eventually(
                lambda status: (
                    status["service"]["ready"] and status["workers"][worker]["pid"] != pid
                )
            )
            assert clients(after) == clients(before), "a crash moves nothing"
            assert after["workers"][worker]["restarts"] == 1
            found = await master.metrics()
            received = found["streamproc_messages_received_total"]
            assert received == found["streamproc_messages_settled_total"] + (
                found["streamproc_messages_returned_total"] + found["streamproc_messages_in_flight"]
            )
            here = sum(at == worker for at, _ in clients(before).values())
            assert received == 10 * (2 + here), "counters go on where they were"
            assert found["streamproc_messages_returned_total"] == 3 * here
            assert found["streamproc_worker_restarts_total"] == 1
            assert await master.stop() == 0

    uvloop.run(story())
    (died,) = [line for line in told(capfd) if line["event"] == "worker_died"]
    assert died["cause"] == "SIGKILL, perhaps out of memory"
    assert died["messages_returned"] % 3 == 0


@pytest.mark.usefixtures("short_grace")
def test_a_worker_that_hangs_is_killed_and_started_again(
    place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    quick = Supervision(heartbeat_s=0.1, silence_s=2.0, first_backoff_s=0, crash_limit=50)

    async def story() -> None:
        async with at_work(service(connection("a"), supervision=quick), place) as master:
            before = await master.ready()
            pid = before["workers"][0]["pid"]
            os.kill(pid, signal.SIGSTOP)
            await master.eventually(
                lambda status: status["service"]["ready"] and status["workers"][0]["pid"] != pid
            )
            assert not is_alive(pid)
            assert await master.stop() == 0

    uvloop.run(story())
    lines = {line["event"]: line for line in told(capfd) if line.get("worker") == 0}
    assert lines["worker_terminated"]["reason"] == "silent for 2 s"
    assert lines["worker_killed"]["reason"] == "out of time"


def test_a_worker_that_keeps_dying_ends_the_service_and_the_others_drain(
    place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def story() -> None:
        async with at_work(service(connection("a", "crash"), workers=1), place) as master:
            assert await master.ends() == 1

    uvloop.run(story())
    lines = told(capfd)
    died = [line for line in lines if line["event"] == "worker_died"]
    assert len(died) == QUICK.crash_limit
    assert {line["cause"] for line in died} == {"exit code 7"}
    assert lines[-1]["reason"] == "worker 0 died 5 times in a row"
    assert [line for line in lines if line["event"] == "worker_restart_scheduled"]


def test_a_worker_that_cannot_start_is_left_out(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAKE_REFUSE", "1")

    async def story() -> None:
        first = service(connection("a"), connection("b"), connection("c"))
        async with at_work(first, place) as master:
            status = await master.eventually(
                lambda status: all(at == (0, "open") for at in clients(status).values())
            )
            assert status["workers"][1]["state"] == "barred"
            code, body = await master.get("/ready")
            assert code == 503
            assert json.loads(body)["reasons"] == [{"worker": 1, "state": "barred"}]
            assert await master.stop() == 0

    uvloop.run(story())
    assert [line for line in told(capfd) if line["event"] == "worker_barred"]


def test_a_process_that_cannot_be_started_is_tried_again_and_then_given_up(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")

    async def story() -> None:
        async with at_work(service(connection("a"), workers=1), place) as master:
            assert await master.ends() == 1

    uvloop.run(story())
    failed = [line for line in told(capfd) if line["event"] == "worker_start_failed"]
    assert len(failed) == QUICK.crash_limit
    assert "No such file" in failed[0]["error"]


@pytest.mark.usefixtures("short_grace")
def test_a_worker_that_never_gets_ready_is_ended(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAKE_UNREADY", "0")
    quick = Supervision(start_s=5.0, crash_limit=1, drain_s=1.0)

    async def story() -> None:
        first = service(connection("a"), workers=1, supervision=quick)
        async with at_work(first, place) as master:
            assert await master.ends() == 1

    uvloop.run(story())
    lines = {line["event"]: line for line in told(capfd)}
    assert lines["worker_terminated"]["reason"] == "not ready within 5 s"
    assert lines["service_stopped"]["reason"] == "worker 0 died 1 times in a row"


@pytest.mark.usefixtures("short_grace")
def test_what_does_not_drain_in_time_is_killed_and_the_end_is_not_clean(
    place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    quick = Supervision(drain_s=0.5)

    async def story() -> None:
        first = service(connection("a", "stuck"), workers=1, supervision=quick)
        async with at_work(first, place) as master:
            await master.ready()
            assert await master.stop() == 1

    uvloop.run(story())
    lines = told(capfd)
    assert [line["reason"] for line in lines if line["event"] == "worker_killed"] == ["out of time"]
    assert lines[-1]["clean"] is False


def test_messages_left_unsettled_make_the_end_not_clean(place: Path) -> None:
    async def story() -> None:
        async with at_work(service(connection("a", "leave"), workers=1), place) as master:
            await master.ready()
            assert await master.stop() == 1

    uvloop.run(story())


def test_a_second_signal_ends_it_at_once(place: Path) -> None:
    async def story() -> None:
        slow = Supervision(drain_s=3600.0)
        first = service(connection("a", "stuck"), supervision=slow)
        async with at_work(first, place) as master:
            status = await master.ready()
            os.kill(os.getpid(), signal.SIGINT)
            stopping = await master.eventually(lambda s: s["service"]["state"] == "stopping")
            assert stopping["service"]["ready"] is False
            assert (await master.get("/ready"))[0] == 503
            os.kill(os.getpid(), signal.SIGINT)
            assert await master.ends() == 1
            assert not any(is_alive(worker["pid"]) for worker in status["workers"])

    uvloop.run(story())


@pytest.mark.usefixtures("short_grace")
def test_a_worker_that_breaks_the_protocol_is_replaced(
    place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def story() -> None:
        async with at_work(service(connection("a", "rubbish"), workers=1), place) as master:
            await master.eventually(lambda status: status["workers"][0]["restarts"] > 0)
            master.next = service(connection("a"), workers=1)
            os.kill(os.getpid(), signal.SIGHUP)
            await master.ready()
            assert await master.stop() == 0

    uvloop.run(story())
    reasons = [line["reason"] for line in told(capfd) if line["event"] == "worker_terminated"]
    assert reasons[0].startswith("sent a frame that cannot be read")


def test_a_reload_touches_only_what_changed(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    kept, old = connection("kept", client_count=2), connection("changed", "lazy")

    async def story() -> None:
        async with at_work(service(kept, old, connection("gone")), place) as master:
            await master.ready()
            told(capfd)
            master.next = service(kept, connection("changed"), connection("new"))
            os.kill(os.getpid(), signal.SIGHUP)
            after = await master.eventually(
                lambda status: (
                    status["service"]["ready"] and status["service"]["configGeneration"] == 2
                )
            )
            assert set(clients(after)) == {"kept#0", "kept#1", "changed#0", "new#0"}
            assert await master.stop() == 0

    uvloop.run(story())
    lines = told(capfd)
    (loaded,) = [line for line in lines if line["event"] == "config_loaded"]
    assert (loaded["added"], loaded["changed"], loaded["removed"]) == (
        ["new"],
        ["changed"],
        ["gone"],
    )
    moved = {(line["event"], line["connection"]) for line in lines if "client" in line["event"]}
    assert {connection for _, connection in moved} == {"changed", "gone", "new"}
    assert moved >= {
        ("client_withdrawn", "changed"),
        ("client_withdrawn", "gone"),
        ("client_assigned", "changed"),
        ("client_assigned", "new"),
    }


def test_a_configuration_that_cannot_be_read_in_time_holds_up_no_later_one(
    place: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with at_work(service(connection("a"), workers=1), place) as master:
            await master.ready()
            told(capfd)
            held = master.held = threading.Event()
            with monkeypatch.context() as patch:
                patch.setattr(main, "RELOAD_S", 0.05)
                os.kill(os.getpid(), signal.SIGHUP)
                await said(capfd, "config_refused", "could not be read within 0.05 s")
            master.held = None
            held.set()
            master.next = service(connection("b"), workers=1)
            os.kill(os.getpid(), signal.SIGHUP)
            await master.eventually(lambda status: set(clients(status)) == {"b#0"})
            assert await master.stop() == 0

    uvloop.run(story())


async def said(capfd: pytest.CaptureFixture[str], event: str, words: str) -> None:
    """Wait until a line of *event* says so."""

    async def it_is() -> bool:
        return any(line["event"] == event and words in str(line) for line in told(capfd))

    await until(it_is)


def test_a_configuration_that_cannot_work_changes_nothing(
    place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def story() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            async with at_work(service(connection("a")), place) as master:
                before = await master.ready()
                master.next = ConfigError("2 problems", problems=["first", "second"])
                os.kill(os.getpid(), signal.SIGHUP)
                await until(lambda: was_told("config_refused"))
                uri = f"http://127.0.0.1:{taken.getsockname()[1]}"
                master.next = service(connection("a", connection_type="http-ingest", uri=uri))
                os.kill(os.getpid(), signal.SIGHUP)
                await until(lambda: was_told("config_refused"))
                master.next = service(connection("a"), workers=5)
                os.kill(os.getpid(), signal.SIGHUP)
                await until(lambda: was_told("setting_needs_restart"))
                after = await master.status()
                assert clients(after) == clients(before)
                assert len(after["workers"]) == 2
                assert await master.stop() == 0

    seen: list[dict[str, Any]] = []

    async def was_told(event: str) -> bool:
        seen.extend(told(capfd))
        for line in seen:
            if line["event"] == event:
                seen.remove(line)
                refused.append(line)
                return True
        return False

    refused: list[dict[str, Any]] = []
    uvloop.run(story())
    assert refused[0]["problems"] == ["first", "second"]
    assert "cannot listen" in refused[1]["problems"][0]
    assert refused[2]["setting"] == "workers"


async def ask(port: int) -> tuple[int, int]:
    """Call an http-ingest listener; -> the worker that answered, and its pid."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(DEADLINE_S):
        worker, pid = (await reader.read()).split()
    writer.close()
    return int(worker), int(pid)


def test_a_restart_of_a_worker_refuses_no_caller(place: Path) -> None:
    port = Port()

    async def story() -> None:
        ingest = connection("in", connection_type="http-ingest", uri=f"http://127.0.0.1:{port}")
        async with at_work(service(ingest), place) as master:
            await master.ready()
            worker, pid = await ask(int(port))
            os.kill(pid, signal.SIGSTOP)  # it answers nothing any more
            calls = [asyncio.create_task(ask(int(port))) for _ in range(5)]
            os.kill(pid, signal.SIGKILL)
            answers = await asyncio.gather(*calls)
            assert {who for who, _ in answers} == {worker}
            assert pid not in {each for _, each in answers}
            master.next = service(connection("a"))
            os.kill(os.getpid(), signal.SIGHUP)
            await master.eventually(lambda status: status["listeners"] == {})
            master.next = service(ingest)
            os.kill(os.getpid(), signal.SIGHUP)
            status = await master.eventually(
                lambda status: clients(status).get("in#0", (0, ""))[1] == "open"
            )
            assert status["listeners"] == {f"127.0.0.1:{port}": f"127.0.0.1:{port}"}
            assert await master.stop() == 0

    try:
        uvloop.run(story())
    finally:
        port.release()


def test_no_secret_is_shown_anywhere(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async def story() -> None:
        async with at_work(service(connection("a")), place) as master:
            await master.ready()
            for path in ("/", "/status", "/metrics", "/ready", "/live"):
                code, body = await master.get(path)
                assert code == 200
                assert "hunter2" not in body
                assert body
            assert await master.stop() == 0

    uvloop.run(story())
    assert "hunter2" not in capfd.readouterr().err


def test_metrics_are_open_metrics_to_those_who_ask(place: Path) -> None:
    async def story() -> None:
        async with at_work(service(connection("a")), place) as master:
            await master.ready()
            address = (place / "management").read_text().strip()
            headers = {"Accept": "application/openmetrics-text; version=1.0.0"}
            async with (
                aiohttp.ClientSession(headers=headers) as session,
                session.get(f"http://{address}/metrics") as response,
            ):
                assert response.headers["Content-Type"].startswith("application/openmetrics-text")
                assert (await response.text()).endswith("# EOF\n")
            found = await master.metrics()
            assert found["streamproc_client_up"] == 1
            assert found["streamproc_workers_up"] == 2
            assert found["streamproc_consumers_expected"] == 1
            assert found["streamproc_consumers_live"] == 1
            assert found["process_resident_memory_bytes"] > 3 << 20
            assert await master.stop() == 0

    uvloop.run(story())


def test_a_port_that_is_taken_is_said_and_nothing_is_started(place: Path) -> None:
    async def story() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            first = service(connection("a"))
            listener = Listener(port=taken.getsockname()[1])
            first = type(first)(workers=1, management=listener, log=first.log)
            async with at_work(first, place):
                pass

    with pytest.raises(ConfigError, match="cannot listen on management"):
        uvloop.run(story())


def test_a_limit_that_changes_restarts_every_client(
    place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def story() -> None:
        async with at_work(service(connection("a"), connection("b")), place) as master:
            await master.ready()
            told(capfd)
            limits = Limits(max_subjects=7)
            master.next = service(connection("a"), connection("b"), limits=limits)
            os.kill(os.getpid(), signal.SIGHUP)
            await master.eventually(
                lambda status: (
                    status["service"]["ready"] and status["service"]["configGeneration"] == 2
                )
            )
            assert await master.stop() == 0

    uvloop.run(story())
    withdrawn = [line for line in told(capfd) if line["event"] == "client_withdrawn"]
    assert {line["connection"] for line in withdrawn} == {"a", "b"}


SERVE = """
import sys, uvloop
from pathlib import Path
from streamproc.master.main import Master
from streamproc.master.reconcile import Reconciler
from tests.integration.master_at_work import FAKE, connection, service
first = service(connection("a", client_count=2, behave="lazy"))
def load():
    if len(sys.argv) > 2:
        Reconciler.plan = lambda *_: 1 / 0
        return first
    return 1 / 0
sys.exit(uvloop.run(Master(first, load, runtime_dir=Path(sys.argv[1]),
                           worker_module=FAKE).run()))
"""


def serve(place: Path, *bug: str) -> subprocess.Popen[bytes]:
    """A master in a process of its own. A reload fails; with *bug* so does every turn then."""
    command = [sys.executable, "-c", SERVE, str(place), *bug]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


async def pids_when_ready(place: Path) -> list[int]:
    here = MasterAtWork(place, service())

    async def holds() -> bool:
        try:
            code, _ = await here.get("/ready")
        except (OSError, aiohttp.ClientError):
            return False
        return code == 200

    await until(holds)
    return [worker["pid"] for worker in (await here.status())["workers"]]


def wait_for_the_end_of(pids: list[int]) -> None:
    end = time.monotonic() + DEADLINE_S
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < end, "a worker outlives its master"
        time.sleep(0.02)


def test_when_the_master_is_killed_its_workers_end_and_the_next_starts_beside_them(
    place: Path,
) -> None:
    with serve(place) as first:
        pids = uvloop.run(pids_when_ready(place))
        (run_dir,) = place.glob("run-*")
        first.kill()
        (place / "management").unlink()
        with serve(place) as second:
            uvloop.run(pids_when_ready(place))
            wait_for_the_end_of(pids)
            second.send_signal(signal.SIGTERM)
            assert second.wait(DEADLINE_S) == 0
    with serve(place) as third:
        uvloop.run(pids_when_ready(place))
        assert not run_dir.exists(), "what a killed master left is cleared away"
        third.send_signal(signal.SIGTERM)
        assert third.wait(DEADLINE_S) == 0
    assert list(place.iterdir()) == []


def wait_for(event: str, master: subprocess.Popen[bytes]) -> None:
    assert master.stderr is not None
    for line in master.stderr:
        if json.loads(line)["event"] == event:
            return
    raise AssertionError(f"ended without {event}")


def test_a_bug_in_reading_the_configuration_stops_nothing(place: Path) -> None:
    with serve(place) as master:
        uvloop.run(pids_when_ready(place))
        master.send_signal(signal.SIGHUP)
        wait_for("failed_unexpectedly", master)
        master.send_signal(signal.SIGHUP)
        wait_for("failed_unexpectedly", master)
        master.send_signal(signal.SIGTERM)
        assert master.wait(DEADLINE_S) == 0


def test_a_bug_in_the_master_ends_it_and_its_workers_drain(place: Path) -> None:
    with serve(place, "bug") as master:
        pids = uvloop.run(pids_when_ready(place))
        master.send_signal(signal.SIGHUP)
        wait_for("failed_unexpectedly", master)
        assert master.wait(DEADLINE_S) == EXIT_BUG
        wait_for_the_end_of(pids)


def test_the_master_imports_no_broker_client_and_no_mapper() -> None:
    script = (
        "import sys, streamproc.cli.run\n"
        "bad = [n for n in sys.modules if n.split('.')[0] in"
        " ('confluent_kafka', 'aio_pika', 'aiormq', 'httptools')\n"
        "       or n.startswith(('streamproc.mapping.', 'streamproc.worker.'))]\n"
        "print(bad)"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert out.stdout.decode().strip() == "[]"
