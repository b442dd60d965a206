"""What the kernel says about a process: the ``process_*`` metrics of master and workers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Usage:
    """One process, now."""

    cpu_s: float
    rss_bytes: int
    fds: int
    threads: int
    start: float  # epoch seconds


def usage(pid: int) -> Usage | None:
    """None when it is gone."""
    place = Path(f"/proc/{pid}")
    try:
        # The name in parentheses may itself hold spaces and parentheses.
        fields = (place / "stat").read_text().rpartition(")")[2].split()
        fds = _open_fds(place / "fd")
    except OSError:
        return None
    return Usage(
        cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS,
        rss_bytes=int(fields[21]) * _PAGE,
        fds=fds,
        threads=int(fields[17]),
        start=_boot_time() + int(fields[19]) / _TICKS,
    )


def _open_fds(place: Path) -> int:
    """Linux 6.2 and later say it as the size; before, they must be listed."""
    return place.stat().st_size or len(os.listdir(place))


def _boot_time() -> float:
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    return 0.0
