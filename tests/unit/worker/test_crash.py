"""An exception that nobody expected ends the worker; a peer that went away does not."""

from __future__ import annotations

import asyncio

import pytest

from streamproc.worker.crash import EXIT_CRASHED, install, watch


async def broken() -> None:
    raise ValueError("planted")


async def until_done(task: asyncio.Task[None]) -> None:
    await asyncio.wait([task])
    await asyncio.sleep(0)  # what looks at it is called after those who wait


async def test_a_task_that_fails_ends_the_worker(
    stays: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    await until_done(watch(broken()))
    assert stays == [EXIT_CRASHED]
    stays.clear()


async def test_a_task_that_is_cancelled_does_not() -> None:
    task = watch(asyncio.sleep(3600))
    task.cancel()
    await until_done(task)


@pytest.mark.parametrize(("error", "ends"), [(ValueError("planted"), True), (OSError(), False)])
async def test_so_does_what_the_loop_calls_but_for_peers_that_went_away(
    error: Exception, ends: bool, stays: list[int]
) -> None:
    install()

    def fail() -> None:
        raise error

    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    loop.call_soon(fail)
    loop.call_soon(done.set)
    await done.wait()
    assert stays == [EXIT_CRASHED] * ends
    stays.clear()
