"""A scenario at work: the service on its road, a publisher, and eyes on what flows."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.e2e import ends
from tests.e2e.play import FULL, Play
from tests.e2e.service import Service, alive
from tests.faults.clock import Clock
from tests.faults.road import Road

WINDOW = 500  # messages in flight per client
CHUNK = 100
CHUNKS_A_SECOND = 20.0
PATIENCE_S = 180.0
TARGET_DELAY_S = 0.1  # there, and back


class Publisher:
    """Says a play, chunk by chunk, and holds still when it is told to.

    Chunks are due at a steady rate: what a slow broker took is made up for, what a pause took
    is not.
    """

    def __init__(self, road: Road, play: Play, chunks_a_second: float) -> None:
        self._road = road
        self._play = play
        self._every_s = 1 / chunks_a_second
        self._going = threading.Event()
        self._going.set()
        self._between = threading.Lock()
        self._over = False
        self.said = 0
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def pause(self) -> None:
        """What is being said is said when this returns."""
        self._going.clear()
        with self._between:
            pass

    def resume(self) -> None:
        self._going.set()

    def end(self) -> None:
        """Wait until all is said."""
        self._going.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the publisher hangs"
        if self.error is not None:
            raise self.error

    @property
    def over(self) -> bool:
        """All is said, or nothing more will be."""
        return not self._thread.is_alive()

    def give_up(self) -> None:
        self._over = True
        self._going.set()

    def _run(self) -> None:
        said = self._play.said
        due = time.monotonic()
        try:
            for at in range(0, len(said), CHUNK):
                time.sleep(max(0.0, due - time.monotonic()))
                due += self._every_s
                while not self._over:
                    if not self._going.is_set():
                        self._going.wait()
                        due = time.monotonic() + self._every_s
                    with self._between:
                        if self._going.is_set() and not self._over:
                            self._road.publish(said[at : at + CHUNK])
                            self.said += len(said[at : at + CHUNK])
                            break
        except BaseException as error:  # told by ``end``
            self.error = error


class Clocked(Service):
    """Goes by *clock*, where there is one."""

    clock: Clock | None = None

    def launch(self) -> None:
        with patch.dict(os.environ, {} if self.clock is None else self.clock.environment):
            super().launch()


class Stage:
    """What a scenario acts on."""

    def __init__(
        self,
        road: Road,
        play: Play,
        folder: Path,
        options: dict[str, Any],
        chunks_a_second: float = CHUNKS_A_SECOND,
        clock: Clock | None = None,
    ) -> None:
        self.road = road
        self.play = play
        self.service = Clocked(
            folder,
            {
                "workers": 2,
                "supervision": {"firstBackoffS": 0.1, "healthyAfterS": 1.0},
                "limits": {"sourceWindowMessages": WINDOW, "targetWindowMessages": WINDOW},
                **ends.policies(),
                "connections": road.connections(),
                **options,
            },
        )
        self.service.clock = clock
        self.publisher = Publisher(road, play, chunks_a_second)
        self.recovered_s: list[float] = []

    # What flows.

    def delivered(self) -> int:
        return self.service.metric("deliveries_delivered_total", self.road.target_id)

    def parked(self) -> int:
        return self.service.metric("deliveries_parked_total", self.road.target_id)

    def received(self) -> int:
        return self.service.metric("messages_received_total", self.road.source_id)

    def until_delivered(self, share: float) -> None:
        """Wait for *share* of what is to come out."""
        wanted = self.play.wanted * share
        self.service.eventually(
            lambda: self.delivered() >= wanted, f"{share:.0%} delivered", PATIENCE_S
        )

    def until_still(self) -> None:
        """Nothing is under way: all that was said is through."""
        self.publisher.pause()
        self.service.eventually(lambda: self.received() >= self.publisher.said, "all received")
        self.until_settled()

    def until_settled(self) -> None:
        self.service.eventually(self.at_rest, "at rest", PATIENCE_S)

    def at_rest(self) -> bool:
        """Nothing is in flight, nothing on disk."""
        found = self.service.metrics()
        held = (
            ("messages_in_flight", self.road.source_id),
            ("deliveries_in_flight", self.road.target_id),
            ("spill_depth", self.road.target_id),
        )
        return not any(found.get((f"streamproc_{name}", of), 0.0) for name, of in held)

    def until_flowing(self, since: float | None = None) -> None:
        """Wait until something more is delivered; note how long it took *since* then."""
        began = time.monotonic() if since is None else since
        before = self.delivered()
        deadline = time.monotonic() + PATIENCE_S
        while self._delivered_or(before) <= before:
            assert time.monotonic() < deadline, "nothing flows any more"
            if self.publisher.error is not None:
                raise self.publisher.error
            if self._through():
                break
            time.sleep(0.02)
        self.recovered_s.append(time.monotonic() - began)

    def _delivered_or(self, otherwise: int) -> int:
        try:
            return self.delivered()
        except OSError:
            return otherwise

    def _through(self) -> bool:
        """Nothing is left to flow."""
        return (
            self.publisher.said == len(self.play.said)
            and self.received() >= self.publisher.said
            and self.at_rest()
        )

    def press(self) -> None:
        """Have much under way at any moment: a fault between two messages shows nothing."""
        self.road.proxy("target").slow(TARGET_DELAY_S)
        if self.road.receiver is not None:  # answers overtake each other
            self.road.receiver.behave(slowShare=0.1, slowMs=300)

    def relax(self) -> None:
        self.road.proxy("target").slow(0)

    # What scenarios do to it.

    def kill_worker_of(self, connection: str) -> None:
        (worker,) = self.service.workers_of(connection)
        pid = self.service.worker_pids()[worker]
        os.kill(pid, signal.SIGKILL)
        self.service.eventually(
            lambda: self.service.worker_pids().get(worker, pid) != pid, "started again"
        )

    def kill_master(self) -> None:
        """Its workers must drain and end by themselves."""
        workers = list(self.service.worker_pids().values())
        self.service.signal(signal.SIGKILL)
        self.service.wait()
        deadline = time.monotonic() + PATIENCE_S
        while any(alive(pid) for pid in workers):
            assert time.monotonic() < deadline, "workers outlive their master"
            time.sleep(0.05)

    def jump(self, by_s: float) -> None:
        """Move the wall clock of the service, and see that it goes by it."""
        clock = self.service.clock
        assert clock is not None
        assert all(map(clock.moves, (self.service.pid, *self.service.worker_pids().values())))
        clock.jump(by_s)

    def reload(self, change: Callable[[dict[str, Any]], None]) -> None:
        """SIGHUP, with a configuration that *change* has changed."""
        before = self.service.status()["service"]["configGeneration"]
        change(self.service.config)
        self.service.write_config()
        self.service.signal(signal.SIGHUP)
        self.service.eventually(
            lambda: self.service.status()["service"]["configGeneration"] > before,
            "the configuration taken",
        )


def lasting(short_s: float, long_s: float) -> float:
    """How long a fault lasts."""
    return long_s if FULL else short_s
