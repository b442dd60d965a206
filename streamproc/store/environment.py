"""Opens LMDB environments, and turns its errors into ours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb
import msgspec

from streamproc.errors import StreamprocError

# Space of a page and of the tree above it; free pages that a reader still holds.
OVERHEAD = 2
DATA_FILE = "data.mdb"


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
    except (lmdb.Error, OSError) as error:
        raise StoreError(f"the store {path.name!r} cannot be opened: {error}") from error
    return environment


def _reach_its_end(environment: lmdb.Environment, file: Path) -> None:
    """A file that was cut short kills whoever reads beyond its end; of zeros LMDB says that
    they are damaged.
    """
    size = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if file.stat().st_size < size:
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


def _begin(environment: lmdb.Environment, write: bool) -> lmdb.Transaction:
    try:
        return environment.begin(write=write)
    except lmdb.MapResizedError:  # by another process, which was told of a larger bound
        environment.set_mapsize(0)
        return environment.begin(write=write)
