"""The master process: one loop that feeds the supervisor and the reconciler, and acts.

Every event - a frame, an exit, a signal, a tick - takes the same turn: the supervisor steps,
its actions are performed, the reconciler plans, its orders are sent. The master holds no data
path; when it dies its workers drain and end, and nothing is lost.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import assert_never

from streamproc.config.service import Service
from streamproc.control import Beat as BeatFrame
from streamproc.control import Drained, FromWorker, Report
from streamproc.control import Ready as ReadyFrame
from streamproc.errors import ConfigError
from streamproc.master.desired import Desired, difference, keep_fixed
from streamproc.master.http import Management
from streamproc.master.listeners import Listeners, wanted
from streamproc.master.processes import Processes
from streamproc.master.reconcile import Reconciler
from streamproc.master.runtime import Runtime
from streamproc.master.status import MASTER, View, readings
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
from streamproc.telemetry import metrics
from streamproc.telemetry.ledger import close_books
from streamproc.telemetry.metrics import DELIVERIES_RETURNED, MESSAGES_RETURNED
from streamproc.telemetry.processes import usage
from streamproc.telemetry.redact import secrets_of
from streamproc.telemetry.render import Exposition
from streamproc.version import VERSION

EXIT_CLEAN = 0
EXIT_UNCLEAN = 1
EXIT_BUG = 70
LONGEST_TICK_S = 0.25


class Master:
    """``load`` reads the configuration anew, for SIGHUP; it raises ConfigError, whose detail
    ``problems`` lists them all. ``run`` may be called once.
    """

    def __init__(
        self,
        service: Service,
        load: Callable[[], Service],
        *,
        runtime_dir: Path | None = None,
        worker_module: str = "streamproc.worker",
    ) -> None:
        self._service = service
        self._load = load
        self._runtime_dir = runtime_dir
        self._module = worker_module
        self._started = time.time()
        self._config_generation = 1
        self._desired = Desired.of(service)
        self._reconciler = Reconciler(self._desired)
        self._listeners = Listeners()
        self._spawned: dict[int, float] = {}
        self._halt: Halt | None = None
        self._bug: BaseException | None = None
        self._wake = asyncio.Event()
        self._lag_s = 0.0
        self._tick_s = _tick_s(service)
        self._reloading: asyncio.Task[None] | None = None
        self._reloads_due = 0

    async def run(self) -> int:
        """Run the service until it is stopped; -> the exit code. Raises ConfigError."""
        tell.configure(self._service.log, MASTER)
        tell.hide(secrets_of(self._service.connections))
        names = wanted(self._desired.connections.values())
        self._listeners.open(names)
        self._reconciler.listeners = names
        self._runtime = Runtime(self._runtime_dir, self._service.workers)
        self._lag = self._runtime.own_block.gauge(metrics.EVENT_LOOP_LAG, worker=MASTER)
        self._exposition = Exposition(self._runtime.readers, lambda: readings(self._look()))
        self._supervisor = Supervisor(
            self._service.workers,
            self._service.supervision,
            random.random,
            time.monotonic(),
        )
        self._processes = Processes(
            self._runtime,
            self._listeners.sockets,
            self._heard,
            self._broke,
            self._gone,
            self._module,
        )
        management = Management(self._look, self._exposition, lambda: self._lag_s)
        try:
            address = await management.start(self._service.management)
            self._runtime.publish_management(address)
            self._handle_signals()
            tell.service_started(
                VERSION,
                self._service.workers,
                len(self._desired.connections),
                str(self._runtime.place),
            )
            tell.management_listening(f"http://{address}")
            await self._follow_time()
        finally:
            if self._reloading is not None:
                self._reloading.cancel()
            await self._processes.close()
            await management.close()
            self._listeners.close_all_but(())
            self._runtime.close()
        return self._exit_code()

    def _exit_code(self) -> int:
        if self._bug is not None:
            tell.failed_unexpectedly(MASTER, self._bug)
            return EXIT_BUG
        assert self._halt is not None
        tell.service_stopped(self._halt.reason, clean=self._halt.clean)
        return EXIT_CLEAN if self._halt.clean else EXIT_UNCLEAN

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._guarded, self._stop, number.name)
        loop.add_signal_handler(signal.SIGHUP, self._guarded, self._reload)

    async def _follow_time(self) -> None:
        while self._halt is None and self._bug is None:
            self._guarded(self._tick)
            due = time.monotonic() + self._tick_s
            try:
                async with asyncio.timeout(self._tick_s):
                    await self._wake.wait()
            except TimeoutError:
                self._lag_s = max(0.0, time.monotonic() - due)
                self._lag.set(self._lag_s)

    # What happens

    def _tick(self) -> None:
        for child in self._processes.children.values():
            child.push()
        if not self._supervisor.stopping:
            for worker, reason in self._reconciler.overdue(time.monotonic()).items():
                self._turn(Distrust(worker, reason))
        tell.flush()
        self._turn(Tick())

    def _heard(self, worker: int, message: FromWorker) -> None:
        self._guarded(self._hear, worker, message)

    def _hear(self, worker: int, message: FromWorker) -> None:
        match message:
            case ReadyFrame(pid):
                self._reconciler.worker_up(worker)
                seconds = time.monotonic() - self._spawned[worker]
                tell.worker_ready(worker, pid, seconds)
                self._turn(Ready(worker))
            case Report():
                before = self._states(worker)
                problem = self._reconciler.reported(worker, message)
                self._tell_changed(worker, before)
                self._turn(Distrust(worker, problem) if problem else Beat(worker))
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
        self._reconciler.worker_down(worker)
        was_stopping = self._supervisor.stopping
        slot = self._supervisor.slots[worker]
        expected = was_stopping and code == 0
        self._turn(Exited(worker, code, left))
        if expected:
            tell.worker_ended(worker, pid, left)
            return
        messages = returned.get(MESSAGES_RETURNED.name, 0)
        deliveries = returned.get(DELIVERIES_RETURNED.name, 0)
        tell.worker_died(worker, pid, code, slot.crashes, messages, deliveries)
        if slot.state == "barred":
            tell.worker_barred(worker)
        elif slot.state == "down" and slot.start_at > time.monotonic():
            tell.worker_restart_scheduled(worker, slot.start_at - time.monotonic())
        if self._supervisor.stopping and not was_stopping:
            tell.service_stopping(self._supervisor.reason, self._service.supervision.drain_s)

    def _stop(self, cause: str) -> None:
        tell.service_stopping(cause, self._service.supervision.drain_s)
        self._turn(Stop())

    def _reload(self) -> None:
        """Take a new configuration, or go on with the old one. One at a time, the last wins."""
        self._reloads_due += 1
        if self._reloading is None:
            self._reloading = asyncio.get_running_loop().create_task(self._read_again())

    async def _read_again(self) -> None:
        while self._reloads_due:
            self._reloads_due = 0
            try:
                # In a thread: names of hosts may have to be looked up.
                service = await asyncio.to_thread(self._load)
            except ConfigError as error:
                self._refuse(error)
            else:
                self._guarded(self._take, service)
        self._reloading = None

    def _take(self, loaded: Service) -> None:
        if self._supervisor.stopping:
            return
        service, fixed = keep_fixed(self._service, loaded)
        desired = Desired.of(service)
        names = wanted(desired.connections.values())
        try:
            self._listeners.open(names)
        except ConfigError as error:
            self._refuse(error)
            return
        for setting in fixed:
            tell.setting_needs_restart(setting)
        tell.configure(service.log, MASTER)
        tell.hide(secrets_of(service.connections))
        self._config_generation += 1
        tell.config_loaded(self._config_generation, *difference(self._desired, desired))
        self._service, self._desired = service, desired
        self._supervisor.rules = service.supervision
        self._tick_s = _tick_s(service)
        self._reconciler.desired, self._reconciler.listeners = desired, names
        self._turn(Tick())

    def _refuse(self, error: ConfigError) -> None:
        problems = error.details.get("problems")
        tell.config_refused(problems if isinstance(problems, list) else [str(error)])

    # What is done about it

    def _guarded(self, step: Callable[..., None], *arguments: object) -> None:
        """Run *step*; after a bug of ours end, so that workers drain and somebody restarts us."""
        try:
            step(*arguments)
        except Exception as error:  # noqa: BLE001 - ends the process, and says why
            self._bug = self._bug or error
            self._wake.set()

    def _turn(self, event: Event) -> None:
        children = self._processes.children
        for action in self._supervisor.step(time.monotonic(), event):
            match action:
                case Spawn(worker):
                    self._spawned[worker] = time.monotonic()
                    self._processes.spawn(worker)
                case Ask(worker, drain_s):
                    children[worker].stop(drain_s)
                case Terminate(worker, reason):
                    tell.worker_terminated(worker, children[worker].pid, reason)
                    children[worker].terminate()
                case Kill(worker, reason):
                    tell.worker_killed(worker, children[worker].pid, reason)
                    children[worker].signal(signal.SIGKILL)
                case Halt():
                    self._halt = action
                    self._wake.set()
        if not self._supervisor.stopping:
            self._reconcile()

    def _reconcile(self) -> None:
        now = time.monotonic()
        orders = self._reconciler.plan(now, self._supervisor.eligible(now))
        for worker, assign in orders.items():
            child = self._processes.children.get(worker)
            if child is not None:
                child.assign(assign)
        for change in self._reconciler.take_changes():
            said = tell.client_assigned if change.given else tell.client_withdrawn
            said(change.client.connection_id, change.client.index, change.worker)
        if not self._reconciler.anything_leaves:
            self._listeners.close_all_but(self._reconciler.listeners)

    def _states(self, worker: int) -> dict[str, str]:
        hold = self._reconciler.holds.get(worker)
        return {} if hold is None else {name: each.state for name, each in hold.reports.items()}

    def _tell_changed(self, worker: int, before: dict[str, str]) -> None:
        hold = self._reconciler.holds.get(worker)
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

    def _look(self) -> View:
        pids = {worker: child.pid for worker, child in self._processes.children.items()}
        named = {MASTER: os.getpid()} | {str(w): pid for w, pid in pids.items() if pid}
        usages = {name: found for name, pid in named.items() if (found := usage(pid)) is not None}
        return View(
            supervisor=self._supervisor,
            reconciler=self._reconciler,
            pids=pids,
            usages=usages,
            totals=self._exposition.totals(),
            listeners=self._listeners.addresses(),
            config_generation=self._config_generation,
            started=self._started,
            epoch=time.time() - time.monotonic(),
        )


def _tick_s(service: Service) -> float:
    """Often enough to notice silence in time."""
    return min(LONGEST_TICK_S, service.supervision.silence_s / 8)
