"""Runs one command and lets nothing of it outlive whoever asked for it.

Started as a script: ``leash.py DIRECTORY COMMAND...``. It prints the command's pid, then
waits for the first of two events: the command ends, or standard input closes, which means
that the asker is gone. Either way it kills whatever the command left behind; in the second
case it removes DIRECTORY too. A pipe rather than PR_SET_PDEATHSIG, because that signal comes
when the *thread* that started a process ends, and tests start brokers from threads.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def launch(command: list[str]) -> int:
    """Start *command* in its own session, and return when it is there. It dies with us."""
    started, running = os.pipe()  # both close on exec
    pid = os.fork()
    if pid:
        os.close(running)
        os.read(started, 1)
        os.close(started)
        return pid
    try:
        os.setsid()
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)  # what is ignored would stay so over exec
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(2, 1)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"leash: {command[0]}: {error}\n".encode())
    os._exit(127)


def children() -> list[int]:
    listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return [int(pid) for pid in listed.split()]


def kill_all() -> None:
    """Kill every descendant: orphans come to us, because we are their sub-reaper."""
    while pids := children():
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in pids:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def main(directory: str, command: list[str]) -> int:
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)  # the asker decides
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    pid = launch(command)
    os.write(1, f"{pid}\n".encode())
    ended = os.pidfd_open(pid)
    ready, _, _ = select.select([0, ended], [], [])
    if ended in ready:
        _, status = os.waitpid(pid, 0)
        kill_all()
        return abs(os.waitstatus_to_exitcode(status))
    kill_all()
    shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
