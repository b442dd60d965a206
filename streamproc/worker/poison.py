"""Finds the message that workers die of, and parks it before it kills the next one.

While a batch is worked out, or written to a target, a cell of a mapped file names the place
where that happens: two stores a batch. A file whose process is gone and whose cell is full
says where that process died. From then on the place is a suspect: whoever handles its
messages takes them one by one, with the hash of each in the cell, so that the next death
names a message. One that was in hand at ``supervision.poisonCrashes`` deaths is parked; the
death that only named the place counts for the first message that another death names. A
suspect is cleared when so many messages went well that the bad one must have been among them.

    <dataDir>/poison/hand-*       a cell per living process, locked by it: place, hash
    <dataDir>/poison/suspects     {place: suspect}, replaced as a whole, under the lock

Not seen: a crash in a thread of a client library, or while a connector parses what it reads.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

import msgspec

from streamproc.telemetry import events as tell

POISONOUS = "workers died with this message in hand"
CELL_BYTES = 24  # the place and the hash, 8 and 16 bytes
LOCK_S = 2.0  # held by others for moments only, unless they are stopped
CLEARED_AFTER = 16_384  # messages one by one: windows are smaller, and so is what comes again

# What differs when the same message comes again: AMQP's delivery tag, and what we set ourselves.
CHANGING_HEADERS = frozenset(("messageId", "correlation-id"))
CHANGING = re.compile(
    rb'"timestamp":"[^"]*"|[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}'
)

Parked = Callable[[int], None]
Park = Callable[[bytes, dict[str, str], Parked], None]


class Suspect(msgspec.Struct, forbid_unknown_fields=True):
    """A place where a process died."""

    since: float  # epoch seconds
    unnamed: int = 0  # deaths with a batch in hand
    deaths: dict[str, int] = {}  # with that message in hand, by its hash


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Suspect]).decode


class Place:
    """Where messages are handled: a source, or the target side of a connection.

    ``park``: keeps a message of a source; it is told how many, 1 or 0 when there is no room.
    Without ``poison`` nothing is ever suspected.
    """

    def __init__(self, name: str, poison: Poison | None = None, park: Park | None = None) -> None:
        self.name = name
        self.park = park
        self.number = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")
        self.suspect: Suspect | None = None
        self._poison = poison
        self._cell = memoryview(bytearray(8)).cast("Q") if poison is None else poison.cell
        self._went_well = 0

    def enter(self) -> None:
        """A batch is in hand."""
        self._cell[0] = self.number

    def leave(self) -> None:
        """It is not any more."""
        self._cell[0] = 0

    def admits(self, payload: bytes, headers: Mapping[str, str]) -> bool:
        """Take one message of a suspect place in hand; False: it is poison, and is not."""
        if self.suspect is None or self._poison is None:  # cleared in between
            self.enter()
            return True
        digest = _digest(payload, headers)
        if self._poison.condemns(self.suspect, digest.hex()):
            return False
        self._cell[1] = int.from_bytes(digest[:8], "little")
        self._cell[2] = int.from_bytes(digest[8:], "little")
        self._cell[0] = self.number  # last: a cell that names a place is complete
        return True

    def went_well(self) -> None:
        """The message in hand did no harm."""
        self._cell[0] = self._cell[1] = self._cell[2] = 0
        self._went_well += 1
        if self._went_well >= CLEARED_AFTER and self._poison is not None:
            self._poison.clear(self)

    def become(self, suspect: Suspect | None) -> None:
        """What the files say now."""
        if suspect != self.suspect:
            if self.suspect is None:
                tell.place_suspected(self.name)
            self.suspect = suspect
            self._went_well = 0


class Poison:
    """This process's cell, and what all processes know. Raises OSError when it is made."""

    def __init__(self, folder: Path, crashes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._crashes = crashes
        self._places: dict[str, Place] = {}
        self._suspects: dict[str, Suspect] = {}
        self._stamp = 0
        with self._lock():
            self.cell = self._take_cell()
        self.look()

    def place(self, name: str, park: Park | None = None) -> Place:
        """The place called *name*; for its consumers in this process it is one."""
        place = self._places.get(name)
        if place is None:
            place = self._places[name] = Place(name, self, park)
            place.become(self._suspects.get(name_of(place.number)))
        elif park is not None:
            place.park = park  # as its connection is now
        return place

    def condemns(self, suspect: Suspect, digest: str) -> bool:
        """Whether enough processes died with that message in hand."""
        deaths = suspect.deaths.get(digest, 0)
        return deaths > 0 and deaths + min(suspect.unnamed, 1) >= self._crashes

    def look(self) -> None:
        """Note who has died since, and take in what others have noted."""
        with self._guarded(), self._lock():
            for path in self._folder.glob("new-*"):  # of one that died before it had a cell
                path.unlink()
            died = [cell for path in self._folder.glob("hand-*") if (cell := _left_by(path))]
            if died:
                self._note(died)
        self.follow()

    def follow(self) -> None:
        """Take in what others have noted: one look at a file's date, for each heartbeat."""
        with self._guarded():
            try:
                stamp = (self._folder / "suspects").stat().st_mtime_ns
            except FileNotFoundError:
                stamp = 0
            if stamp == self._stamp:
                return
            self._suspects = self._read()
            self._stamp = stamp
            for place in self._places.values():
                place.become(self._suspects.get(name_of(place.number)))

    def clear(self, place: Place) -> None:
        """All is well there."""
        with self._guarded(), self._lock():
            suspects = self._read()
            if suspects.pop(name_of(place.number), None) is not None:
                self._write(suspects)
                tell.place_cleared(place.name)
        self.follow()
        place.become(None)

    def close(self) -> None:
        """Nothing is in hand, and nothing will be."""
        self._file.unlink(missing_ok=True)
        os.close(self._fd)  # the cell stays mapped: places may still be left

    def _take_cell(self) -> memoryview[int]:
        """A file of our own, locked before others can see it."""
        self._fd, path = tempfile.mkstemp(prefix="new-", dir=self._folder)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        # Written, not left sparse: a disk without room is an error here, not a signal later.
        os.write(self._fd, bytes(mmap.PAGESIZE))
        self._file = self._folder / f"hand-{Path(path).name.removeprefix('new-')}"
        Path(path).rename(self._file)
        return memoryview(mmap.mmap(self._fd, mmap.PAGESIZE))[:CELL_BYTES].cast("Q")

    def _note(self, died: list[bytes]) -> None:
        suspects = self._read()
        for cell in died:
            name = name_of(int.from_bytes(cell[:8], "little"))
            suspect = suspects.setdefault(name, Suspect(time.time()))
            digest = cell[8:].hex()
            if any(cell[8:]):
                suspect.deaths[digest] = suspect.deaths.get(digest, 0) + 1
            else:
                suspect.unnamed += 1
        self._write(suspects)

    def _read(self) -> dict[str, Suspect]:
        try:
            return _decode((self._folder / "suspects").read_bytes())
        except FileNotFoundError:
            return {}

    def _write(self, suspects: dict[str, Suspect]) -> None:
        fresh = self._folder / "suspects.new"
        with fresh.open("wb") as file:
            file.write(_encode(suspects))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._folder / "suspects")

    @contextmanager
    def _lock(self) -> Iterator[None]:
        fd = os.open(self._folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            _take_lock(fd)
            yield
        finally:
            os.close(fd)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Files that fail, or that another version wrote, stop no message."""
        try:
            yield
        except (OSError, msgspec.MsgspecError) as error:
            tell.poison_unknown(str(error))


def name_of(number: int) -> str:
    """How a place is called in the file."""
    return f"{number:016x}"


def _take_lock(fd: int) -> None:
    """Raises TimeoutError, an OSError."""
    deadline = time.monotonic() + LOCK_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise TimeoutError(f"its lock is held for more than {LOCK_S:g} s") from None
            time.sleep(0.005)
        else:
            return


def _left_by(path: Path) -> bytes | None:
    """What the process of this file had in hand, if it is gone and had. Its file goes, too."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None  # it lives
    else:
        cell = os.pread(fd, CELL_BYTES, 0)
        path.unlink(missing_ok=True)
        return cell if any(cell[:8]) else None
    finally:
        os.close(fd)


def _digest(payload: bytes, headers: Mapping[str, str]) -> bytes:
    lasting = sorted(item for item in headers.items() if item[0] not in CHANGING_HEADERS)
    text = repr(lasting).encode() + b"\n" + payload
    return blake2b(CHANGING.sub(b"", text), digest_size=16).digest()
