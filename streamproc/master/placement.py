"""Decides which worker runs which client. Pure; the same answer for the same question.

Workers are ranked for each connection by weighted rendezvous hashing: the score of a worker
depends on nothing but the connection and itself. The clients of a connection are dealt out in
that order, so that

- the numbers of its clients on two workers differ by at most one, and how many a worker gets
  depends on the workers there are, not on what happened before;
- a worker that goes moves its own clients and no other; a worker that comes takes what is its
  share, and no client moves but to it;
- a connection with one client is always on its best worker (classic rendezvous hashing).

With several clients *which* of them a worker has must depend on where they were: for three
workers and two clients no fixed table moves only what it must (going round the three ways to
replace one worker ends with the clients swapped). So the places they have are an input.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from hashlib import blake2b

Clients = Mapping[str, int]  # connection id -> number of clients
Client = tuple[str, int]  # connection id, index


def place(
    clients: Clients, workers: Mapping[int, float], places: Mapping[Client, int]
) -> dict[Client, int]:
    """Where each client should be, with *workers* (index -> weight > 0) and *places* so far.

    Without workers nothing has a place.
    """
    if not workers:
        return {}
    placed: dict[Client, int] = {}
    for connection, count in clients.items():
        placed |= _deal(connection, count, workers, places)
    return placed


def _deal(
    connection: str, count: int, workers: Mapping[int, float], places: Mapping[Client, int]
) -> dict[Client, int]:
    room = _shares(connection, count, workers)
    placed: dict[Client, int] = {}
    homeless: list[Client] = []
    at: dict[int, list[Client]] = {}
    for index in range(count):
        client = (connection, index)
        at.setdefault(places.get(client, -1), []).append(client)
    for worker, residents in at.items():
        stay = room.get(worker, 0)
        residents.sort(key=lambda client: -_score(f"{client[0]}#{client[1]}", worker, 1.0))
        placed |= dict.fromkeys(residents[:stay], worker)
        homeless += residents[stay:]
        if stay:
            room[worker] -= min(stay, len(residents))
    for client in sorted(homeless):
        name = f"{client[0]}#{client[1]}"
        free = [worker for worker, left in room.items() if left > 0]
        worker = max(free, key=lambda worker: _score(name, worker, workers[worker]))
        placed[client] = worker
        room[worker] -= 1
    return placed


def _shares(connection: str, count: int, workers: Mapping[int, float]) -> dict[int, int]:
    """How many clients of the connection each worker gets; the best-ranked get the odd ones."""
    each, odd = divmod(count, len(workers))
    ranked = sorted(workers, key=lambda worker: -_score(connection, worker, workers[worker]))
    return {worker: each + (rank < odd) for rank, worker in enumerate(ranked)}


def _score(name: str, worker: int, weight: float) -> float:
    """Weighted rendezvous: the chance to be the best is proportional to the weight."""
    digest = blake2b(f"{worker}/{name}".encode(), digest_size=8).digest()
    fraction = (int.from_bytes(digest, "big") + 1) / (2**64 + 1)  # in (0, 1)
    return -weight / math.log(fraction)
