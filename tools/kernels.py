"""Build the compiled kernels in place, for the Python that runs this; quick if they are there.

One build at a time: a compiler that meets another's half-written file fails, or worse does not.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import sysconfig
from pathlib import Path

from doing import ROOT, alone, run, say

SOURCES = ROOT / "ext"
BUILT = ROOT / "streamproc" / "kernels"
SUFFIX = str(sysconfig.get_config_var("EXT_SUFFIX"))


def fingerprint() -> str:
    """Changes whenever a kernel has to be built again."""
    found = hashlib.sha256(os.environ.get("CFLAGS", "").encode())
    found.update(os.environ.get("STREAMPROC_CHECKED", "").encode())
    for source in [ROOT / "setup.py", *sorted(SOURCES.rglob("*.p[xy][xd]"))]:
        found.update(str(source).encode() + b"\0" + source.read_bytes())
    return found.hexdigest()


def kernels() -> list[str]:
    return sorted(source.stem for source in SOURCES.rglob("*.pyx"))


def remove_stale() -> None:
    """A kernel whose source is gone must not be importable."""
    for library in BUILT.glob("*.so"):
        if library.name.partition(".")[0] not in kernels():
            say(f"removing {library.relative_to(ROOT)}: it has no source")
            library.unlink()


def complete(stamp: Path) -> bool:
    return (
        stamp.exists()
        and stamp.read_text() == fingerprint()
        and all((BUILT / f"{name}{SUFFIX}").exists() for name in kernels())
    )


def main() -> None:
    stamp = ROOT / "build" / f"kernels{SUFFIX}.stamp"
    with alone(ROOT / "build" / "kernels.lock"):
        if complete(stamp):
            return
        if not any(map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))):
            sys.exit("building the kernels needs a C compiler: install gcc or clang")
        remove_stale()
        before = fingerprint()
        jobs = str(len(os.sched_getaffinity(0)))
        run(sys.executable, "setup.py", "-q", "build_ext", "--inplace", "-j", jobs)
        say(f"kernels: {', '.join(kernels())}")
        if "STREAMPROC_KERNELS" not in os.environ:
            stamp.write_text(before)  # of what was there when the build began


if __name__ == "__main__":
    main()
