"""Opens LMDB environments, and turns its errors into ours."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import lmdb
import msgspec

from streamproc.errors import StreamprocError

# Space of a page and of the tree above it; free pages that a reader still holds.
OVERHEAD = 2
DATA_FILE = "data.mdb"
WALK_S = 300.0
# Beyond the bound, by and by, for what must be written although nothing is free.
SPARES_BYTES = (16 << 20, 64 << 20, 256 << 20)

T = TypeVar("T")


class StoreError(StreamprocError):
    """The store cannot be read or written: a full disk, a damaged file, a missing right."""

    code = "store_failed"
    status = 507


class StoreFull(StoreError):
    """No room within its bound: what is there must be drained, replayed or dropped first."""

    code = "store_full"


def open_environment(path: Path, max_bytes: int, databases: int) -> lmdb.Environment:
    """*max_bytes* of content. Commits are durable. Raises StoreError."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        environment = lmdb.open(
            str(path),
            map_size=max(1 << 20, max_bytes * OVERHEAD),
            max_dbs=databases,
            mode=0o600,
            max_readers=256,
        )
        try:
            # Readers that were killed would keep deleted pages from being used again.
            environment.reader_check()
            _reach_its_end(environment, path / DATA_FILE)
        except BaseException:
            environment.close()
            raise
    except (lmdb.Error, OSError, subprocess.SubprocessError) as error:
        raise StoreError(f"the store {path.name!r} cannot be opened: {error}") from error
    return environment


def _reach_its_end(environment: lmdb.Environment, file: Path) -> None:
    """Whoever reads beyond the end of a file that was cut short is killed. It may also be short
    because its last pages were never of use: then it is made as long as it says it is.
    """
    size = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if file.stat().st_size >= size:
        return
    run = subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-P", str(Path(__file__).with_name("walk.py")), str(file.parent)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=WALK_S,
        check=False,
    )
    if run.returncode != 0:
        raise StoreError(f"the store {file.parent.name!r} is damaged: its file was cut short")
    descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.posix_fallocate(descriptor, 0, size)  # grows, and never shrinks, the file
    finally:
        os.close(descriptor)


@contextmanager
def transaction(environment: lmdb.Environment, *, write: bool) -> Iterator[lmdb.Transaction]:
    """All or nothing; durable when it ends. Raises StoreFull or StoreError."""
    try:
        with _begin(environment, write) as txn:
            yield txn
    except lmdb.MapFullError as error:
        raise StoreFull("the store has no room left") from error
    except (lmdb.Error, OSError, msgspec.MsgspecError) as error:
        raise StoreError(f"the store failed: {error}") from error


def forced(environment: lmdb.Environment, job: Callable[[lmdb.Transaction], T]) -> T:
    """Run *job* as a transaction that makes room: to delete, pages are written anew, and where
    none is free the file grows. Without that what is full would stay so for ever.

    *job* may run again, from the start. No other transaction of this process may be open.
    """
    for spare in SPARES_BYTES:
        try:
            with transaction(environment, write=True) as txn:
                return job(txn)
        except StoreFull:
            environment.set_mapsize(environment.info()["map_size"] + spare)
    with transaction(environment, write=True) as txn:
        return job(txn)


def _begin(environment: lmdb.Environment, write: bool) -> lmdb.Transaction:
    try:
        return environment.begin(write=write)
    except lmdb.MapResizedError:  # by another process, which was told of a larger bound
        environment.set_mapsize(0)
        return environment.begin(write=write)
