"""A suspect place: its messages are handled one by one, and poison is parked, not processed."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamproc.connectors.base import Batch, Verdict
from streamproc.kernels.settlement import Entry, Window
from streamproc.telemetry.slots import Block
from streamproc.worker import intake as module
from streamproc.worker.intake import Intake, IntakeMetrics
from streamproc.worker.poison import Parked, Place, Poison, Suspect, _digest
from tests.unit.worker.script import until
from tests.unit.worker.test_intake import ScriptedSource

BAD = b"bad"


class Suspected:
    """An intake whose place is a suspect, and one message of it condemned."""

    def __init__(self, folder: Path, *rooms: int) -> None:
        self.batches: list[list[bytes]] = []
        self.parked: list[bytes] = []
        self._rooms = list(rooms)  # whether there is room, by attempt; then there is
        poison = Poison(folder / "poison", 3)
        self.place: Place = poison.place("source 0 of c", self._park)
        deaths = {_digest(BAD, {}).hex(): 2}
        self.place.become(Suspect(0.0, 1, deaths))
        self.source = ScriptedSource()
        self.intake = Intake(
            "c",
            "0",
            "source 0/0 q",
            self.source,
            self._flow,
            max_messages=100,
            max_bytes=1 << 20,
            at_once=False,
            metrics=IntakeMetrics.of(Block.create(folder / "metrics"), "c", "0"),
            changed=lambda: None,
            place=self.place,
        )

    def put(self, *payloads: bytes) -> None:
        tokens = list(range(len(payloads)))
        self.source.next.put_nowait(Batch(list(payloads), [{} for _ in payloads], tokens, "p"))

    def settled(self) -> set[int]:
        assert all(verdict is Verdict.ACCEPT for _, _, verdict, _ in self.source.settled)
        return {token for _, tokens, _, _ in self.source.settled for token in tokens}

    def _flow(self, batch: Batch, entries: list[Entry], window: Window) -> None:
        self.batches.append(batch.payloads)
        window.release(entries)

    def _park(self, payload: bytes, headers: dict[str, str], then: Parked) -> None:
        room = self._rooms.pop(0) if self._rooms else 1
        if room:
            self.parked.append(payload)
        then(room)


async def test_poison_is_parked_and_settled_and_the_others_go_one_by_one(tmp_path: Path) -> None:
    bench = Suspected(tmp_path)
    bench.put(b"a", BAD, b"b")
    await until(lambda: bench.settled() == {0, 1, 2})
    assert bench.batches == [[b"a"], [b"b"]]
    assert bench.parked == [BAD]
    await bench.intake.close()


async def test_poison_without_room_waits_and_is_settled_only_when_it_is_safe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PARKING_FULL_WAIT_S", 0.01)
    bench = Suspected(tmp_path, 0, 0)
    bench.put(BAD, b"b")
    await until(lambda: bench.settled() == {1})
    assert bench.intake.window.messages
    await until(lambda: bench.settled() == {0, 1})
    assert bench.parked == [BAD]
    await bench.intake.close()


async def test_a_place_that_is_cleared_gets_batches_again(tmp_path: Path) -> None:
    bench = Suspected(tmp_path)
    bench.place.become(None)
    bench.put(b"a", BAD, b"b")
    await until(lambda: bench.settled() == {0, 1, 2})
    assert bench.batches == [[b"a", BAD, b"b"]]
    await bench.intake.close()
