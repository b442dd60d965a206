"""What a worker does for the stores beside deliveries: figures, age, and queues that are nobody's.

Every worker does it. The parked store is shared and its transactions are whole, so nothing is
counted twice; a queue on disk is taken by its lock.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

from streamproc.errors import ClientNotConfigured
from streamproc.store.environment import DATA_FILE, StoreError
from streamproc.store.parked import Parked, ParkedStore, Totals
from streamproc.store.queue import Queue, QueueInUse
from streamproc.telemetry import events as tell
from streamproc.telemetry import metrics
from streamproc.telemetry.slots import Block
from streamproc.worker.parking import Parking
from streamproc.worker.writer import Writer

MOVED_AT_ONCE = 500
MIN_ROOM_BYTES = 16 << 20  # to delete what is there, pages are written anew
MOVE_AGAIN_S = 30.0  # where the parked store is full


class Upkeep:
    """Of one worker. ``spill_dir``: where clients have their queues, one folder each."""

    def __init__(self, parking: Parking, writer: Writer, block: Block, spill_dir: Path) -> None:
        self._parking = parking
        self._writer = writer
        self._block = block
        self._spill_dir = spill_dir
        self._looking = False
        self._told = ""  # why the store could not be read
        self._known: frozenset[str] = frozenset()
        self._moving = False
        self._again = False  # there may be more by now
        self._messages = block.gauge(metrics.PARKED_MESSAGES)
        self._bytes = block.gauge(metrics.PARKED_BYTES)
        self._oldest = block.gauge(metrics.PARKED_OLDEST)
        self._expired = block.counter(metrics.PARKED_EXPIRED)

    def look(self, max_age_s: float | None) -> None:
        """Drop what is parked for longer than *max_age_s*, and show what is left."""
        if self._looking:
            return
        self._looking = True

        def job(store: ParkedStore) -> tuple[int, Totals]:
            expired = 0 if max_age_s is None else store.expire(max_age_s)
            return expired, store.totals()

        def done(result: tuple[int, Totals] | StoreError) -> None:
            self._looking = False
            if isinstance(result, StoreError):
                if str(result) != self._told:
                    self._told = str(result)
                    tell.parking_failed(self._told)
                return
            self._told = ""
            expired, totals = result
            if expired:
                self._expired.add(expired)
                tell.parked_expired(expired)
            self._messages.set(totals.messages)
            self._bytes.set(totals.size_bytes)
            oldest_s = 0.0 if totals.oldest is None else time.time() - totals.oldest
            self._oldest.set(max(0.0, oldest_s))

        self._parking.use(job, done)

    def park_what_is_nobodys(self, known: Iterable[str]) -> None:
        """Queues of clients that are not *known*, and that no worker has open, are parked."""
        self._known = frozenset(known)
        self._search()

    def _search(self) -> None:
        if self._moving:
            self._again = True
            return
        self._moving = True
        self._again = False
        self._writer.submit(self._find, self._found)

    def _find(self) -> list[Path]:
        try:
            paths = sorted(self._spill_dir.iterdir())
        except OSError:
            return []  # nothing was ever spilled
        return [path for path in paths if path.is_dir() and self._is_nobodys(path)]

    def _is_nobodys(self, path: Path) -> bool:
        return unquote(path.name) not in self._known

    def _found(self, paths: list[Path] | StoreError) -> None:
        if isinstance(paths, StoreError) or not paths:
            self._moving = False
            if self._again:
                self._search()
            return
        path, rest = paths[0], paths[1:]

        def opened(queue: Queue | StoreError | None) -> None:
            if isinstance(queue, Queue):
                self._move(path, queue, rest, 0)
                return
            if isinstance(queue, StoreError):
                tell.spill_failed(str(queue))
            self._found(rest)

        self._writer.submit(lambda: _open(path) if self._is_nobodys(path) else None, opened)

    def _move(self, path: Path, queue: Queue, rest: list[Path], moved: int) -> None:
        """One transaction of each store; kept there before it is deleted here."""
        client = unquote(path.name)
        connection = client.rpartition("#")[0]

        def job(store: ParkedStore) -> int:
            batch = queue.read(0, MOVED_AT_ONCE)
            now = time.time()
            taken = store.add(
                [
                    Parked(
                        now,
                        connection,
                        entry.target,
                        ClientNotConfigured.code,
                        f"the client {client} is no longer configured",
                        entry.attempts,
                        entry.address,
                        entry.key,
                        entry.headers,
                        entry.payload,
                    )
                    for _, entry in batch
                ]
            )
            queue.delete([number for number, _ in batch[:taken]])
            if not queue.count:
                _remove(path)
            if not taken or not queue.count:
                queue.close()
            return taken

        def done(taken: int | StoreError) -> None:
            if isinstance(taken, StoreError):
                tell.spill_failed(str(taken))
                self._writer.submit(queue.close, lambda _: None)
                taken = 0
            if taken:
                drained = self._block.counter(
                    metrics.SPILL_DRAINED, connection=connection, outcome="parked"
                )
                drained.add(taken)
            if taken and queue.count:
                self._move(path, queue, rest, moved + taken)
                return
            if moved + taken or queue.count:
                tell.spill_parked(connection, moved + taken, queue.count)
            if queue.count:
                asyncio.get_running_loop().call_later(MOVE_AGAIN_S, self._search)
            self._found(rest)

        self._parking.use(job, done)


def _open(path: Path) -> Queue | None:
    """None: somebody has it."""
    try:
        size = (path / DATA_FILE).stat().st_size
    except OSError:
        size = 0
    try:
        return Queue(path, max(MIN_ROOM_BYTES, size))
    except QueueInUse:
        return None


def _remove(path: Path) -> None:
    """Elsewhere first: whoever needs a queue of that name makes a new one. What cannot be
    removed stays as it is, empty.
    """
    with suppress(OSError):
        gone = Path(tempfile.mkdtemp(prefix="gone-", dir=path.parent.parent))
        path.rename(gone / path.name)
        shutil.rmtree(gone)
