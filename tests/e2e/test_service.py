"""What tests do to a service that has ended must not hit whoever has its process id by now."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.service import Service


def test_a_service_that_was_waited_for_gets_no_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hit: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: hit.append(pid))
    with Service(tmp_path, {}) as service:
        service._process = subprocess.Popen([sys.executable, "-c", ""])
        assert service.wait() == 0
        service.signal(signal.SIGTERM)
    assert hit == []
