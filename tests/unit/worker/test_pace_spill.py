"""What waits for an endpoint that is left alone goes to disk, and comes back in order."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamproc.config.service import Breaker
from streamproc.errors import DeliveryFailed, EndpointGone, RunnerError
from streamproc.kernels.delivery import Delivery
from streamproc.kernels.settlement import Ticket
from streamproc.worker.gate import Rules
from tests.unit.worker.script import by_key, until
from tests.unit.worker.test_pace import RETRY
from tests.unit.worker.test_spill import SENDER, Bench


def sent(*keys: str) -> list[Delivery]:
    return [
        Delivery(0, key, f"{key}/{i}", {}, b"x", Ticket((SENDER, "c"), i))
        for i, key in enumerate(keys)
    ]


@pytest.mark.parametrize(
    "error",
    [
        DeliveryFailed("endpoint answered 503", status=503),  # opens the breaker
        DeliveryFailed("endpoint answered 503", status=503, retry_after_s=1.0),
        EndpointGone("endpoint answered 410"),
    ],
    ids=["breaker", "retry-after", "gone"],
)
async def test_few_deliveries_that_wait_go_to_disk_too(tmp_path: Path, error: RunnerError) -> None:
    """Far fewer than the window: their sources go on, and so do those of others."""
    rules = Rules(
        retry=RETRY,
        breaker=Breaker(min_requests=1, first_open_s=1.0, max_open_s=1.0),
        budget=True,
    )
    bench = Bench(tmp_path / "c#0", lambda d: error, window=1000, capacity=1, rules=rules)
    await until(lambda: bench.outlet.link.state == "open")
    items = sent("a", "a", "b", "c")
    bench.outlet.offer(items)
    await bench.book.until(lambda: len(bench.book.on_disk) == 4)
    assert bench.outlet.pace.shut
    assert len(bench.script.written) == 1
    bench.script.answer = lambda d: None
    bench.outlet.pace.resume()
    await bench.book.until(lambda: len(bench.book.done) == 4)
    assert by_key(bench.book.done) == by_key(items)
    await until(lambda: bench.outlet.on_disk == (0, 0))
    await bench.close()
