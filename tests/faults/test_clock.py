"""The moved clock itself: without it, rows of the matrix that move it would prove nothing.

Each probe runs in a process of its own (``clock_probe.py``), since what is preloaded is so from
a process's start.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.clock import PATH_IN, Clock, available

ROOT = Path(__file__).parents[2]
PATIENCE_S = 180.0
pytestmark = pytest.mark.skipif(not available(), reason="a C compiler and glibc are needed")

PROBES = ("read", "child", "wait", "signals", "monotonic", "librdkafka", "openssl")

# All of libc that goes by the wall clock, unless told otherwise.
WALL = frozenset(
    (
        *("clock_gettime", "gettimeofday", "time", "timespec_get", "ftime"),
        *("pthread_cond_timedwait", "pthread_cond_clockwait", "cnd_timedwait"),
        *("pthread_mutex_timedlock", "pthread_mutex_clocklock", "mtx_timedlock"),
        *("pthread_rwlock_timedrdlock", "pthread_rwlock_timedwrlock"),
        *("pthread_rwlock_clockrdlock", "pthread_rwlock_clockwrlock"),
        *("pthread_timedjoin_np", "pthread_clockjoin_np", "sem_timedwait", "sem_clockwait"),
        *("mq_timedsend", "mq_timedreceive", "timer_settime", "timerfd_settime"),
    )
)
LOAD = (
    "import confluent_kafka, hashlib, httptools, lmdb, msgspec, orjson, ssl, uvloop;"
    "import streamproc.worker.__main__;"
    "print(*sorted({l.split()[-1] for l in open('/proc/self/maps') if '.so' in l}))"
)
LIBC = ("libc.so", "libc-", "ld-", "libpthread", "librt")


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clock]:
    with Clock(tmp_path_factory.mktemp("clock")) as clock:
        yield clock


@pytest.mark.parametrize("probe", PROBES)
def test_what_goes_by_the_wall_clock_goes_by_the_moved_one(probe: str, clock: Clock) -> None:
    clock.jump(-clock.ahead_s)
    command = [sys.executable, "-m", "tests.faults.clock_probe", probe]
    environment = os.environ | clock.environment
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=PATIENCE_S)


@pytest.mark.skipif(shutil.which("nm") is None, reason="nm is needed")
def test_what_a_worker_loads_asks_for_no_time_that_is_not_moved(clock: Clock) -> None:
    said = subprocess.run(
        [sys.executable, "-c", LOAD], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    moved = _symbols(clock.library, "--defined-only")
    assert {"time", "cnd_timedwait"} <= moved
    loaded = [Path(path) for path in said if not Path(path).name.startswith(LIBC)]
    assert len(loaded) > 20
    asked = {path.name: _symbols(path, "--undefined-only") & WALL - moved for path in loaded}
    assert not {name: names for name, names in asked.items() if names}


def _symbols(path: Path, which: str) -> set[str]:
    """The dynamic ones."""
    told = subprocess.run(
        ["nm", "-D", which, str(path)], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    return {line.split()[-1].partition("@")[0] for line in told.splitlines()}


def test_a_process_that_cannot_be_moved_ends(clock: Clock, tmp_path: Path) -> None:
    for variables in ({}, {PATH_IN: str(tmp_path / "missing")}):
        environment = os.environ | {"LD_PRELOAD": str(clock.library)} | variables
        done = subprocess.run(
            ["true"], env=environment, capture_output=True, text=True, timeout=PATIENCE_S
        )
        assert done.returncode != 0
        assert PATH_IN in done.stderr
