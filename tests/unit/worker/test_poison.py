"""Deaths are remembered by place, then by message; what kills again and again is condemned.
The processes that die here are real ones.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from streamproc.telemetry import events as tell
from streamproc.worker import poison as module
from streamproc.worker.poison import Place, Poison

DIE = """
import os, sys
from pathlib import Path
from streamproc.worker.poison import Poison
place = Poison(Path(sys.argv[1]), int(sys.argv[2])).place("source 0 of c")
if place.suspect is None:
    place.enter()
elif not place.admits(sys.argv[3].encode(), {"messageId": str(os.getpid())}):
    sys.exit(7)
if "well" in sys.argv:
    place.leave()
os.abort()
"""
CONDEMNED = 7


def die(folder: Path, payload: str = "bad", *more: str, crashes: int = 3) -> int:
    """A worker that dies with *payload* in hand; -> its exit code."""
    command = [sys.executable, "-c", DIE, str(folder), str(crashes), payload, *more]
    return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode


def place(folder: Path, name: str = "source 0 of c") -> Place:
    return Poison(folder, 3).place(name)


def test_a_death_with_nothing_in_hand_makes_nobody_a_suspect(tmp_path: Path) -> None:
    assert die(tmp_path, "good", "well") < 0
    assert place(tmp_path).suspect is None
    assert not list(tmp_path.glob("new-*"))


def test_a_death_with_a_batch_in_hand_makes_its_place_a_suspect_and_no_other(
    tmp_path: Path,
) -> None:
    assert die(tmp_path) < 0
    suspect = place(tmp_path).suspect
    assert suspect is not None
    assert (suspect.unnamed, suspect.deaths) == (1, {})
    assert place(tmp_path, "source 1 of c").suspect is None


def test_a_message_is_condemned_at_the_third_death_and_others_are_not(tmp_path: Path) -> None:
    codes = [die(tmp_path) for _ in range(5)]
    assert [code == CONDEMNED for code in codes] == [False, False, False, True, True]
    here = place(tmp_path)
    assert not here.admits(b"bad", {})
    assert here.admits(b"good", {})


def test_a_death_that_only_named_the_place_condemns_nobody(tmp_path: Path) -> None:
    """Killed by hand, many times over, while batches were in hand."""
    first = Poison(tmp_path, 3)
    here = first.place("source 0 of c")
    for _ in range(5):
        first._note([here.number.to_bytes(8, "little") + bytes(16)])
    first.look()
    assert here.suspect is not None
    assert here.suspect.unnamed == 5
    assert here.admits(b"any", {})


def test_deaths_with_different_messages_in_hand_condemn_none(tmp_path: Path) -> None:
    assert [die(tmp_path, payload) < 0 for payload in ("a", "b", "c", "d")] == [True] * 4
    here = place(tmp_path)
    assert all(here.admits(payload, {}) for payload in (b"a", b"b", b"c", b"d"))


def test_more_deaths_can_be_asked_for(tmp_path: Path) -> None:
    codes = [die(tmp_path, crashes=5) for _ in range(6)]
    assert [code == CONDEMNED for code in codes] == [False] * 5 + [True]


def test_a_living_worker_hears_of_the_death_of_another(tmp_path: Path) -> None:
    """The client of a dead worker moves: its new worker must not take the batch as a whole."""
    mine = Poison(tmp_path, 3)
    here = mine.place("source 0 of c")
    assert die(tmp_path) < 0
    mine.look()
    assert here.suspect is not None


def test_what_one_noted_others_follow(tmp_path: Path) -> None:
    mine, other = Poison(tmp_path, 3), Poison(tmp_path, 3)
    here = mine.place("source 0 of c")
    assert die(tmp_path) < 0
    other.look()
    assert here.suspect is None
    mine.follow()
    assert here.suspect is not None


def test_a_living_worker_with_a_batch_in_hand_is_no_death(tmp_path: Path) -> None:
    mine = Poison(tmp_path, 3)
    mine.place("source 0 of c").enter()
    assert place(tmp_path).suspect is None


def test_an_end_in_peace_leaves_nothing(tmp_path: Path) -> None:
    Poison(tmp_path, 3).close()
    assert not list(tmp_path.glob("hand-*"))


def test_a_suspect_is_cleared_for_all_when_enough_went_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLEARED_AFTER", 3)
    assert die(tmp_path) < 0
    mine, other = Poison(tmp_path, 3), Poison(tmp_path, 3)
    here, there = mine.place("source 0 of c"), other.place("source 0 of c")
    for number in range(3):
        assert there.suspect is not None
        assert here.admits(b"%d" % number, {})
        here.went_well()
        other.follow()
    assert here.suspect is None
    assert there.suspect is None
    assert there.admits(b"any", {})


def test_a_message_is_known_again_whatever_changes_when_it_comes_again(tmp_path: Path) -> None:
    def digest(stamp: str, correlation: str, tag: str, value: str = "1") -> bytes:
        payload = f'{{"headers":{{"correlation-id":"{correlation}"}},"timestamp":"{stamp}"'
        return module._digest(
            f'{payload},"value":{value}}}'.encode(),
            {"correlation-id": correlation, "messageId": tag, "device": "d"},
        )

    first = digest("2026-01-01T00:00:00Z", "0123abcd-0123-4abc-a123-0123456789ab", "1")
    again = digest("2027-12-31T23:59:59.123456Z", "ffffffff-ffff-4fff-afff-ffffffffffff", "2")
    other = digest("2026-01-01T00:00:00Z", "0123abcd-0123-4abc-a123-0123456789ab", "1", "2")
    assert first == again != other


def test_a_file_that_another_version_wrote_stops_nothing(tmp_path: Path) -> None:
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "suspects").write_bytes(b"[[[")
    here = place(tmp_path)
    assert here.suspect is None
    assert here.admits(b"any", {})


def test_a_lock_that_is_never_let_go_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its holder may be stopped, or wait for a disk that does not answer."""
    told: list[str] = []
    monkeypatch.setattr(module, "LOCK_S", 0.05)
    monkeypatch.setattr(tell, "poison_unknown", told.append)
    poison = Poison(tmp_path, 3)
    assert die(tmp_path) != CONDEMNED
    with (tmp_path / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        poison.look()
        assert told == ["its lock is held for more than 0.05 s"]
        assert poison.place("source 0 of c").suspect is None
        with pytest.raises(OSError, match="its lock is held"):
            Poison(tmp_path, 3)
    poison.look()
    assert poison.place("source 0 of c").suspect is not None


def test_a_place_parks_as_its_connection_is_now(tmp_path: Path) -> None:
    poison = Poison(tmp_path, 3)
    before, after = (lambda *_: None), (lambda *_: None)
    assert poison.place("source 0 of c", before).park is before
    assert poison.place("source 0 of c", after).park is after
