"""Fuzz templates: whatever the text and the message, there is an outcome, soon, and it is that
of the reference.

    python -m tests.fuzz.fuzz_template --seconds 600

Uses atheris where it is installed (guided by the coverage of the parser), else Hypothesis.
An input that fails is printed; it belongs into tests/kernels/test_template.py.
"""

# ruff: noqa: E402  (what is to be guided must be imported under atheris)

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HAS_ATHERIS = importlib.util.find_spec("atheris") is not None
if HAS_ATHERIS:
    import atheris

with atheris.instrument_imports() if HAS_ATHERIS else contextlib.nullcontext():
    from streamproc.lang import format as _format  # noqa: F401
    from streamproc.lang import template as language
    from streamproc.lang import texts as _texts  # noqa: F401

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from streamproc.errors import ExpressionError, SignalError
from streamproc.kernels import template as fast
from streamproc.kernels.signal import Signal
from streamproc.lang.functions import FUNCTIONS
from streamproc.protocol.topic import parse as parse_topic
from tests.kernels.scenes import (
    FORMATS,
    HEADERS,
    NOW,
    PLACEHOLDERS,
    headers,
    outcome,
    signals,
    templates,
)
from tests.reference import template as slow

SEPARATOR = "\x1f"  # between template and values
MAX_LENGTH = 4096
SLOW_S = 10
TOO_COMPLEX = "placeholder:function.too.complex"


def check(text: str, raw: dict[str, str], signal: Signal) -> None:
    """Raise AssertionError where kernel and reference differ; anything else is a bug, too."""
    try:
        plan = language.parse(text, language.Scope.SIGNAL, connection_id="conn")
    except ExpressionError:
        return
    kernel = fast.Template(plan)
    [first] = kernel.first([raw], [signal], NOW)
    [found] = kernel.all([raw], [signal], NOW)
    if isinstance(found, SignalError) and found.code == TOO_COMPLEX:
        return  # the reference knows no limits
    [expected] = slow.Template(plan).all([raw], [signal], NOW)
    assert outcome(found) == outcome(expected), (text, raw, signal)
    if isinstance(found, tuple):
        assert first == (found[0] if found else None), (text, raw, signal)


def one_input(data: bytes) -> None:
    """What atheris calls."""
    text, *values = data.decode(errors="replace").split(SEPARATOR)
    signal = Signal(parse_topic("a/b/things/twin/events/modified"), "/features/f", value={"a": 1})
    signal.extra = {"attributes": {"a": list(values)}}
    signal.subjects = tuple(values)
    check(text, dict(zip(HEADERS, values, strict=False)), signal)


def guided(seconds: int) -> None:
    words = [*(f"fn:{name}(" for name in FUNCTIONS), *PLACEHOLDERS, *FORMATS, SEPARATOR]
    words += ["{{", "}}", "${", "'exists'", "'like'", "'*?|'", ") | ", "','", '{"a":[1,{"b":2}]}']
    with tempfile.TemporaryDirectory() as folder:
        dictionary = Path(folder, "words")
        dictionary.write_text("".join(f'"{_escaped(word)}"\n' for word in words))
        seeds = Path(folder, "seeds")
        seeds.mkdir()
        for function in FUNCTIONS.values():
            for i, example in enumerate(function.examples):
                parts = [example.template.replace("header:a", "header:id")]
                parts += [*example.headers.values(), *example.subjects]
                (seeds / f"{function.name}-{i}").write_text(SEPARATOR.join(parts))
        options = [f"-max_total_time={seconds}", f"-max_len={MAX_LENGTH}", f"-timeout={SLOW_S}"]
        options += [f"-dict={dictionary}", "-print_final_stats=1", str(seeds)]
        atheris.Setup([sys.argv[0], *options], one_input)
        atheris.Fuzz()


def _escaped(word: str) -> str:
    return "".join(
        chr(b) if 0x20 <= b < 0x7F and chr(b) not in '"\\' else f"\\x{b:02x}" for b in word.encode()
    )


def random(seconds: int) -> int:
    """Runs of Hypothesis, each with a seed of its own, until the time is over."""
    deadline = time.monotonic() + seconds
    runs = 0
    while time.monotonic() < deadline:

        @seed(runs)
        @given(text=templates | st.text(max_size=200), raw=headers, signal=signals())
        @settings(
            max_examples=500,
            database=None,
            deadline=SLOW_S * 1000,
            suppress_health_check=list(HealthCheck),
        )
        def run(text: str, raw: dict[str, str], signal: Any) -> None:
            check(text, raw, signal)

        run()
        runs += 1
    return runs * 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    if HAS_ATHERIS:
        guided(options.seconds)
    else:
        print(f"{random(options.seconds)} inputs, no failure (Hypothesis; no atheris)")  # noqa: T201


if __name__ == "__main__":
    main()
