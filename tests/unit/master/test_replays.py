"""The master asks every worker, and believes the one that has the client."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer

from streamproc.control import Replay, Replayed, from_worker, to_worker
from streamproc.master import replays as module
from streamproc.master.http import Management
from streamproc.master.replays import MAX_ENTRIES, MAX_QUESTIONS, Busy, Replays

NONE: dict[str, list[int]] = {outcome: [] for outcome in module.OUTCOMES}


class Worker:
    """Takes what it is told, if it can."""

    def __init__(self, *, takes: bool = True) -> None:
        self.takes = takes
        self.asked: list[Replay] = []

    def replay(self, message: Replay) -> bool:
        if self.takes:
            self.asked.append(message)
        return self.takes


async def ask(replays: Replays, *entries: int) -> asyncio.Task[dict[str, list[int]]]:
    task = asyncio.create_task(replays.replay(list(entries)))
    await asyncio.sleep(0)
    return task


async def test_answers_are_put_together() -> None:
    workers = {0: Worker(), 1: Worker(), 2: Worker(takes=False)}
    replays = Replays(workers)
    task = await ask(replays, 5, 3, 4, 9, 3)
    number = workers[0].asked[0].number
    replays.heard(0, Replayed(number, {5: "missing", 3: "delivered", 4: "waiting", 9: "missing"}))
    assert not task.done()
    replays.heard(1, Replayed(number, {5: "parked", 3: "missing", 4: "waiting", 9: "missing"}))
    assert await task == {**NONE, "parked": [5], "delivered": [3], "waiting": [4], "missing": [9]}


async def test_what_nobody_answers_for_is_unplaced() -> None:
    workers = {0: Worker(), 1: Worker()}
    replays = Replays(workers)
    task = await ask(replays, 1, 2)
    replays.heard(0, Replayed(workers[0].asked[0].number, {1: "delivered"}))
    replays.gone(1)
    assert await task == {**NONE, "delivered": [1], "unplaced": [2]}
    replays.heard(1, Replayed(workers[0].asked[0].number, {2: "delivered"}))  # too late
    assert await Replays({}).replay([7]) == {**NONE, "unplaced": [7]}


async def test_a_silent_worker_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.01)
    assert await Replays({0: Worker()}).replay([7]) == {**NONE, "unplaced": [7]}


async def test_questions_are_bounded() -> None:
    workers = {0: Worker()}
    replays = Replays(workers)
    tasks = [await ask(replays, 1) for _ in range(MAX_QUESTIONS)]
    with pytest.raises(Busy):
        await replays.replay([1])
    for message in workers[0].asked:
        replays.heard(0, Replayed(message.number, {}))
    for task in tasks:
        await task
    assert len({message.number for message in workers[0].asked}) == MAX_QUESTIONS


def test_frames_survive_the_way() -> None:
    replay = Replay(3, [1, 1 << 62])
    assert to_worker.decode(msgspec.msgpack.encode(replay)) == replay
    replayed = Replayed(3, {1: "spilled"})
    assert from_worker.decode(msgspec.msgpack.encode(replayed)) == replayed
    with pytest.raises(msgspec.ValidationError):
        from_worker.decode(msgspec.msgpack.encode(Replayed(3, {1: "lost"})))  # type: ignore[dict-item]


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ('{"entries":[1]}', JSON, 200),
        ('{"entries":[1]}', {"Content-Type": "text/plain"}, 403),
        ('{"entries":[1]}', {**JSON, "Origin": "http://evil.example"}, 403),
        ('{"entries":[]}', JSON, 400),
        ('{"entries":[0]}', JSON, 400),
        ('{"entries":["1"]}', JSON, 400),
        ('{"entries":[99999999999999999999]}', JSON, 400),
        ('{"entries":[1],"x":1}', JSON, 400),
        ("{", JSON, 400),
        (f'{{"entries":{[1] * (MAX_ENTRIES + 1)}}}', JSON, 400),
        (f'{{"entries":[1{" " * 70_000}]}}', JSON, 413),
    ],
)
async def test_the_management_port_takes_no_more_than_it_should(
    body: str, headers: dict[str, str], status: int
) -> None:
    nothing: Any = None
    management = Management(nothing, nothing, lambda: 0.0, Replays({}))
    application = management._runner.app
    async with TestClient(TestServer(application)) as client:
        answer = await client.post("/parked/replay", data=body, headers=headers)
        assert answer.status == status
        if status == 200:
            assert (await answer.json())["outcomes"]["unplaced"] == [1]
        got = await client.get("/parked/replay")
        assert got.status == 405
