"""Only what pyproject.toml cannot say: the extension modules.

STREAMPROC_KERNELS="rql template"  builds only these (a developer's shortcut)
STREAMPROC_CHECKED=1               bounds checks and line tracing, slow
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

SOURCES = Path("ext/streamproc/kernels")
CHECKED = os.environ.get("STREAMPROC_CHECKED") == "1"
WANTED = os.environ.get("STREAMPROC_KERNELS", "").split()

setup(
    ext_modules=cythonize(
        [
            Extension(
                f"streamproc.kernels.{source.stem}",
                [str(source)],
                extra_compile_args=["-O1", "-g"] if CHECKED else ["-O3", "-g0"],
            )
            for source in sorted(SOURCES.glob("*.pyx"))
            if not WANTED or source.stem in WANTED
        ],
        include_path=["ext"],
        build_dir="build/cython",
        compiler_directives={
            "language_level": 3,
            "embedsignature": True,
            "binding": True,
            "boundscheck": CHECKED,
            "wraparound": False,
            "auto_pickle": False,
            "autotestdict": False,
        },
    )
)
