"""The package as it is shipped: built from a clean copy, installed elsewhere, run there.

One build gives both: the sdist is made from the copy, and the wheel from that sdist.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from streamproc.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 600  # a busy machine compiles slowly
pytestmark = pytest.mark.timeout(3 * PATIENCE_S)
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv*", ".cache", "build", "dist", "data", "*.egg-info", "*.so", "*.c", "__pycache__",
    ".*_cache", ".hypothesis", ".benchmarks", "tests", "bench",
)  # fmt: skip
# What the tests around us have set must not reach what is installed.
CLEAN = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("PYTHON", "PYTEST", "STREAMPROC", "VIRTUAL_ENV"))
}


class Built(NamedTuple):
    """The names in each archive, the sdist's without its first folder."""

    wheel: Path
    in_wheel: set[str]
    in_sdist: set[str]


def run(*command: str | Path, cwd: Path, text: str = "", **env: str) -> str:
    """-> what it printed. Fails with all of it."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        cwd=cwd,
        env={**CLEAN, **env},
        input=text,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, (
        f"{words} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    )
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("built")
    copy = folder / "copy"
    shutil.copytree(ROOT, copy, ignore=NOT_COPIED)
    quicker = folder / "distutils.cfg"  # kernels beside each other, no other difference
    quicker.write_text(f"[build_ext]\nparallel = {len(os.sched_getaffinity(0))}\n")
    run(
        *(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", copy),
        cwd=folder,
        DIST_EXTRA_CONFIG=str(quicker),
    )
    (wheel,) = (folder / "dist").glob("*.whl")
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    return Built(wheel, in_wheel, in_sdist)


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``bin`` of an environment that has the wheel, what the wheel asks for, and nothing else."""
    venv = tmp_path_factory.mktemp("elsewhere") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=venv.parent)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "--python", venv / "bin" / "python", "install", "-q", built.wheel, cwd=venv.parent)
    return venv / "bin"


def names(suffix: str, under: str) -> set[str]:
    """Of the files in the tree, without the suffix."""
    return {found.name.removesuffix(suffix) for found in (ROOT / under).glob(f"*{suffix}")}


def missing(wanted: set[str], found: set[str], prefix: str, suffix: str) -> set[str]:
    return {name for name in wanted if f"{prefix}{name}{suffix}" not in found}


def test_the_wheel_has_every_kernel_compiled_and_described(built: Built) -> None:
    kernels = names(".pyx", "ext/streamproc/kernels")
    assert kernels
    prefix = "streamproc/kernels/"
    compiled = {
        name.removeprefix(prefix).partition(".")[0]
        for name in built.in_wheel
        if name.startswith(prefix) and name.endswith(".so")
    }
    assert compiled == kernels
    assert not missing(kernels, built.in_wheel, prefix, ".pyi")


def test_the_wheel_has_what_a_user_needs_and_nothing_that_only_we_need(built: Built) -> None:
    assert "streamproc/py.typed" in built.in_wheel
    assert any(name.endswith("/quickstart.yaml") for name in built.in_wheel)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in built.in_wheel)
    assert not [name for name in built.in_wheel if name.endswith((".c", ".pyx", ".pxd", ".pyc"))]
    tops = {name.partition("/")[0] for name in built.in_wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"streamproc"}


def test_the_wheel_has_every_module_of_the_tree(built: Built) -> None:
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "streamproc").rglob("*.py")}
    assert modules - built.in_wheel == set()


def test_the_sdist_has_the_sources_of_the_kernels_and_nothing_generated(built: Built) -> None:
    sources = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "ext").rglob("*")
        if path.suffix in {".pyx", ".pxd"}
    }
    assert sources - built.in_sdist == set()
    assert {"LICENSE", "README.md", "pyproject.toml", "setup.py"} <= built.in_sdist
    assert not [name for name in built.in_sdist if name.endswith((".c", ".so", ".pyc"))]


def test_the_installed_command_says_its_version(installed: Path, tmp_path: Path) -> None:
    where = "import streamproc; print(streamproc.__file__)"
    assert run(installed / "python", "-c", where, cwd=tmp_path).startswith(str(installed.parent))
    said = run(installed / "streamproc", "--version", cwd=tmp_path)
    assert said == f"streamproc {VERSION}\n"


def test_the_installed_command_evaluates_an_expression(installed: Path, tmp_path: Path) -> None:
    case = {
        "id": 7,
        "op": "template",
        "template": "to/{{ header:device_id | fn:lower() }}",
        "context": {"headers": {"device_id": "ABC"}},
    }
    said = run(installed / "streamproc", "eval", cwd=tmp_path, text=json.dumps(case) + "\n")
    assert json.loads(said) == {"id": 7, "result": "to/abc"}


def test_the_installed_command_plays_the_demo(installed: Path, tmp_path: Path) -> None:
    said = run(installed / "streamproc", "demo", "--for", "2s", cwd=tmp_path)
    assert numbers(said.splitlines())["lost"] == 0


def numbers(lines: Sequence[str]) -> dict[str, int]:
    """The ``name  number`` lines of the ledger."""
    found = {}
    for line in lines:
        name, _, number = line.strip().rpartition(" ")
        if name and number.replace(",", "").isdigit():
            found[name.strip()] = int(number.replace(",", ""))
    return found
