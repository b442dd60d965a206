"""A process that uses the stores until it is killed: what it says is what it was promised.

``append DIR``: appends to a queue for ever, and prints each number once it is durable.
``drain DIR``: reads a queue, prints each number as delivered, then deletes it.
``park DIR``: parks for ever, and prints how many were taken.
``fill DIR BYTES``: appends to a queue and parks, with files bounded to BYTES, until both fail;
then lifts the bound and goes on. Prints a line of JSON.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from streamproc.store.environment import StoreError, StoreFull
from streamproc.store.parked import Bounds, Parked, ParkedStore
from streamproc.store.queue import Entry, Queue

ROOM = 64 << 20


def entry(number: int) -> Entry:
    return Entry(0, f"k{number % 7}", f"a/{number}", {}, b"x" * 300, 0)


def parked(number: int) -> Parked:
    return Parked(1.0, "c", 0, "r", "m", 1, f"a/{number}", "k", {}, b"x" * 300)


def say(text: object) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def append(folder: Path) -> None:
    queue = Queue(folder, ROOM)
    number = 0
    while True:
        batch = [entry(number + i) for i in range(5)]
        queue.append(batch)
        number += len(batch)
        say(number)


def drain(folder: Path) -> None:
    queue = Queue(folder, ROOM)
    position = 0
    while found := queue.read(position, 20):
        for number, each in found:
            say(each.address)
            position = number + 1
        queue.delete([number for number, _ in found])
    say("end")


def park(folder: Path) -> None:
    store = ParkedStore(folder, Bounds(1 << 30, ROOM))
    number = 0
    while True:
        number += store.add([parked(number + i) for i in range(5)])
        say(number)


def fill(folder: Path, size: int) -> None:
    queue = Queue(folder / "queue", ROOM)
    store = ParkedStore(folder / "parked", Bounds(1 << 30, ROOM))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    told: dict[str, object] = {}
    kept = taken = 0
    try:
        while True:
            queue.append([entry(kept + i) for i in range(20)])
            kept += 20
    except StoreError as error:
        told["queue"] = [str(error), isinstance(error, StoreFull), kept]
    try:
        while True:
            taken += store.add([parked(taken + i) for i in range(20)])
    except StoreError as error:
        told["parked"] = [str(error), isinstance(error, StoreFull), taken]
    # What is there can be read, and taken away, on a full disk.
    told["read"] = len(queue.read(0, kept))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    try:
        queue.append([entry(kept)])
        taken += store.add([parked(taken)])
        told["after"] = [queue.count, taken]
    except StoreError as error:
        told["after"] = str(error)
    say(json.dumps(told))


if __name__ == "__main__":
    what, where = sys.argv[1], Path(sys.argv[2])
    if what == "fill":
        fill(where, int(sys.argv[3]))
    else:
        {"append": append, "drain": drain, "park": park}[what](where)
