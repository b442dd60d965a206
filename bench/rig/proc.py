"""What processes have used, from /proc: CPU of all their threads, memory, descriptors."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MASTER = "master"


@dataclass(frozen=True)
class Usage:
    """One process at one moment. CPU times include threads that have ended."""

    user_s: float
    system_s: float
    ended_s: float  # CPU of children that have ended and were waited for
    rss_bytes: int
    threads: int
    fds: int

    @property
    def cpu_s(self) -> float:
        return self.user_s + self.system_s


def usage(pid: int) -> Usage | None:
    """None when the process is gone, or not ours to look at."""
    folder = Path("/proc", str(pid))
    try:
        # The name may hold blanks and brackets; what follows its last bracket does not.
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        fds = len(os.listdir(folder / "fd"))
    except OSError:
        return None
    user, system, ended_user, ended_system = (int(field) * TICK_S for field in fields[11:15])
    return Usage(
        user_s=user,
        system_s=system,
        ended_s=ended_user + ended_system,
        rss_bytes=int(fields[21]) * PAGE_BYTES,
        threads=int(fields[17]),
        fds=fds,
    )


def cpu_clock_s(pid: int) -> float:
    """CPU of a living process, all its threads: what stat shows, not rounded to a tick."""
    return time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3) of Linux


def peak_rss_bytes(pid: int) -> int:
    """The most memory a process has had; 0 when it is gone."""
    try:
        for line in Path("/proc", str(pid), "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    return 0


def children(pid: int) -> list[int]:
    """Of every thread of *pid*: a process belongs to the thread that made it."""
    found: list[int] = []
    for listed in Path("/proc", str(pid), "task").glob("*/children"):
        try:
            found += [int(child) for child in listed.read_text().split()]
        except OSError:  # the thread has ended
            continue
    return found


def family(pid: int) -> dict[int, str]:
    """*pid* and its descendants, by what they are: the master, ``worker 0``, ..."""
    named = {pid: MASTER}
    for child in children(pid):
        named[child] = _role(child)
        for below, name in family(child).items():
            if below != child:
                named[below] = f"{named[child]}/{name}"
    return named


def _role(pid: int) -> str:
    try:
        words = Path("/proc", str(pid), "cmdline").read_bytes().split(b"\0")
    except OSError:
        return str(pid)
    if b"--index" in words[:-1]:
        return f"worker {words[words.index(b'--index') + 1].decode()}"
    return Path(words[0].decode(errors="replace")).name or str(pid)


@dataclass(frozen=True)
class Sample:
    """A process and its descendants at one moment."""

    processes: Mapping[str, Usage]  # by role; processes of one role are added up
    ended_s: float

    @property
    def cpu_s(self) -> float:
        """All that was ever used, by those that have ended too."""
        return sum(one.cpu_s for one in self.processes.values()) + self.ended_s

    @property
    def user_s(self) -> float:
        """Of those that live."""
        return sum(one.user_s for one in self.processes.values())

    @property
    def system_s(self) -> float:
        """Of those that live."""
        return sum(one.system_s for one in self.processes.values())


def sample(pid: int) -> Sample:
    """*pid* and its descendants, now."""
    found: dict[str, Usage] = {}
    for member, role in family(pid).items():
        one = usage(member)
        if one is not None:
            found[role] = _sum(found[role], one) if role in found else one
    return Sample(found, sum(one.ended_s for one in found.values()))


def machine_busy_s() -> float:
    """CPU that all processes of the machine have used, stolen time included."""
    with open("/proc/stat") as stat:
        numbers = [int(field) for field in stat.readline().split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = numbers[:8]
    return (user + nice + system + irq + softirq + steal) * TICK_S


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        *(getattr(one, name) + getattr(other, name) for name in Usage.__dataclass_fields__)
    )
