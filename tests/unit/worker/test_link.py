"""How a link is opened, lost and opened again: back-off, deadlines, and what people see."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from streamproc.control import ClientState
from streamproc.errors import Misconfigured, NotConnected, RunnerError
from streamproc.worker import link as module
from streamproc.worker.link import Link
from tests.unit.worker.script import until


class Ends:
    """A connector's end that does what the test says, try by try; then it opens."""

    def __init__(self, *tries: RunnerError | Callable[[], Awaitable[None]]) -> None:
        self.tries = list(tries)
        self.opens: list[float] = []
        self.closes = 0
        self.seen: list[tuple[ClientState, str | None, bool]] = []
        self.link = Link("target", self.open, self.close, self._changed)

    async def open(self) -> None:
        self.opens.append(time.monotonic())
        if self.tries:
            step = self.tries.pop(0)
            if isinstance(step, RunnerError):
                raise step
            await step()

    async def close(self) -> None:
        self.closes += 1

    def _changed(self) -> None:
        report = self.link.report()
        self.seen.append((report.state, report.error, report.next_try is not None))


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """What the link waited for, (tries, misconfigured); the waits themselves are short."""
    asked: list[tuple[int, bool]] = []

    def short(tries: int, misconfigured: bool, jitter: float) -> float:
        assert 0 <= jitter < 1
        asked.append((tries, misconfigured))
        return 0.001

    monkeypatch.setattr(module, "delay_s", short)
    return asked


async def forever() -> None:
    await asyncio.Event().wait()


async def test_it_tries_until_it_is_open_and_says_why_and_when(waits) -> None:
    ends = Ends(NotConnected("refused"), NotConnected("refused"), Misconfigured("no such queue"))
    await ends.link.open()
    assert waits == [(0, False), (1, False), (2, True)]
    assert ends.link.state == "open"
    assert ends.link.report().error is None
    waiting = [seen for seen in ends.seen if seen[2]]
    assert waiting == [
        ("failed", "refused", True),
        ("failed", "refused", True),
        ("misconfigured", "no such queue", True),
    ]
    # While it is being tried there is no next try, and still a reason.
    assert ("misconfigured", "no such queue", False) in ends.seen


async def test_since_is_when_the_state_began_not_the_last_try(waits) -> None:
    ends = Ends(*[NotConnected("refused")] * 3, forever)
    opening = asyncio.create_task(ends.link.open())
    await until(lambda: len(ends.opens) == 2)
    since = ends.link.report().since
    await until(lambda: len(ends.opens) == 4)
    assert ends.link.report().since == since
    opening.cancel()


async def test_a_try_that_hangs_ends_at_its_deadline_and_is_let_go(waits, monkeypatch) -> None:
    monkeypatch.setattr(module, "OPEN_DEADLINE_S", 0.05)
    ends = Ends(forever)
    async with asyncio.timeout(30):
        await ends.link.open()
    assert len(ends.opens) == 2
    assert ends.closes == 1
    assert any(error and "no connection within" in error for _, error, _ in ends.seen)


async def test_a_close_that_hangs_ends_at_its_deadline(monkeypatch) -> None:
    monkeypatch.setattr(module, "CLOSE_DEADLINE_S", 0.05)
    link = Link("target", forever, forever, lambda: None)
    async with asyncio.timeout(30):
        await link.let_go()


async def test_a_link_that_was_steady_is_opened_again_at_once(waits, monkeypatch) -> None:
    monkeypatch.setattr(module, "STEADY_S", 0.0)
    ends = Ends()
    for _ in range(3):
        await ends.link.open()
        ends.link.lost(NotConnected("reset"))
    await ends.link.open()
    assert waits == []


async def test_a_link_that_opens_and_is_lost_at_once_is_not_opened_in_a_tight_loop(waits) -> None:
    ends = Ends()
    for _ in range(4):
        await ends.link.open()
        ends.link.lost(NotConnected("the broker ended the consumer"))
    assert ends.link.report().error == "the broker ended the consumer"
    await ends.link.open()
    assert waits == [(0, False), (1, False), (2, False), (3, False)]


async def test_what_ends_an_open_link_may_be_for_a_person_to_mend(waits) -> None:
    ends = Ends()
    await ends.link.open()
    ends.link.lost(Misconfigured("the queue is gone"))
    assert ends.link.state == "misconfigured"
    await ends.link.open()
    assert waits == [(0, True)]


async def test_cancelled_it_gives_up() -> None:
    ends = Ends(forever)
    opening = asyncio.create_task(ends.link.open())
    await until(lambda: len(ends.opens) == 1)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert ends.link.state == "opening"
