"""The master process: puts its parts together, keeps time, minds signals.

It holds no data path. When it dies its workers drain and end, and nothing is lost.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from streamproc.config.service import Service
from streamproc.errors import ConfigError
from streamproc.master.desired import Desired
from streamproc.master.http import Management
from streamproc.master.listeners import Listeners, wanted
from streamproc.master.runtime import Runtime
from streamproc.master.status import MASTER, View, readings
from streamproc.master.turns import Turns
from streamproc.telemetry import events as tell
from streamproc.telemetry import metrics
from streamproc.telemetry.processes import usage
from streamproc.telemetry.redact import secrets_of
from streamproc.telemetry.render import Exposition
from streamproc.version import VERSION

EXIT_CLEAN = 0
EXIT_UNCLEAN = 1
EXIT_BUG = 70
LONGEST_TICK_S = 0.25
RELOAD_S = 120.0  # to read a configuration: files may be far away, and names unknown


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
        self._first = service
        self._load = load
        self._runtime_dir = runtime_dir
        self._module = worker_module
        self._started = time.time()
        self._lag_s = 0.0
        self._reloading: asyncio.Task[None] | None = None
        self._reloads_due = 0

    async def run(self) -> int:
        """Run the service until it is stopped; -> the exit code.

        ConfigError when it cannot be: nothing was started.
        """
        service = self._first
        tell.configure(service.log, MASTER)
        tell.hide(secrets_of(service.connections, service))
        self._listeners = Listeners()
        self._listeners.open(wanted(Desired.of(service).connections.values()))
        try:
            self._runtime = Runtime(self._runtime_dir, service.workers)
        except ConfigError:
            self._listeners.close_all_but(())
            raise
        self._turns = Turns(service, self._runtime, self._listeners, self._module)
        self._lag = self._runtime.own_block.gauge(metrics.EVENT_LOOP_LAG, worker=MASTER)
        self._exposition = Exposition(self._runtime.readers, lambda: readings(self._look()))
        management = Management(
            self._look, self._exposition, lambda: self._lag_s, self._turns.replays
        )
        try:
            address = await management.start(service.management)
            self._runtime.publish_management(address)
            self._handle_signals()
            place = str(self._runtime.place)
            tell.service_started(VERSION, service.workers, len(service.connections), place)
            tell.management_listening(f"http://{address}")
            await self._follow_time()
        finally:
            if self._turns.bug is not None:
                _die(self._turns.bug)
            if self._reloading is not None:
                self._reloading.cancel()
            await self._turns.close()
            await management.close()
            self._listeners.close_all_but(())
            self._runtime.close()
        halt = self._turns.halt
        assert halt is not None, "it is over for no reason"
        tell.service_stopped(halt.reason, clean=halt.clean)
        return EXIT_CLEAN if halt.clean else EXIT_UNCLEAN

    async def _follow_time(self) -> None:
        """Tick until it is over; often enough to notice silence in time."""
        turns = self._turns
        while not turns.over.is_set():
            turns.tick()
            tick_s = min(LONGEST_TICK_S, turns.service.supervision.silence_s / 8)
            due = time.monotonic() + tick_s
            try:
                async with asyncio.timeout(tick_s):
                    await turns.over.wait()
            except TimeoutError:
                self._lag_s = max(0.0, time.monotonic() - due)
                self._lag.set(self._lag_s)

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._turns.stop, number.name)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

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
                async with asyncio.timeout(RELOAD_S):
                    service = await asyncio.to_thread(self._load)
                self._turns.take(service)
            except TimeoutError:
                tell.config_refused([f"it could not be read within {RELOAD_S:g} s"])
            except ConfigError as error:
                problems = error.details.get("problems")
                tell.config_refused(problems if isinstance(problems, list) else [str(error)])
            except Exception as error:  # noqa: BLE001 - a bug in reading stops no messages
                tell.failed_unexpectedly("reload", error)
            else:
                tell.configure(self._turns.service.log, MASTER)
        self._reloading = None

    def _look(self) -> View:
        turns = self._turns
        pids = {worker: child.pid for worker, child in turns.processes.children.items()}
        named = {MASTER: os.getpid()} | {str(w): pid for w, pid in pids.items() if pid}
        return View(
            supervisor=turns.supervisor,
            reconciler=turns.reconciler,
            pids=pids,
            usages={name: found for name, pid in named.items() if (found := usage(pid))},
            totals=self._exposition.totals,
            listeners=self._listeners.addresses(),
            config_generation=turns.config_generation,
            started=self._started,
            epoch=time.time() - time.monotonic(),
        )


def _die(bug: BaseException) -> None:
    """End as if killed: the workers see it, drain and end, and somebody starts us again."""
    tell.failed_unexpectedly(MASTER, bug)
    os._exit(EXIT_BUG)
