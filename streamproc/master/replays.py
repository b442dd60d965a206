"""Asks the workers to replay parked deliveries, and puts their answers together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from streamproc.control import Outcome, Replay, Replayed

MAX_ENTRIES = 1000  # of one question
MAX_QUESTIONS = 8  # at a time
ANSWER_S = 15.0  # workers wait 5 s for receipts

# Of several answers about one entry the first of these counts: a worker knows of its own.
_ORDER: tuple[Outcome, ...] = ("delivered", "spilled", "parked", "waiting", "missing")
OUTCOMES = (*_ORDER, "unplaced")


class Asked(Protocol):
    """A worker process."""

    def replay(self, message: Replay) -> bool:
        """-> whether it was told."""


class Busy(Exception):
    """As many questions as may be are open."""


class _Question:
    def __init__(self, number: int) -> None:
        self.number = number
        self.open: set[int] = set()  # workers that have not answered
        self.found: dict[int, Outcome] = {}
        self.done = asyncio.Event()

    def answered(self, worker: int, outcomes: Mapping[int, Outcome]) -> None:
        for entry, outcome in outcomes.items():
            before = self.found.get(entry)
            if before is None or _ORDER.index(outcome) < _ORDER.index(before):
                self.found[entry] = outcome
        self.open.discard(worker)
        if not self.open:
            self.done.set()


class Replays:
    """Every worker is asked; the one where the client of an entry lives sends it."""

    def __init__(self, workers: Mapping[int, Asked]) -> None:
        self._workers = workers
        self._questions: dict[int, _Question] = {}
        self._last = 0

    async def replay(self, entries: list[int]) -> dict[str, list[int]]:
        """-> the ids of *entries* by outcome; unplaced: no worker has their client now.

        Raises Busy.
        """
        if len(self._questions) >= MAX_QUESTIONS:
            raise Busy
        self._last += 1
        question = self._questions[self._last] = _Question(self._last)
        try:
            message = Replay(question.number, entries)
            question.open = {
                index for index, worker in self._workers.items() if worker.replay(message)
            }
            if question.open:
                try:
                    async with asyncio.timeout(ANSWER_S):
                        await question.done.wait()
                except TimeoutError:
                    pass  # those of the silent one are unplaced: they may be asked for again
        finally:
            del self._questions[question.number]
        outcomes: dict[str, list[int]] = {outcome: [] for outcome in OUTCOMES}
        for entry in dict.fromkeys(entries):
            outcomes[question.found.get(entry, "unplaced")].append(entry)
        return outcomes

    def heard(self, worker: int, message: Replayed) -> None:
        """An answer; one that comes too late helps nobody."""
        question = self._questions.get(message.number)
        if question is not None:
            question.answered(worker, message.outcomes)

    def gone(self, worker: int) -> None:
        """It will not answer any more."""
        for question in self._questions.values():
            question.answered(worker, {})
