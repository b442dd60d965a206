"""The kernel's numbers of a process, ours among them."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from streamproc.telemetry.processes import usage


def test_our_own_numbers_are_about_right() -> None:
    found = usage(os.getpid())
    assert found is not None
    assert found.rss_bytes > 10 << 20
    assert found.cpu_s > 0
    assert found.threads >= 1
    assert abs(found.fds - len(os.listdir("/proc/self/fd"))) <= 2
    assert 0 <= time.time() - found.start < 24 * 3600


def test_a_name_with_parentheses_and_spaces_confuses_nothing(tmp_path: object) -> None:
    name = f"{tmp_path}/a) b (c"
    os.symlink(sys.executable, name)
    command = [name, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env={"PYTHONHOME": sys.base_prefix}) as p:
        found = usage(p.pid)
        assert found is not None
        assert found.threads == 1
        p.kill()


def test_a_process_that_is_gone_has_none() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert usage(process.pid) is None
