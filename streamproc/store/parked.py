"""The dead-letter store: deliveries that a target will not take, with the reason.

Shared by all workers of a machine and by the command line; every call is one transaction.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import lmdb
import msgspec

from streamproc.config.service import Service
from streamproc.store.environment import StoreError, forced, open_environment, transaction

READ_AT_ONCE = 500
READ_BYTES_AT_ONCE = 8 << 20
EXPIRE_AT_ONCE = 1000


class Parked(msgspec.Struct, frozen=True):
    """One parked delivery. ``time`` is when it was parked, epoch seconds."""

    time: float
    connection: str
    target: int
    reason: str
    message: str
    attempts: int
    address: str
    key: str
    headers: dict[str, str]
    payload: bytes


class Bounds(msgspec.Struct, frozen=True):
    """How much may be parked."""

    max_messages: int
    max_bytes: int


class Totals(NamedTuple):
    """What is parked. ``oldest``: when the first of it was parked, None where nothing is."""

    messages: int
    size_bytes: int
    oldest: float | None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Parked).decode
_TOTALS = b"totals"
_NEXT = b"next"


class ParkedStore:
    """Entries by id; ids grow with time and are never used again."""

    def __init__(self, path: Path, bounds: Bounds) -> None:
        """Raises StoreError."""
        self._bounds = bounds
        self._environment = open_environment(path, bounds.max_bytes, databases=2)
        try:
            with transaction(self._environment, write=True) as txn:
                self._entries = self._environment.open_db(b"entries", txn)
                self._meta = self._environment.open_db(b"meta", txn)
        except StoreError:
            self._environment.close()
            raise

    def add(self, entries: Sequence[Parked], known: Sequence[int | None] = ()) -> int:
        """Keep the first of *entries* that fit, durably. -> how many.

        *known*: for each of them the id that it has here already, if any: it takes the place of
        what was there, room or not; what was dropped in the meantime stays dropped.
        """
        positions = [known[at] if known else None for at in range(len(entries))]

        def job(txn: lmdb.Transaction) -> int:
            count, size = self._totals(txn)
            number = self._number(txn, _NEXT, 1)
            taken = 0
            for before, entry in zip(positions, entries, strict=True):
                value = _encode(entry)
                if before is not None:
                    name = _name(before)
                    old = txn.get(name, db=self._entries)
                    if old is not None:
                        txn.put(name, value, db=self._entries)
                        size += len(value) - len(old)
                else:
                    full = count >= self._bounds.max_messages
                    if full or size + len(value) > self._bounds.max_bytes:
                        break
                    txn.put(_name(number), value, append=True, db=self._entries)
                    number += 1
                    count += 1
                    size += len(value)
                taken += 1
            self._note(txn, count, size)
            txn.put(_NEXT, _name(number), db=self._meta)
            return taken

        if positions.count(None) < len(positions):
            return forced(self._environment, job)
        with transaction(self._environment, write=True) as txn:
            return job(txn)

    def totals(self) -> Totals:
        """What is here now."""
        with transaction(self._environment, write=False) as txn:
            count, size = self._totals(txn)
            with txn.cursor(self._entries) as cursor:
                oldest = _decode(cursor.value()).time if cursor.first() else None
            return Totals(count, size, oldest)

    def many(self, numbers: Iterable[int], max_bytes: int) -> dict[int, Parked | None]:
        """The entries of *numbers*, in that order; None: there is none. Beyond *max_bytes* of
        them no more are read, but one in any case.
        """
        found: dict[int, Parked | None] = {}
        size = 0
        with transaction(self._environment, write=False) as txn:
            for number in numbers:
                value = txn.get(_name(number), db=self._entries)
                if value is not None:
                    size += len(value)
                    if found and size > max_bytes:
                        break
                found[number] = None if value is None else _decode(value)
        return found

    def get(self, number: int) -> Parked | None:
        """One entry, or None."""
        with transaction(self._environment, write=False) as txn:
            value = txn.get(_name(number), db=self._entries)
            return None if value is None else _decode(value)

    def select(
        self, wanted: Callable[[Parked], bool], *, after: int = 0
    ) -> Iterator[tuple[int, Parked]]:
        """Entries with an id above *after* that are *wanted*, oldest first.

        Reads in steps, so that a slow reader holds up nobody; entries that come or go in
        the meantime may be missed.
        """
        while True:
            step: list[tuple[int, Parked]] = []
            size = 0
            with (
                transaction(self._environment, write=False) as txn,
                txn.cursor(self._entries) as cursor,
            ):
                if cursor.set_range(_name(after + 1)):
                    for name, value in cursor:
                        step.append((int.from_bytes(name, "big"), _decode(value)))
                        size += len(value)
                        if len(step) == READ_AT_ONCE or size > READ_BYTES_AT_ONCE:
                            break
            if not step:
                return
            after = step[-1][0]
            for number, entry in step:
                if wanted(entry):
                    yield number, entry

    def drop(self, numbers: Iterable[int]) -> int:
        """Forget them. -> how many were there."""
        names = [_name(number) for number in numbers]

        def job(txn: lmdb.Transaction) -> int:
            dropped = 0
            count, size = self._totals(txn)
            for name in names:
                value = txn.pop(name, db=self._entries)
                if value is not None:
                    dropped += 1
                    size -= len(value)
            self._note(txn, count - dropped, size)
            return dropped

        return forced(self._environment, job)

    def expire(self, max_age_s: float, now: float | None = None) -> int:
        """Forget what was parked more than *max_age_s* ago, at most EXPIRE_AT_ONCE. -> how many."""
        before = (time.time() if now is None else now) - max_age_s
        old: list[int] = []
        for number, entry in self.select(lambda _: True):
            if entry.time >= before or len(old) == EXPIRE_AT_ONCE:
                break
            old.append(number)
        return self.drop(old) if old else 0

    def close(self) -> None:
        self._environment.close()

    def _totals(self, txn: lmdb.Transaction) -> tuple[int, int]:
        value = txn.get(_TOTALS, db=self._meta)
        if value is None:
            return 0, 0
        return int.from_bytes(value[:8], "big"), int.from_bytes(value[8:], "big")

    def _note(self, txn: lmdb.Transaction, count: int, size: int) -> None:
        txn.put(_TOTALS, _name(count) + _name(size), db=self._meta)

    def _number(self, txn: lmdb.Transaction, name: bytes, default: int) -> int:
        value = txn.get(name, db=self._meta)
        return default if value is None else int.from_bytes(value, "big")


def parked_store(service: Service) -> ParkedStore:
    """The store of *service*. Raises StoreError."""
    limits = service.limits
    bounds = Bounds(limits.parked_messages, limits.parked_bytes)
    return ParkedStore(parked_folder(service), bounds)


def parked_folder(service: Service) -> Path:
    """Where the store of *service* is, or will be."""
    return Path(service.data_dir) / "parked"


def _name(number: int) -> bytes:
    return number.to_bytes(8, "big")
