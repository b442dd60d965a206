"""Make a virtual environment with this project and what a developer needs; quick if it is there.

``bootstrap.py VENV GROUP``: runs with any Python >= 3.11, needs nothing but its venv module.
GROUP is one of pyproject's dependency groups. Kernels are not built here: see kernels.py.
"""

from __future__ import annotations

import hashlib
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

from doing import ROOT, alone, run, say

PYPROJECT = ROOT / "pyproject.toml"


def fingerprint(group: str) -> str:
    """Changes whenever the environment has to."""
    parts = [PYPROJECT.read_bytes(), Path(__file__).read_bytes(), str(ROOT).encode()]
    return hashlib.sha256(b"\0".join([*parts, group.encode()])).hexdigest()


def create(venv: Path) -> None:
    if find_spec("ensurepip") is None:
        sys.exit(f"{sys.executable} has no venv module: install python3-venv")
    run(sys.executable, "-m", "venv", "--clear", venv)


def fill(python: Path, group: str) -> None:
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "--upgrade", "pip>=25.1")  # the first that knows dependency groups
    run(*pip, *tomllib.loads(PYPROJECT.read_text())["build-system"]["requires"])
    run(
        *(*pip, "--no-build-isolation", "--editable", ".", "--group", group),
        env={"STREAMPROC_KERNELS": "none", "PYTHONWARNINGS": "ignore"},
    )


def main(venv: Path, group: str) -> None:
    stamp = venv / ".streamproc"
    with alone(ROOT / "build" / f"{venv.name}.lock"):
        if stamp.exists() and stamp.read_text() == fingerprint(group):
            return
        say(f"setting up {venv} with Python {sys.version.split()[0]}")
        if not (venv / "bin" / "python").exists():
            create(venv)
        fill(venv / "bin" / "python", group)
        stamp.write_text(fingerprint(group))


if __name__ == "__main__":
    main(ROOT / sys.argv[1], sys.argv[2])
