"""The source side: back-pressure, settlement, lost links, stopping. The source is a script."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from streamproc.connectors.base import Batch, Verdict
from streamproc.errors import EndOfStream, NotConnected, SignalError
from streamproc.kernels.delivery import Delivery
from streamproc.kernels.settlement import Entry, Window
from streamproc.protocol.acks import Request
from streamproc.telemetry.slots import Block
from streamproc.worker.acks import Asked
from streamproc.worker.intake import SLICE, TURN, Intake, IntakeMetrics
from tests.unit.worker.script import until


class ScriptedSource:
    """Hands out what the test puts into ``next``."""

    def __init__(self) -> None:
        self.next: asyncio.Queue[Batch | Exception] = asyncio.Queue()
        self.settled: list[tuple[Any, list[int], Verdict, dict[int, SignalError]]] = []
        self.reads = 0
        self.opens = 0
        self.closes = 0
        self.stopped = False

    async def open(self) -> None:
        self.opens += 1

    async def read(self) -> Batch:
        self.reads += 1
        item = await self.next.get()
        if isinstance(item, Exception):
            raise item
        return item

    def settle(
        self,
        origin: Any,
        tokens: Sequence[int],
        verdict: Verdict,
        errors: Mapping[int, SignalError],
    ) -> None:
        self.settled.append((origin, list(tokens), verdict, dict(errors)))

    async def stop(self) -> None:
        self.stopped = True
        self.next.put_nowait(EndOfStream("stopped"))

    async def close(self) -> None:
        self.closes += 1


class Bench:
    """An intake with its source, whose flow only keeps the entries."""

    def __init__(self, folder: Path, *, messages: int = 100, at_once: bool = False) -> None:
        self.block = Block.create(folder / "metrics")
        self.metrics = IntakeMetrics.of(self.block, "c", "0")
        self.source = ScriptedSource()
        self.entries: list[Entry] = []
        self.intake = Intake(
            "c",
            "0",
            "source 0/0 q",
            self.source,
            self._flow,
            max_messages=messages,
            max_bytes=1 << 20,
            at_once=at_once,
            metrics=self.metrics,
            changed=lambda: None,
        )

    def _flow(self, batch: Batch, entries: list[Entry], window: Window) -> None:
        self.entries += entries

    def put(self, *tokens: int, origin: str = "p") -> None:
        self.source.next.put_nowait(
            Batch([b"x"] * len(tokens), [{} for _ in tokens], list(tokens), origin)
        )

    def finish(self, count: int) -> None:
        done, self.entries = self.entries[:count], self.entries[count:]
        self.intake.window.release(done)

    def books(self) -> tuple[int, int, int, int]:
        m = self.metrics
        settled = m.settled_accept.value + m.settled_reject.value
        values = (m.received.value, settled, m.returned.value, m.in_flight.value)
        assert values[0] == values[1] + values[2] + values[3]
        return tuple(int(value) for value in values)  # type: ignore[return-value]


@pytest.fixture
async def bench(tmp_path: Path):
    made = Bench(tmp_path)
    yield made
    await made.intake.close()


async def test_messages_are_settled_when_they_are_done_and_not_before(bench: Bench) -> None:
    bench.put(1, 2, 3)
    await until(lambda: len(bench.entries) == 3)
    assert bench.source.settled == []
    bench.finish(2)
    await until(lambda: bool(bench.source.settled))
    assert bench.source.settled == [("p", [1, 2], Verdict.ACCEPT, {})]
    assert bench.books() == (3, 2, 0, 1)


@pytest.mark.parametrize("count", [SLICE - 1, SLICE, SLICE + 1, 2 * SLICE, 3 * SLICE - 1])
async def test_a_large_batch_goes_down_the_path_in_slices(tmp_path: Path, count: int) -> None:
    bench = Bench(tmp_path, messages=count)
    went: list[tuple[Batch, list[Entry]]] = []
    bench.intake.process = lambda batch, entries, _: went.append((batch, entries))
    tokens = list(range(count))
    payloads = [b"%d" % token for token in tokens]
    headers = [{"token": str(token)} for token in tokens]
    bench.source.next.put_nowait(Batch(payloads, headers, tokens, "p"))
    await until(lambda: bool(went))
    assert max(len(entries) for _, entries in went) <= SLICE
    assert [payload for batch, _ in went for payload in batch.payloads] == payloads
    assert [one for batch, _ in went for one in batch.headers] == headers
    assert [token for batch, _ in went for token in batch.tokens] == tokens
    assert [entry.token for _, entries in went for entry in entries] == tokens
    assert {batch.origin for batch, _ in went} == {"p"}
    bench.intake.window.release([entry for _, entries in went for entry in entries])
    await until(lambda: bool(bench.source.settled))
    assert bench.source.settled == [("p", tokens, Verdict.ACCEPT, {})]
    await bench.intake.close()


async def test_a_source_that_never_waits_leaves_others_their_turn(tmp_path: Path) -> None:
    bench = Bench(tmp_path, messages=10 * TURN)
    for first in range(0, 10 * TURN, 10):
        bench.put(*range(first, first + 10))
    await until(lambda: bool(bench.entries))
    seen: list[int] = []
    while not seen or seen[-1] < 10 * TURN:
        seen.append(len(bench.entries))
        await asyncio.sleep(0)
    steps = [after - before for before, after in pairwise(seen)]
    assert max(steps) <= TURN + 10
    await bench.intake.close()


async def test_a_full_window_stops_reading_and_room_starts_it_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, messages=2)
    bench.put(1, 2)
    await until(lambda: len(bench.entries) == 2)
    bench.put(3)
    for _ in range(20):
        await asyncio.sleep(0)
    assert bench.source.reads == 1
    bench.finish(1)
    await until(lambda: len(bench.entries) == 2)
    assert bench.source.reads >= 2
    await bench.intake.close()


async def test_a_refused_message_is_told_with_its_reason(bench: Bench) -> None:
    bench.put(1, 2)
    await until(lambda: len(bench.entries) == 2)
    error = SignalError("internal", "no")
    bench.intake.window.reject(bench.entries[1], error)
    bench.finish(2)
    await until(lambda: len(bench.source.settled) == 2)
    assert ("p", [2], Verdict.REJECT, {2: error}) in bench.source.settled
    assert ("p", [1], Verdict.ACCEPT, {}) in bench.source.settled
    assert bench.books() == (2, 2, 0, 0)


async def test_a_lost_link_is_opened_again_and_old_messages_are_nobodys(bench: Bench) -> None:
    bench.put(1, 2)
    await until(lambda: len(bench.entries) == 2)
    bench.source.next.put_nowait(NotConnected("cut"))
    await until(lambda: bench.source.opens == 2)
    assert bench.books() == (2, 0, 2, 0)
    bench.finish(2)  # their receipts come late
    bench.put(1)
    await until(lambda: len(bench.entries) == 1)
    bench.finish(1)
    await until(lambda: bool(bench.source.settled))
    assert bench.source.settled == [("p", [1], Verdict.ACCEPT, {})]
    assert bench.books() == (3, 1, 2, 0)


async def test_stop_takes_no_more_and_settles_what_is_there(bench: Bench) -> None:
    bench.put(1)
    await until(lambda: len(bench.entries) == 1)
    bench.intake.stop()
    await until(lambda: bench.source.stopped)
    assert not bench.intake.drained
    bench.finish(1)
    await until(lambda: bool(bench.source.settled))
    await until(lambda: bench.intake.drained)
    assert bench.intake.link.report().state == "draining"


async def test_what_is_read_while_it_stops_is_waited_for_too(bench: Bench) -> None:
    await until(lambda: bench.source.reads == 1)
    bench.put(1)
    bench.intake.stop()
    assert not bench.intake.drained  # though nothing is in the window yet
    await until(lambda: len(bench.entries) == 1)
    assert not bench.intake.drained
    bench.finish(1)
    await until(lambda: bench.intake.drained)
    await bench.intake.close()
    assert bench.books() == (1, 1, 0, 0)


async def test_stop_ends_an_intake_whose_window_is_full(tmp_path: Path) -> None:
    bench = Bench(tmp_path, messages=1)
    bench.put(1)
    await until(lambda: len(bench.entries) == 1)
    bench.intake.stop()
    bench.finish(1)
    await until(lambda: bench.intake.drained)
    await bench.intake.close()
    assert bench.source.settled == [("p", [1], Verdict.ACCEPT, {})]


async def test_close_settles_what_is_done_before_it_lets_go(bench: Bench) -> None:
    bench.put(1, 2)
    await until(lambda: len(bench.entries) == 2)
    bench.finish(1)
    await bench.intake.close()
    assert bench.source.settled == [("p", [1], Verdict.ACCEPT, {})]
    assert bench.books() == (2, 1, 1, 0)


async def test_qos_0_settles_at_once_and_still_bounds_memory(tmp_path: Path) -> None:
    bench = Bench(tmp_path, messages=2, at_once=True)
    bench.put(1, 2)
    await until(lambda: len(bench.entries) == 2)
    assert bench.source.settled == [("p", [1, 2], Verdict.ACCEPT, {})]
    bench.put(3)
    for _ in range(20):
        await asyncio.sleep(0)
    assert bench.source.reads == 1
    bench.finish(2)
    await until(lambda: len(bench.source.settled) == 2)
    bench.finish(1)
    await bench.intake.close()
    assert bench.books() == (3, 3, 0, 0)


async def test_a_source_that_ends_says_so(bench: Bench) -> None:
    bench.source.next.put_nowait(EndOfStream("no more"))
    await until(lambda: bench.intake.link.report().state == "ended")


async def test_acknowledgements_settle_and_are_told_first(bench: Bench) -> None:
    told: list[dict[int, Any]] = []
    bench.source.acknowledge = told.append  # type: ignore[attr-defined]
    bench.put(1, 2, 3, 4)
    await until(lambda: len(bench.entries) == 4)
    for entry, status in zip(bench.entries[:3], (204, 404, 503), strict=True):
        asked = Asked(Request(("c:done",), False, 1000))
        delivery = Delivery(0, "k", "a", {}, b"")
        asked.bring("c:done", delivery)
        assert delivery.wanted is not None
        delivery.wanted.answered(status, {"status": status})
        bench.intake.window.ask(entry, asked)
    bench.finish(4)
    await until(lambda: len(bench.source.settled) == 3)
    assert [(tokens, verdict) for _, tokens, verdict, _ in bench.source.settled] == [
        ([2], Verdict.REJECT),
        ([3], Verdict.REDELIVER),
        ([1, 4], Verdict.ACCEPT),
    ]
    assert [{t: result.status for t, result in each.items()} for each in told] == [
        {1: 204, 2: 404, 3: 503}
    ]
    assert bench.books() == (4, 3, 1, 0)
