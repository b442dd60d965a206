"""Where and with what a figure was measured; without it a figure says nothing."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("confluent-kafka", "httptools", "msgspec", "orjson", "uvloop", "Cython")


def facts() -> dict[str, Any]:
    """The machine, the versions, the commit, and how busy the machine is already."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": _commit(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def line(found: dict[str, Any]) -> str:
    """The facts that fit above a table."""
    load = " ".join(f"{value:.2f}" for value in found["load_average"])
    return (
        f"{found['cpu']}, {found['cores']} cores, Linux {found['kernel']}, "
        f"Python {found['python']}, commit {found['commit']}, load average {load}"
    )


def config_hash(config: Any) -> str:
    """Equal for configurations that say the same."""
    text = json.dumps(config, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _cpu() -> str:
    try:
        for entry in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = entry.partition(":")
            if name.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _commit() -> str:
    """Ends in ``+`` when what runs is not what was committed."""
    try:
        head = _git("rev-parse", "--short=10", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "streamproc", "ext")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed else "")


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=ROOT, check=True, capture_output=True, text=True, timeout=30
    )
    return done.stdout.strip()
