"""A durable queue: appended at one end, read from the other, deleted when confirmed.

One process at a time uses it: it belongs to a client, and takes its place along with it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import lmdb
import msgspec

from streamproc.store.environment import (
    StoreError,
    StoreFull,
    forced,
    open_environment,
    transaction,
)

READ_BYTES_AT_ONCE = 8 << 20
_TOTALS = b"totals"  # in "meta": count, bytes, next


class QueueInUse(StoreError):
    """Another process, or another part of this one, has the queue."""


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One delivery, as it is kept."""

    target: int
    key: str
    address: str
    headers: dict[str, str]
    payload: bytes
    attempts: int
    born: float = 0.0  # when it was first to be delivered, epoch seconds; 0: not known


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


class Queue:
    """Entries by number. Numbers only grow; what is appended is durable when it returns."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        """Raises StoreError, also when another process has it."""
        self._max_bytes = max_bytes
        self._lock = _lock(path)
        try:
            self._environment = open_environment(path, max_bytes, databases=2)
        except StoreError:
            os.close(self._lock)
            raise
        try:
            with transaction(self._environment, write=True) as txn:
                self._entries = self._environment.open_db(b"entries", txn)
                self._meta = self._environment.open_db(b"meta", txn)
            self.count, self.size_bytes, self.next = self._measure()
        except StoreError:
            self.close()
            raise

    def append(self, entries: Sequence[Entry]) -> int:
        """Keep the first of *entries* that fit, in this order. -> how many; their numbers
        end below ``next``.

        Raises StoreFull when not even one fits.
        """
        size = 0
        encoded: list[bytes] = []
        for entry in entries:
            value = _encode(entry)
            if self.size_bytes + size + len(value) > self._max_bytes:
                break
            encoded.append(value)
            size += len(value)
        if entries and not encoded:
            raise StoreFull(f"{self.size_bytes} of {self._max_bytes} bytes are used")
        first = self.next
        with transaction(self._environment, write=True) as txn:
            for number, value in enumerate(encoded, first):
                txn.put(_name(number), value, append=True, db=self._entries)
            count, size = self.count + len(encoded), self.size_bytes + size
            self._note(txn, count, size, first + len(encoded))
        self.next, self.count, self.size_bytes = first + len(encoded), count, size
        return len(encoded)

    def read(self, start: int, most: int) -> list[tuple[int, Entry]]:
        """At most *most* entries from number *start* on, in order; fewer where they are large."""
        found: list[tuple[int, Entry]] = []
        size = 0
        with (
            transaction(self._environment, write=False) as txn,
            txn.cursor(self._entries) as cursor,
        ):
            if cursor.set_range(_name(start)):
                for name, value in cursor:
                    if len(found) == most or size > READ_BYTES_AT_ONCE:
                        break
                    size += len(value)
                    found.append((int.from_bytes(name, "big"), _decode(value)))
        return found

    def delete(self, numbers: Iterable[int]) -> None:
        """They are confirmed; those that are gone already do no harm."""
        names = [_name(number) for number in numbers]

        def job(txn: lmdb.Transaction) -> tuple[int, int]:
            count, size = self.count, self.size_bytes
            for name in names:
                value = txn.pop(name, db=self._entries)
                if value is not None:
                    count -= 1
                    size -= len(value)
            self._note(txn, count, size, self.next)
            return count, size

        self.count, self.size_bytes = forced(self._environment, job)

    def close(self) -> None:
        """Let another process have it."""
        self._environment.close()
        os.close(self._lock)

    def _note(self, txn: lmdb.Transaction, count: int, size: int, after: int) -> None:
        txn.put(_TOTALS, _name(count) + _name(size) + _name(after), db=self._meta)

    def _measure(self) -> tuple[int, int, int]:
        """Count, bytes, next. Entries are counted where another version wrote them: it may not
        have noted what it did.
        """
        with (
            transaction(self._environment, write=False) as txn,
            txn.cursor(self._entries) as cursor,
        ):
            count = txn.stat(self._entries)["entries"]
            after = int.from_bytes(cursor.key(), "big") + 1 if cursor.last() else 1
            noted = txn.get(_TOTALS, db=self._meta)
            if noted is not None:
                known, size, last = (int.from_bytes(noted[at : at + 8], "big") for at in (0, 8, 16))
                if known == count and last >= after:
                    return count, size if count else 0, last
            size = sum(len(value) for value in cursor.iternext(keys=False)) if cursor.first() else 0
            return count, size, after


def _lock(path: Path) -> int:
    descriptor = -1
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path / "owner", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if descriptor >= 0:
            os.close(descriptor)
            raise QueueInUse("the queue is in use by another process") from error
        raise StoreError(f"the queue {path.name!r} cannot be opened: {error}") from error
    return descriptor


def _name(number: int) -> bytes:
    return number.to_bytes(8, "big")
