"""The demo, as a new user runs it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "streamproc", "demo"]
DEADLINE_S = 180


def ledger(output: str) -> dict[str, int]:
    lines = re.findall(r"^([a-z ]+?)  +(\d+)$", output, re.MULTILINE)
    return {name: int(number) for name, number in lines}


def test_the_demo_balances() -> None:
    done = subprocess.run(
        [*COMMAND, "--for", "3s"], capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = ledger(done.stdout)
    assert found["generated"] > 0
    assert found["rejected by enforcement"] > 0
    assert found["filtered"] > 0
    assert found["generated"] == found["accepted"] + found["rejected by enforcement"]
    assert found["due"] == found["delivered"] > 0
    assert found["lost"] == found["parked"] == found["in flight"] == found["out of order"] == 0
    assert re.search(r"received +[\d,]+/s +delivered +[\d,]+/s", done.stdout)


def test_ctrl_c_ends_it_with_a_ledger_and_leaves_nothing_running() -> None:
    demo = subprocess.Popen([*COMMAND, "--workers", "1"], stdout=subprocess.PIPE, text=True)
    try:
        assert demo.stdout is not None
        lines: list[str] = []
        while "Ctrl-C" not in "".join(lines):
            lines.append(demo.stdout.readline())
            assert lines[-1], "the demo ended by itself"
        places = re.findall(r"http://\S+/(?:metrics|status|ledger)", "".join(lines))
        assert len(places) == 3
        for place in places:
            with urllib.request.urlopen(place, timeout=30) as answer:
                assert answer.status == 200
        while not re.search(r"delivered +[1-9]", lines[-1]):
            lines.append(demo.stdout.readline())
            assert lines[-1], "the demo ended by itself"
        demo.send_signal(signal.SIGINT)
        rest = demo.communicate(timeout=DEADLINE_S)[0]
    finally:
        demo.kill()
        demo.communicate()
    assert demo.returncode == 0, rest
    assert ledger(rest)["lost"] == 0
    folder = re.search(r"log: (\S+)/service.log", "".join(lines))
    assert folder is not None
    assert not Path(folder[1]).exists()
    for place in places:
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(place, timeout=30)


def test_a_configuration_that_cannot_work_is_told(tmp_path: Path) -> None:
    config = tmp_path / "bad.yaml"
    config.write_text("connections: [{id: 7}]\n")
    began = time.monotonic()
    done = subprocess.run(
        [*COMMAND, "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 2
    assert "$.connections[0]" in done.stderr
    assert time.monotonic() - began < DEADLINE_S / 2
