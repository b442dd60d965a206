"""Lines are whole, bounded in number, and show no secret."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from streamproc.config.service import Log
from streamproc.errors import SignalError
from streamproc.telemetry import events
from streamproc.telemetry.logs import MAX_KEYS, WINDOW_S, Budget, Output


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    def write(self, _: str) -> int:
        raise BrokenPipeError


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    handlers = logging.root.handlers[:]
    level = logging.root.level
    events._output.clear()
    yield
    events._output.clear()
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_and_says_when_who_and_what(stream: io.StringIO, clock: Clock) -> None:
    Output(Log(), "worker 1", stream, clock)
    events.worker_ready(1, 4711, 0.25)
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "worker_ready",
        "level": "info",
        "process": "worker 1",
        "worker": 1,
        "pid": 4711,
        "seconds": 0.25,
    }


def test_a_terminal_gets_text_for_people_unless_json_was_asked_for(clock: Clock) -> None:
    terminal = Terminal()
    Output(Log(), "master", terminal, clock)
    events.worker_started(0, 12)
    assert "worker_started" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")
    terminal = Terminal()
    Output(Log(format="json"), "master", terminal, clock)
    events.worker_started(0, 12)
    assert len(lines(terminal)) == 1


def test_lines_below_the_level_are_not_told(stream: io.StringIO, clock: Clock) -> None:
    Output(Log(level="error"), "master", stream, clock)
    events.worker_started(0, 12)
    events.worker_killed(0, 12, "did not end")
    assert [line["event"] for line in lines(stream)] == ["worker_killed"]


def test_beyond_the_budget_lines_are_counted_and_summed_up(
    stream: io.StringIO, clock: Clock
) -> None:
    output = Output(Log(per_event_per_minute=3), "worker 0", stream, clock)
    error = SignalError("things:id.invalid", "found no id")
    for _ in range(10):
        events.message_rejected("noisy", "0", error, 5)
    events.message_rejected("quiet", "0", error, 1)
    events.message_returned("noisy", "0", 2)
    told = [(line["event"], line["connection"]) for line in lines(stream)]
    assert told == [("message_rejected", "noisy")] * 3 + [
        ("message_rejected", "quiet"),
        ("message_returned", "noisy"),
    ]
    clock.now += WINDOW_S + 1
    output.flush()
    last = lines(stream)[-1]
    assert (last["event"], last["of"], last["connection"]) == (
        "lines_suppressed",
        "message_rejected",
        "noisy",
    )
    assert (last["lines"], last["count"]) == (7, 35)
    output.flush()
    assert len(lines(stream)) == 6, "told once"
    events.message_rejected("noisy", "0", error, 5)
    assert lines(stream)[-1]["event"] == "message_rejected", "a new minute, a new budget"


def test_a_line_of_another_event_brings_the_summary_along(
    stream: io.StringIO, clock: Clock
) -> None:
    Output(Log(per_event_per_minute=1), "worker 0", stream, clock)
    events.peer_joined(0, 1)
    events.peer_joined(0, 1)
    clock.now += WINDOW_S + 1
    events.worker_started(0, 1)
    assert [line["event"] for line in lines(stream)] == [
        "peer_joined",
        "lines_suppressed",
        "worker_started",
    ]


def test_a_flood_of_keys_does_not_grow_the_budget() -> None:
    budget = Budget(2)
    allowed = sum(budget.allows(("event", f"c{i}"), 1, 0.0) for i in range(MAX_KEYS + 50))
    assert allowed == MAX_KEYS + 2
    ended = budget.ended(WINDOW_S)
    assert ended == [(("", ""), 48, 48)]
    assert budget.ended(WINDOW_S) == []


@pytest.mark.parametrize("kind", ["json", "pretty"])
def test_no_secret_is_told(stream: io.StringIO, clock: Clock, kind: Any) -> None:
    output = Output(Log(format=kind), "worker 0", stream, clock)
    output.hide({"hunter2-known"})
    try:
        raise OSError("cannot reach amqp://user:p@ss/word@broker:5672/vhost")
    except OSError as error:
        events.failed_unexpectedly("link", error)
    events.client_state_changed(
        "c", 0, 0, "failed", "refused: hunter2-known; Authorization: Bearer abcdefghijk"
    )
    structlog.get_logger().info(
        "x", nested={"password": "topsecret", "list": [{"api_key": "k-123"}]}, token="t-9"
    )
    told = stream.getvalue()
    for secret in ("p@ss", "word@", "hunter2-known", "abcdefghijk", "topsecret", "k-123", "t-9"):
        assert secret not in told, secret
    assert "amqp://***@broker:5672/vhost" in told
    assert "OSError" in told


def test_warnings_of_libraries_take_the_same_way(stream: io.StringIO, clock: Clock) -> None:
    Output(Log(), "master", stream, clock)
    logging.getLogger("asyncio").warning("slow callback %s", "ssl://a:secretpw@host")
    logging.getLogger("asyncio").info("not worth a line")
    (line,) = lines(stream)
    assert line["event"] == "library_warned"
    assert line["library"] == "asyncio"
    assert line["message"] == "slow callback ssl://***@host"


def test_a_log_that_cannot_be_written_stops_nothing(clock: Clock) -> None:
    Output(Log(), "master", Broken(), clock)
    events.worker_started(0, 12)


def test_how_a_process_ended_in_words() -> None:
    assert events.exit_cause(3) == "exit code 3"
    assert events.exit_cause(-9) == "SIGKILL, perhaps out of memory"
    assert events.exit_cause(-11) == "SIGSEGV"


def test_configured_anew_it_forgets_neither_its_secrets_nor_its_budget(
    capsys: pytest.CaptureFixture[str],
) -> None:
    once = Log(format="json", per_event_per_minute=1)
    events.configure(once, "worker 0")
    events.hide(["hunter2"])
    events.management_listening("first")
    events.configure(once, "worker 0")
    events.management_listening("beyond the budget")
    events.configure(Log(format="json", level="debug"), "worker 0")
    events.management_listening("http://x/hunter2")
    assert events.masked({"a": "hunter2"}) == {"a": "***"}
    told = [json.loads(line)["url"] for line in capsys.readouterr().err.splitlines()]
    assert told == ["first", "http://x/***"]
