"""A wall clock that a test moves while processes go by it: ``clock.c``, and the file it reads."""

from __future__ import annotations

import mmap
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Self

SOURCE = Path(__file__).with_name("clock.c")
PATH_IN = "STREAMPROC_TEST_CLOCK"
NUMBER_BYTES = 8
SECOND_NS = 1_000_000_000
WORDS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")


class Moved:
    """How far the clock of some processes is ahead, as they see it. A context manager."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), NUMBER_BYTES)
        self._ahead_ns = memoryview(self._page).cast("q")

    @property
    def ahead_s(self) -> float:
        """Of the machine's clock."""
        return self._ahead_ns[0] / SECOND_NS

    def jump(self, by_s: float) -> None:
        """Forward, or back."""
        self._ahead_ns[0] += round(by_s * SECOND_NS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ahead_ns.release()
        self._page.close()


class Clock(Moved):
    """Of all processes that are started with ``environment``; it begins with the right time."""

    def __init__(self, folder: Path) -> None:
        self.library = _built(folder)
        path = folder / "clock-ahead-ns"
        path.write_bytes(bytes(NUMBER_BYTES))
        super().__init__(path)
        before = os.environ.get("LD_PRELOAD")
        self.environment = {
            "LD_PRELOAD": f"{self.library} {before}" if before else str(self.library),
            PATH_IN: str(path),
        }

    def moves(self, pid: int) -> bool:
        """Whether a process goes by it."""
        return str(self.library) in Path(f"/proc/{pid}/maps").read_text()


def moved() -> Moved:
    """The clock that this very process goes by."""
    return Moved(Path(os.environ[PATH_IN]))


def available() -> bool:
    """Whether there is a C compiler, and a libc that it is written for."""
    return _compiler() is not None and "glibc" in _libc()


def _compiler() -> str | None:
    named = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "").split()
    return next(
        (found for name in (*named[:1], "cc", "gcc") if (found := shutil.which(name))), None
    )


def _libc() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (OSError, ValueError):
        return ""


def _built(folder: Path) -> Path:
    library = folder / "clock.so"
    compiler = _compiler()
    assert compiler is not None, "a C compiler is needed to move the clock"
    subprocess.run(
        [compiler, *WORDS, "-o", str(library), str(SOURCE), "-ldl", "-lpthread"],
        check=True,
        timeout=120,
    )
    return library
