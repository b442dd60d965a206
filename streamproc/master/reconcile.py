"""Decides what each worker is told, so that no client ever runs twice. Pure: no I/O, no clock.

A client that moves or changes leaves first: it disappears from its worker's ``Assign`` and from
all ``locations`` (deliveries to it wait). Only when that worker has reported it closed, in a
report that answers that ``Assign`` or a later one, or is dead, may it be assigned anew. Until
then the worker counts as running it, whatever it was told since.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import msgspec

from streamproc.control import Assign, ClientRef, ClientReport, Report
from streamproc.master.desired import Desired
from streamproc.master.placement import Client, place

ANSWER_S = 60.0  # from an Assign to the report that answers it
CLOSE_S = 30.0  # on top of the time to drain, to let go of a client


@dataclass
class Hold:
    """One live worker process, and what it may be running."""

    clients: dict[str, ClientRef] = field(default_factory=dict)
    leaving: dict[str, tuple[int, float]] = field(default_factory=dict)  # generation, since
    unanswered: dict[int, float] = field(default_factory=dict)  # generation -> since
    told: Assign | None = None
    reports: dict[str, ClientReport] = field(default_factory=dict)

    @property
    def running(self) -> dict[str, ClientRef]:
        """What it should be running."""
        return {name: ref for name, ref in self.clients.items() if name not in self.leaving}


@dataclass(frozen=True)
class Change:
    """A client was given to a worker, or taken from it: for the log."""

    client: ClientRef
    worker: int
    given: bool


class Reconciler:
    """Feed it what happened, then ask ``plan`` what to send. Level triggered.

    *listeners*: ``host:port`` of each socket that workers are sent.
    """

    def __init__(self, desired: Desired, listeners: list[str]) -> None:
        self.desired = desired
        self.listeners = listeners
        self.generation = 0
        self.places: dict[Client, int] = {}
        self.holds: dict[int, Hold] = {}
        self._reloads = 0
        self._changes: list[Change] = []
        self._eligible: frozenset[int] = frozenset()
        self._is_planned = False  # nothing has happened since the last plan

    def want(self, desired: Desired, listeners: list[str]) -> None:
        """Another configuration."""
        self.desired, self.listeners = desired, listeners
        self._reloads += 1
        self._is_planned = False

    def worker_up(self, worker: int) -> None:
        """A new process is ready. It runs nothing."""
        self.holds[worker] = Hold()
        self._is_planned = False

    def worker_down(self, worker: int) -> None:
        """The process is gone, and with it whatever it ran."""
        self.holds.pop(worker, None)
        self._is_planned = False

    def reported(self, worker: int, report: Report) -> str | None:
        """Take in a report. -> what is wrong with it, if anything."""
        hold = self.holds.get(worker)
        if hold is None:
            return "reported before it was ready"
        hold.reports = {each.client.id: each for each in report.clients}
        for name, (generation, _) in list(hold.leaving.items()):
            if report.generation >= generation and name not in hold.reports:
                del hold.leaving[name], hold.clients[name]
                self._is_planned = False
        for generation in [g for g in hold.unanswered if g <= report.generation]:
            del hold.unanswered[generation]
        strange = sorted(hold.reports.keys() - hold.clients.keys())
        return f"runs clients it was never given: {', '.join(strange)}" if strange else None

    def plan(self, now: float, eligible: frozenset[int]) -> dict[int, Assign]:
        """What to tell which worker now; those whose orders did not change are left out."""
        if self._is_planned and eligible == self._eligible:
            return {}
        self._is_planned, self._eligible = True, eligible
        if eligible:
            counts = {name: each.client_count for name, each in self.desired.connections.items()}
            self.places = place(counts, dict.fromkeys(sorted(eligible), 1.0), self.places)
        wanted = self.desired.clients()
        self._withdraw(wanted, now)
        self._give(wanted)
        locations = {name: w for w, hold in self.holds.items() for name in hold.running}
        orders: dict[int, Assign] = {}
        for worker, hold in self.holds.items():
            assign = self._assign(hold, locations)
            if assign != hold.told:
                hold.told = assign
                hold.unanswered[self.generation + 1] = now
                orders[worker] = msgspec.structs.replace(assign, generation=self.generation + 1)
        if orders:
            self.generation += 1
        return orders

    @property
    def anything_leaves(self) -> bool:
        """Whether a client that was withdrawn may still run."""
        return any(hold.leaving for hold in self.holds.values())

    def take_changes(self) -> list[Change]:
        """What the last plans gave and took, once."""
        changes, self._changes = self._changes, []
        return changes

    def overdue(self, now: float) -> dict[int, str]:
        """Workers that do not do what they are told, and how."""
        patience_s = self.desired.service.supervision.drain_s + CLOSE_S
        late: dict[int, str] = {}
        for worker, hold in self.holds.items():
            if any(now - since > ANSWER_S for since in hold.unanswered.values()):
                late[worker] = f"did not answer for {ANSWER_S:g} s"
            for name, (_, since) in hold.leaving.items():
                if now - since > patience_s:
                    late[worker] = f"did not let go of {name} within {patience_s:g} s"
        return late

    def _withdraw(self, wanted: dict[Client, ClientRef], now: float) -> None:
        """Take away what should not be where it is, or not as it is."""
        for worker, hold in self.holds.items():
            for name, ref in hold.running.items():
                client = (ref.connection_id, ref.index)
                if wanted.get(client) != ref or self.places.get(client) != worker:
                    hold.leaving[name] = (self.generation + 1, now)
                    self._changes.append(Change(ref, worker, given=False))

    def _give(self, wanted: dict[Client, ClientRef]) -> None:
        """Hand out what is wanted and runs nowhere."""
        taken = Counter(name for hold in self.holds.values() for name in hold.clients)
        for client, worker in self.places.items():
            hold, ref = self.holds.get(worker), wanted.get(client)
            if hold is not None and ref is not None and not taken[ref.id]:
                hold.clients[ref.id] = ref
                self._changes.append(Change(ref, worker, given=True))

    def _assign(self, hold: Hold, locations: dict[str, int]) -> Assign:
        """All that one worker should know; its generation is filled in when it is sent."""
        running = hold.running
        mine = {ref.connection_id for ref in running.values()}
        return Assign(
            generation=0,
            service=self.desired.service,
            connections=[
                each if name in mine else self.desired.blanks[name]
                for name, each in self.desired.connections.items()
            ],
            versions=self.desired.versions,
            clients=list(running.values()),
            locations=locations,
            listeners=list(self.listeners),
            closed=self.desired.closed,
            reloads=self._reloads,
        )
