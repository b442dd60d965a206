"""``python -P walk.py FOLDER``: reads every page of a store that may be cut short.

A process of its own, since it is killed where a page is not there. Changes nothing.
"""

from __future__ import annotations

import sys

import lmdb


def main(folder: str) -> int:
    """0: all that is of use is there."""
    with lmdb.open(folder, max_dbs=16) as environment:
        with environment.begin() as txn:
            for name in list(txn.cursor().iternext(values=False)):
                found = environment.open_db(name, txn, create=False)
                for _, value in txn.cursor(found):
                    bytes(value)
        with environment.begin(write=True) as txn:  # reads the list of free pages
            txn.put(b"walk", b"")
            txn.abort()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
