"""Feeds a function bytes until the time is over: with atheris where it is, else Hypothesis.

A target returns, or raises what a caller must expect; anything else ends the run with the
input that did it. Run one as ``python tests/fuzz/fuzz_rql.py --seconds 60``.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

HAS_ATHERIS = importlib.util.find_spec("atheris") is not None
MAX_BYTES = 4_096
HANG_S = 20  # one input may take so long; a target's limits keep it far below


def instrumented() -> contextlib.AbstractContextManager[Any]:
    """Imports inside are watched for the code they reach."""
    if not HAS_ATHERIS:
        return contextlib.nullcontext()
    import atheris

    return atheris.instrument_imports(include=["streamproc.lang"])


def run(target: Callable[[bytes], None], seeds: Iterable[bytes], tokens: Iterable[bytes]) -> None:
    """Run *target* on mutations of *seeds*, with *tokens* as the words of its language."""
    parser = argparse.ArgumentParser(description=target.__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("input", nargs="?", type=Path, help="run this one input and end")
    options = parser.parse_args()
    if options.input is not None:
        target(options.input.read_bytes())
    elif HAS_ATHERIS:
        _run_atheris(target, seeds, tokens, options.seconds)
    else:
        _run_hypothesis(target, list(seeds), list(tokens), options.seconds)


def _run_atheris(
    target: Callable[[bytes], None], seeds: Iterable[bytes], tokens: Iterable[bytes], seconds: int
) -> None:
    import atheris

    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    words = folder / "words"
    words.write_text("".join(f'"{_quoted(token)}"\n' for token in tokens))
    arguments = [
        *(sys.argv[0], str(corpus), f"-dict={words}", f"-max_total_time={seconds}"),
        *(f"-max_len={MAX_BYTES}", f"-timeout={HANG_S}", f"-artifact_prefix={folder}/"),
    ]
    atheris.Setup(arguments, target)
    atheris.Fuzz()


def _quoted(token: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in token)


def _run_hypothesis(
    target: Callable[[bytes], None], seeds: list[bytes], tokens: list[bytes], seconds: int
) -> None:
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    words = st.lists(st.sampled_from(tokens) | st.binary(max_size=3), max_size=30).map(b"".join)
    spoiled = st.builds(
        lambda seed, at, length, word: seed[:at] + word + seed[at + length :],
        st.sampled_from(seeds),
        st.integers(0, 60),
        st.integers(0, 4),
        st.sampled_from(tokens) | st.binary(max_size=3),
    )

    @settings(
        max_examples=2_000,
        deadline=HANG_S * 1000,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(words | spoiled | st.binary(max_size=200))
    def once(data: bytes) -> None:
        nonlocal inputs
        inputs += 1
        target(data)

    inputs, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        once()
    sys.stdout.write(f"{inputs} inputs by Hypothesis, nothing found\n")
