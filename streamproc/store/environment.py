"""Opens LMDB environments, and turns its errors into ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb

from streamproc.errors import StreamprocError

# Space of a page and of the tree above it; free pages that a reader still holds.
OVERHEAD = 2


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
        return lmdb.open(
            str(path),
            map_size=max(1 << 20, max_bytes * OVERHEAD),
            max_dbs=databases,
            mode=0o600,
            max_readers=256,
        )
    except (lmdb.Error, OSError) as error:
        raise StoreError(f"the store {path.name!r} cannot be opened: {error}") from error


@contextmanager
def transaction(environment: lmdb.Environment, *, write: bool) -> Iterator[lmdb.Transaction]:
    """All or nothing; durable when it ends. Raises StoreFull or StoreError."""
    try:
        with environment.begin(write=write) as txn:
            yield txn
    except lmdb.MapFullError as error:
        raise StoreFull("the store has no room left") from error
    except (lmdb.Error, OSError) as error:
        raise StoreError(f"the store failed: {error}") from error
