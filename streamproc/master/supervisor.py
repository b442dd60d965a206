"""Decides when workers start, stop and are given up: (state, event) -> actions, and no I/O.

Promises, each a rule in ``tests/unit/master/test_supervisor.py``:

- a slot has at most one process; a worker that died is started again, the first time at once,
  then with growing waits, until it has lived ``healthy_after_s``
- a worker that does not become ready, or falls silent, is terminated; one that was terminated
  and lives on is killed
- a worker that says no restart helps gets none; one that dies too often ends the service
- Stop asks every worker to drain and kills what is left at the deadline; a second Stop kills
- the service ends when no worker is left, and says whether all drained
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from streamproc.config.service import Supervision
from streamproc.control import EXIT_CONFIG, EXIT_STOPPED

GRACE_S = 5.0  # from terminate, or from the end of a drain, to kill
RESTART_GRACE_S = 5.0  # a worker that is back within it keeps its clients
LOOP_CRASHES = 3  # in a row: it loses its clients until it has proved itself

State = Literal["down", "starting", "ready", "ending", "barred"]


@dataclass(frozen=True)
class Ready:
    """The process of *slot* can be told what to run."""

    slot: int


@dataclass(frozen=True)
class Beat:
    """Any sign of life."""

    slot: int


@dataclass(frozen=True)
class Exited:
    """The process of *slot* is gone. ``left``: what it said it had not settled."""

    slot: int
    code: int  # negative: the signal
    left: int = 0


@dataclass(frozen=True)
class Distrust:
    """The worker breaks the protocol, or does not do what it was told in any decent time."""

    slot: int
    reason: str


@dataclass(frozen=True)
class Stop:
    """Somebody wants the service to end; the second time, now."""


@dataclass(frozen=True)
class Tick:
    """Time passes. Comes several times within the shortest deadline."""


@dataclass(frozen=True)
class Spawn:
    """Start the process of *slot*."""

    slot: int


@dataclass(frozen=True)
class Ask:
    """Tell it to drain and end."""

    slot: int
    drain_s: float


@dataclass(frozen=True)
class Terminate:
    """SIGTERM."""

    slot: int
    reason: str


@dataclass(frozen=True)
class Kill:
    """SIGKILL."""

    slot: int
    reason: str


@dataclass(frozen=True)
class Halt:
    """No worker is left and none will be started: end. ``clean``: all had drained."""

    reason: str
    clean: bool


Event = Ready | Beat | Exited | Distrust | Stop | Tick
Action = Spawn | Ask | Terminate | Kill | Halt


@dataclass
class Slot:
    """A worker index and its process, if any. Times are the caller's clock, seconds."""

    hold_until: float  # till then its clients wait for it to be ready
    since: float  # when the state began
    state: State = "down"
    start_at: float = 0.0  # down: when to start it
    served: bool = False  # its process has been ready
    seen: float = 0.0  # last sign of life
    kill_at: float = math.inf  # ending: when to kill it
    killed: bool = False
    crashes: int = 0  # in a row
    starts: int = 0

    @property
    def alive(self) -> bool:
        """Whether it has a process."""
        return self.state in ("starting", "ready", "ending")


class Supervisor:
    """All slots. ``jitter`` gives numbers in [0, 1)."""

    def __init__(
        self, workers: int, rules: Supervision, jitter: Callable[[], float], now: float
    ) -> None:
        self.slots = [Slot(hold_until=now + rules.start_s, since=now) for _ in range(workers)]
        self.rules = rules
        self.stopping = False
        self.reason = "stopped"  # why it ends
        self._jitter = jitter
        self._stops = 0
        self._clean = True
        self._halted = False
        self._now = now

    def step(self, now: float, event: Event) -> list[Action]:
        """Take in what happened; say what is to be done."""
        self._forgive_own_absence(now)
        actions: list[Action] = []
        match event:
            case Ready(number):
                self._ready(self.slots[number], now)
            case Beat(number):
                self.slots[number].seen = now
            case Exited(number, code, left):
                self._exited(self.slots[number], number, code, left, now)
            case Distrust(number, reason):
                if self.slots[number].state in ("starting", "ready"):
                    actions += self._terminate(number, now, reason)
            case Stop():
                self._stops += 1
                self.stopping = True
            case Tick():
                pass
        for number in range(len(self.slots)):
            actions += self._tend(number, now)
        if self.stopping and not self._halted and not any(slot.alive for slot in self.slots):
            self._halted = True
            actions.append(Halt(self.reason, self._clean))
        return actions

    def eligible(self, now: float) -> frozenset[int]:
        """Slots that clients may be placed on: ready, or due to be so in a moment.

        One that keeps dying loses its clients, unless there is no better one.
        """
        here = {
            number: slot
            for number, slot in enumerate(self.slots)
            if slot.state == "ready" or (slot.state != "barred" and now < slot.hold_until)
        }
        sound = frozenset(n for n, slot in here.items() if slot.crashes < LOOP_CRASHES)
        return sound or frozenset(here)

    def _tend(self, number: int, now: float) -> list[Action]:
        slot, rules = self.slots[number], self.rules
        match slot.state:
            case "down" if not self.stopping and now >= slot.start_at:
                slot.state, slot.since, slot.seen = "starting", now, now
                slot.starts += 1
                return [Spawn(number)]
            case "starting" if self.stopping:
                return self._terminate(number, now, "stopping, and nothing to drain")
            case "starting" if now - slot.since > rules.start_s:
                return self._terminate(number, now, f"not ready within {rules.start_s:g} s")
            case "ready" if self.stopping:
                slot.state, slot.since = "ending", now
                slot.kill_at = now + rules.drain_s + GRACE_S
                return [Ask(number, rules.drain_s)]
            case "ready" if now - slot.seen > rules.silence_s:
                return self._terminate(number, now, f"silent for {rules.silence_s:g} s")
            case "ready" if now - slot.since >= rules.healthy_after_s:
                slot.crashes = 0
            case "ending" if not slot.killed and (now >= slot.kill_at or self._stops > 1):
                slot.killed = True
                return [Kill(number, "told to end at once" if self._stops > 1 else "out of time")]
        return []

    def _ready(self, slot: Slot, now: float) -> None:
        slot.seen = now
        if slot.state == "starting":
            slot.state, slot.since, slot.served = "ready", now, True

    def _terminate(self, number: int, now: float, reason: str) -> list[Action]:
        slot = self.slots[number]
        if slot.state == "ready":
            slot.hold_until = now + RESTART_GRACE_S
        slot.state, slot.since, slot.kill_at = "ending", now, now + GRACE_S
        return [Terminate(number, reason)]

    def _exited(self, slot: Slot, number: int, code: int, left: int, now: float) -> None:
        drained = code == EXIT_STOPPED and left == 0 and not slot.killed
        if slot.state == "ready":
            slot.hold_until = now + RESTART_GRACE_S
        if self.stopping and slot.served:
            self._clean = self._clean and drained
        slot.state, slot.since = "down", now
        slot.served, slot.kill_at, slot.killed = False, math.inf, False
        if self.stopping:
            return
        slot.crashes += 1
        if code == EXIT_CONFIG:
            slot.state = "barred"
            if all(other.state == "barred" for other in self.slots):
                self._give_up("no worker can start")
        elif slot.crashes >= self.rules.crash_limit:
            self._give_up(f"worker {number} died {slot.crashes} times in a row")
        else:
            slot.start_at = now + self._backoff_s(slot.crashes)

    def _backoff_s(self, crashes: int) -> float:
        if crashes == 1:
            return 0.0
        rules = self.rules
        longest = rules.first_backoff_s * 2.0 ** min(crashes - 2, 60)
        return min(rules.max_backoff_s, longest) * (0.5 + 0.5 * self._jitter())

    def _give_up(self, reason: str) -> None:
        self.stopping, self._clean, self.reason = True, False, reason

    def _forgive_own_absence(self, now: float) -> None:
        """A master that was stopped or starved has not heard the beats that wait for it."""
        if now - self._now > self.rules.silence_s / 2:
            for slot in self.slots:
                slot.seen = now
                if slot.state == "starting":
                    slot.since = now
        self._now = now
