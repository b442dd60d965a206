"""Performs what the supervisor decides: starts, tells, ends worker processes.

Workers are exec'd, never forked, in a session of their own: a terminal's Ctrl-C reaches the
master alone. They inherit a control socket, a socket for descriptors, their bus socket and
the run's lock; of everything else they get nothing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import site
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import streamproc
from streamproc.control import Assign, Drained, FromWorker, Replay, Stop
from streamproc.master.channel import Channel
from streamproc.master.runtime import Runtime
from streamproc.telemetry import events as tell

EXIT_NOT_STARTED = 127
LAST_WORDS_S = 1.0  # from a worker's exit to the end of what it had written

Heard = Callable[[int, FromWorker], None]
Broke = Callable[[int, str], None]
Gone = Callable[[int, int, int, int], None]  # index, pid, exit code, left unsettled


class Child:
    """One worker process, from its start to its end."""

    def __init__(
        self, index: int, runtime: Runtime, listeners: Mapping[str, socket.socket], module: str
    ) -> None:
        self.index = index
        self.pid = 0
        self.left = 0  # what it said it had not settled
        self._runtime = runtime
        self._listeners = listeners
        self._module = module
        self._process: asyncio.subprocess.Process | None = None
        self._channel: Channel | None = None
        self._fds: socket.socket | None = None
        self._sent: dict[str, socket.socket] = {}
        self._waiting: Assign | None = None  # for its listeners to be sent
        self._signals: list[signal.Signals] = []  # for a process that is just being started

    async def live(self, heard: Heard, broke: Broke) -> int:
        """Start it; -> its exit code, when it has ended and all it said was heard."""
        control, their_control = socket.socketpair()
        self._fds, their_fds = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._fds.setblocking(False)
        self._channel = Channel(
            lambda message: self._hear(message, heard), lambda reason: broke(self.index, reason)
        )
        try:
            with their_control, their_fds:
                self._process = await self._exec(their_control.fileno(), their_fds.fileno())
            self.pid = self._process.pid
            tell.worker_started(self.index, self.pid)
            for each in self._signals:
                self.signal(each)
            loop = asyncio.get_running_loop()
            channel = self._channel
            await loop.create_unix_connection(lambda: channel, sock=control)
            code = await self._process.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_S):
                    await channel.closed.wait()
            return code
        finally:
            if self._process is not None and self._process.returncode is None:
                self._process.kill()  # nobody could talk to it
                await self._process.wait()
            self._fds.close()
            self._channel.close()
            control.close()

    def assign(self, assign: Assign) -> None:
        """Tell it what to run. Its listening sockets go first."""
        self._waiting = assign
        self.push()

    def push(self) -> None:
        """Go on where the socket for descriptors was full."""
        if self._waiting is not None and self._channel is not None and self._send_listeners():
            self._channel.assign(self._waiting)
            self._waiting = None

    def stop(self, drain_s: float) -> None:
        """Ask it to drain and end."""
        self._waiting = None
        if self._channel is not None:
            self._channel.stop(Stop(drain_s))

    def replay(self, message: Replay) -> bool:
        """Ask it to replay parked deliveries. -> whether it was told."""
        return self._channel is not None and self._channel.replay(message)

    def terminate(self) -> None:
        """Tell it to end in every way it may understand."""
        self.signal(signal.SIGTERM)
        if self._channel is not None:
            self._channel.end()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, or keep it for when the process is there."""
        if self._process is None:
            self._signals.append(number)
        else:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _exec(self, control_fd: int, fds_fd: int) -> asyncio.subprocess.Process:
        runtime = self._runtime
        bus_fd = runtime.bus[self.index].fileno()
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # what lies in the current directory is not to be imported
            *("-m", self._module),
            *("--index", str(self.index)),
            *("--control-fd", str(control_fd)),
            *("--fds-fd", str(fds_fd)),
            *("--bus-fd", str(bus_fd)),
            *("--bus-dir", str(runtime.run_dir)),
            *("--metrics", str(runtime.metrics(self.index))),
            pass_fds=(control_fd, fds_fd, bus_fd, runtime.lock_fd),
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            env=_environment(),
        )

    def _hear(self, message: FromWorker, heard: Heard) -> None:
        if isinstance(message, Drained):
            self.left = message.left
        heard(self.index, message)

    def _send_listeners(self) -> bool:
        """Send those it does not have; False when it must be tried again."""
        assert self._fds is not None
        for name, listener in self._listeners.items():
            if self._sent.get(name) is not listener:
                try:
                    socket.send_fds(self._fds, [name.encode()], [listener.fileno()])
                except BlockingIOError:
                    return False
                except OSError:
                    return True  # it is about to end
                self._sent[name] = listener
        self._sent = {name: each for name, each in self._sent.items() if name in self._listeners}
        return True


class Processes:
    """The children by worker index, at most one each."""

    def __init__(
        self,
        runtime: Runtime,
        listeners: Mapping[str, socket.socket],
        heard: Heard,
        broke: Broke,
        gone: Gone,
        module: str = "streamproc.worker",
    ) -> None:
        self.children: dict[int, Child] = {}
        self._runtime = runtime
        self._listeners = listeners
        self._heard = heard
        self._broke = broke
        self._gone = gone
        self._module = module
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, index: int) -> None:
        """Start a process; ``gone`` is called once when it has ended, or could not start."""
        assert index not in self.children, "one process a worker index"
        child = Child(index, self._runtime, self._listeners, self._module)
        self.children[index] = child
        task = asyncio.get_running_loop().create_task(self._look_after(child))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Kill what is left, and wait for it."""
        for child in self.children.values():
            child.signal(signal.SIGKILL)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _look_after(self, child: Child) -> None:
        code = EXIT_NOT_STARTED
        try:
            code = await child.live(self._heard, self._broke)
        except OSError as error:
            tell.worker_start_failed(child.index, str(error))
        finally:
            del self.children[child.index]
            self._gone(child.index, child.pid, code, child.left)


# Without it glibc gives the memory of a batch of payloads back to the system, and fetches it
# again for the next: ten times the cost of rendering them.
MALLOC_KEEPS_BYTES = 64 << 20

# libuv looks names up in its threads, and leaves half of them to it: 2 of the 4 that it has by
# default. Two names whose servers do not answer would keep every other link from opening.
LOOKUP_THREADS = 64


def _environment() -> dict[str, str]:
    """Ours; from a checkout that is not installed, with the way to this very package."""
    root = str(Path(streamproc.__file__).parent.parent)
    environment = {
        "MALLOC_TRIM_THRESHOLD_": str(MALLOC_KEEPS_BYTES),
        "UV_THREADPOOL_SIZE": str(LOOKUP_THREADS),
        **os.environ,
    }
    if root not in site.getsitepackages():
        rest = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = root if not rest else os.pathsep.join((root, rest))
    return environment
