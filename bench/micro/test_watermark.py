"""The watermark kernel beside its reference: 100 offsets added and done, 1,000 open."""

from __future__ import annotations

import random

import pytest

from streamproc.kernels import watermark as fast
from tests.reference import watermark as slow

BATCH = 100
OPEN = 1_000


@pytest.mark.parametrize("implementation", [slow, fast], ids=["reference", "kernel"])
@pytest.mark.parametrize("order", ["in_order", "shuffled", "with_holes"])
def test_add_and_done(benchmark, implementation, order):
    step = 2 if order == "with_holes" else 1
    mark = implementation.Watermark(0)
    batches = [
        list(range(at * BATCH * step, (at + 1) * BATCH * step, step)) for at in range(10_000)
    ]
    ahead = OPEN // BATCH
    for batch in batches[:ahead]:
        mark.add(batch)
    turn = iter(range(ahead, len(batches)))
    done = [list(batch) for batch in batches]
    if order == "shuffled":
        for batch in done:
            random.Random(1).shuffle(batch)

    def cycle():
        at = next(turn)
        mark.add(batches[at])
        mark.done(done[at - ahead])

    rounds = 2_000 if implementation is fast else 200
    benchmark.pedantic(cycle, rounds=rounds, iterations=1, warmup_rounds=20)
    benchmark.extra_info["ns_per_offset"] = benchmark.stats.stats.median * 1e9 / BATCH
    assert mark.open == OPEN
