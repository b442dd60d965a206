"""A master in this process, with real worker processes, for tests to live with for a while."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from streamproc.config.connection import Connection, Source, Target
from streamproc.config.service import Listener, Log, Service, Supervision
from streamproc.errors import ConfigError
from streamproc.master.main import Master

FOR_MASTERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
FAKE = "tests.integration.fake_worker"
DEADLINE_S = 120.0  # for a machine with much else to do
QUICK = Supervision(
    heartbeat_s=0.1,
    silence_s=60.0,
    first_backoff_s=0.05,
    max_backoff_s=0.2,
    healthy_after_s=3600.0,
    crash_limit=5,
    drain_s=60.0,
)


def connection(identity: str, behave: str = "", **more: Any) -> Connection:
    return Connection(
        id=identity,
        **{"connection_type": "kafka", "uri": "tcp://user:hunter2@localhost:9092"} | more,
        specific_config={"behave": behave} if behave else {},
        sources=[Source(addresses=["in"], authorization_context=["x"])],
        targets=[Target(address="out", topics=["_/_/things/twin/events"])],
    )


def service(*connections: Connection, workers: int = 2, **more: Any) -> Service:
    return Service(
        workers=workers,
        management=Listener(port=0),
        log=Log(format="json", per_event_per_minute=1000),
        connections=list(connections),
        supervision=more.pop("supervision", QUICK),
        **more,
    )


class MasterAtWork:
    """The running master, looked at through its management port and its log."""

    def __init__(self, place: Path, first: Service) -> None:
        self.place = place
        self.next: Service | ConfigError = first
        self.held: threading.Event | None = None  # till then nothing can be read
        self.exit_code: int | None = None
        self.task: asyncio.Task[int] | None = None

    def load(self) -> Service:
        if self.held is not None:
            self.held.wait(DEADLINE_S)
        if isinstance(self.next, ConfigError):
            raise self.next
        return self.next

    async def get(self, path: str) -> tuple[int, str]:
        address = (self.place / "management").read_text().strip()
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{address}{path}") as response,
        ):
            return response.status, await response.text()

    async def status(self) -> dict[str, Any]:
        code, body = await self.get("/status")
        assert code == 200
        found: dict[str, Any] = json.loads(body)
        return found

    async def metrics(self) -> dict[str, float]:
        """Samples by name, summed over labels."""
        _, body = await self.get("/metrics")
        sums: dict[str, float] = {}
        for family in text_string_to_metric_families(body):
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
        return sums

    async def eventually(self, true: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Wait until *true* of the status; return that status."""
        last: dict[str, Any] = {}

        async def holds() -> bool:
            nonlocal last
            last = await self.status()
            return bool(true(last))

        try:
            await until(holds, self.task)
        except TimeoutError:
            raise AssertionError(f"did not come true: {json.dumps(last, indent=1)}") from None
        return last

    async def ready(self) -> dict[str, Any]:
        return await self.eventually(lambda status: status["service"]["ready"])

    async def pid(self, worker: int) -> int:
        found: int = (await self.status())["workers"][worker]["pid"]
        return found

    async def ends(self) -> int:
        assert self.task is not None
        return await asyncio.wait_for(self.task, DEADLINE_S)

    async def stop(self) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return await self.ends()


async def until(
    holds: Callable[[], Awaitable[bool]], running: asyncio.Task[int] | None = None
) -> None:
    """Poll *holds*; TimeoutError after the deadline, at once when *running* has ended."""
    end = time.monotonic() + DEADLINE_S
    while not await holds():
        if running is not None and running.done():
            raise AssertionError(f"the master has ended: {running.result()}")
        if time.monotonic() > end:
            raise TimeoutError
        await asyncio.sleep(0.02)


@contextmanager
def unhurt() -> Iterator[None]:
    """A signal that no master handles, yet or any more, does nothing to this process."""
    before = {number: signal.signal(number, lambda *_: None) for number in FOR_MASTERS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@asynccontextmanager
async def at_work(first: Service, place: Path, module: str = FAKE) -> AsyncIterator[MasterAtWork]:
    """Run a master in *place*; stop it, if it was not, when the test is through."""
    with unhurt():
        async with _at_work(first, place, module) as here:
            yield here


@asynccontextmanager
async def _at_work(first: Service, place: Path, module: str) -> AsyncIterator[MasterAtWork]:
    here = MasterAtWork(place, first)
    master = Master(first, here.load, runtime_dir=place, worker_module=module)
    here.task = asyncio.get_running_loop().create_task(master.run())

    async def listens() -> bool:
        return (place / "management").exists()

    try:
        await until(listens, here.task)
        yield here
    finally:
        for _ in range(2):
            if not here.task.done():
                os.kill(os.getpid(), signal.SIGTERM)
                await asyncio.wait([here.task], timeout=5)
        assert here.task.done(), "the master lives on"


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")
