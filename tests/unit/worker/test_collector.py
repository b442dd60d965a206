"""Cycles are looked for seldom, but they are: they may hold what others need."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import weakref

from streamproc.worker import collector


class Held:
    """Stands for a socket, in a cycle with its callback."""

    def __init__(self) -> None:
        self.callback = self.called

    def called(self) -> None:
        """Nothing."""


async def test_what_a_cycle_holds_is_let_go_at_the_next_look(monkeypatch) -> None:
    monkeypatch.setattr(collector, "COLLECT_S", 0.0)
    gc.disable()
    try:
        collector.collect_regularly()
        held = weakref.ref(Held())
        assert held() is not None
        async with asyncio.timeout(60):
            while held() is not None:
                await asyncio.sleep(0)
    finally:
        gc.enable()
        monkeypatch.setattr(collector, "COLLECT_S", 3600.0)
        await asyncio.sleep(0)


def test_what_was_imported_is_not_looked_at_again() -> None:
    program = (
        "import gc; from streamproc.worker.collector import YOUNG, collect_seldom; "
        "collect_seldom(); print(gc.get_freeze_count() > 1000, gc.get_threshold()[0] == YOUNG)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.split() == [b"True", b"True"]
