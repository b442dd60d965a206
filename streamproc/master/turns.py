"""The heart of the master. Every event - a frame, an exit, a signal, a tick - takes one turn.

The supervisor steps, its actions are performed, the reconciler plans, its orders are sent.
Nothing here waits, and nothing depends on having seen every event.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Callable
from typing import assert_never

from streamproc.config.service import Service
from streamproc.control import Beat as BeatFrame
from streamproc.control import Drained, FromWorker, Replayed, Report
from streamproc.control import Ready as ReadyFrame
from streamproc.master.desired import Desired, difference, keep_fixed
from streamproc.master.listeners import Listeners, wanted
from streamproc.master.processes import Processes
from streamproc.master.reconcile import Reconciler
from streamproc.master.replays import Replays
from streamproc.master.runtime import Runtime
from streamproc.master.supervisor import (
    Ask,
    Beat,
    Distrust,
    Event,
    Exited,
    Halt,
    Kill,
    Ready,
    Spawn,
    Stop,
    Supervisor,
    Terminate,
    Tick,
)
from streamproc.telemetry import events as tell
from streamproc.telemetry.ledger import close_books
from streamproc.telemetry.metrics import DELIVERIES_RETURNED, MESSAGES_RETURNED
from streamproc.telemetry.redact import secrets_of


class Turns:
    """Runs the workers of *service*. ``over`` is set when there is nothing left to do."""

    def __init__(
        self, service: Service, runtime: Runtime, listeners: Listeners, worker_module: str
    ) -> None:
        self.service = service
        self.config_generation = 1
        self.halt: Halt | None = None
        self.bug: BaseException | None = None
        self.over = asyncio.Event()
        self._runtime = runtime
        self._listeners = listeners
        desired = Desired.of(service)
        self.reconciler = Reconciler(desired, wanted(desired.connections.values()))
        self.supervisor = Supervisor(
            service.workers, service.supervision, random.random, time.monotonic()
        )
        self.processes = Processes(
            runtime, listeners.sockets, self._heard, self._broke, self._gone, worker_module
        )
        self.replays = Replays(self.processes.children)
        self._spawned: dict[int, float] = {}

    # What happens

    def tick(self) -> None:
        """Time has passed."""
        self._guarded(self._tick)

    def stop(self, cause: str) -> None:
        """Somebody wants it to end; the second time, now."""
        tell.service_stopping(cause, self.service.supervision.drain_s)
        self._guarded(self._turn, Stop())

    def take(self, loaded: Service) -> None:
        """Go over to a new configuration. ConfigError when it cannot be: nothing has changed."""
        if self.supervisor.stopping:
            return
        service, fixed = keep_fixed(self.service, loaded)
        desired = Desired.of(service)
        names = wanted(desired.connections.values())
        self._listeners.open(names)
        for setting in fixed:
            tell.setting_needs_restart(setting)
        tell.hide(secrets_of(service.connections, service))
        self.config_generation += 1
        tell.config_loaded(self.config_generation, *difference(self.reconciler.desired, desired))
        self.service = service
        self.supervisor.rules = service.supervision
        self.reconciler.want(desired, names)
        self._guarded(self._turn, Tick())

    async def close(self) -> None:
        """Kill what is left."""
        await self.processes.close()

    def _tick(self) -> None:
        for child in self.processes.children.values():
            child.push()
        if not self.supervisor.stopping:
            for worker, reason in self.reconciler.overdue(time.monotonic()).items():
                self._turn(Distrust(worker, reason))
        tell.flush()
        self._turn(Tick())

    def _heard(self, worker: int, message: FromWorker) -> None:
        self._guarded(self._hear, worker, message)

    def _hear(self, worker: int, message: FromWorker) -> None:
        match message:
            case ReadyFrame(pid):
                self.reconciler.worker_up(worker)
                tell.worker_ready(worker, pid, time.monotonic() - self._spawned[worker])
                self._turn(Ready(worker))
            case Report():
                before = self._states(worker)
                problem = self.reconciler.reported(worker, message)
                self._tell_changed(worker, before)
                self._turn(Distrust(worker, problem) if problem else Beat(worker))
            case Replayed():
                self.replays.heard(worker, message)
                self._turn(Beat(worker))
            case BeatFrame() | Drained():
                self._turn(Beat(worker))
            case _:
                assert_never(message)

    def _broke(self, worker: int, reason: str) -> None:
        self._guarded(self._turn, Distrust(worker, reason))

    def _gone(self, worker: int, pid: int, code: int, left: int) -> None:
        self._guarded(self._bury, worker, pid, code, left)

    def _bury(self, worker: int, pid: int, code: int, left: int) -> None:
        returned = close_books(self._runtime.metrics(worker))
        self.reconciler.worker_down(worker)
        self.replays.gone(worker)
        was_stopping = self.supervisor.stopping
        self._turn(Exited(worker, code, left))
        if was_stopping and code == 0:
            tell.worker_ended(worker, pid, left)
            return
        slot = self.supervisor.slots[worker]
        messages = returned.get(MESSAGES_RETURNED.name, 0)
        deliveries = returned.get(DELIVERIES_RETURNED.name, 0)
        tell.worker_died(worker, pid, code, slot.crashes, messages, deliveries)
        if slot.state == "barred":
            tell.worker_barred(worker)
        elif slot.state == "down" and slot.start_at > time.monotonic():
            tell.worker_restart_scheduled(worker, slot.start_at - time.monotonic())
        if self.supervisor.stopping and not was_stopping:
            tell.service_stopping(self.supervisor.reason, self.service.supervision.drain_s)

    # What is done about it

    def _guarded(self, step: Callable[..., None], *arguments: object) -> None:
        """Run *step*. After a bug of ours it is over: better to be started anew than half right."""
        try:
            step(*arguments)
        except Exception as error:  # noqa: BLE001 - ends the process, and says why
            self.bug = self.bug or error
            self.over.set()

    def _turn(self, event: Event) -> None:
        children = self.processes.children
        for action in self.supervisor.step(time.monotonic(), event):
            match action:
                case Spawn(worker):
                    self._spawned[worker] = time.monotonic()
                    self.processes.spawn(worker)
                case Ask(worker, drain_s):
                    children[worker].stop(drain_s)
                case Terminate(worker, reason):
                    tell.worker_terminated(worker, children[worker].pid, reason)
                    children[worker].terminate()
                case Kill(worker, reason):
                    tell.worker_killed(worker, children[worker].pid, reason)
                    children[worker].signal(signal.SIGKILL)
                case Halt():
                    self.halt = action
                    self.over.set()
                case _:
                    assert_never(action)
        if not self.supervisor.stopping:
            self._reconcile()

    def _reconcile(self) -> None:
        now = time.monotonic()
        orders = self.reconciler.plan(now, self.supervisor.eligible(now))
        for worker, assign in orders.items():
            child = self.processes.children.get(worker)
            if child is not None:
                child.assign(assign)
        for change in self.reconciler.take_changes():
            said = tell.client_assigned if change.given else tell.client_withdrawn
            said(change.client.connection_id, change.client.index, change.worker)
        if not self.reconciler.anything_leaves:
            self._listeners.close_all_but(self.reconciler.listeners)

    def _states(self, worker: int) -> dict[str, str]:
        hold = self.reconciler.holds.get(worker)
        return {} if hold is None else {name: each.state for name, each in hold.reports.items()}

    def _tell_changed(self, worker: int, before: dict[str, str]) -> None:
        hold = self.reconciler.holds.get(worker)
        for name, report in {} if hold is None else hold.reports.items():
            if before.get(name) != report.state:
                errors = [link.error for link in report.links if link.state == report.state]
                tell.client_state_changed(
                    report.client.connection_id,
                    report.client.index,
                    worker,
                    report.state,
                    errors[0] if errors else None,
                )
