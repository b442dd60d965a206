"""One repetition: the service reads the preloaded topic until everything has come out."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bench.e2e.ends import End, Verdict
from bench.e2e.setup import SOURCE, TARGET
from bench.rig.proc import Sample, family, machine_busy_s, peak_rss_bytes, sample, usage
from bench.rig.report import Progress, mib
from tests.e2e.service import Service

LOOK_EVERY_S = 0.02
STEADY_SHARE = 0.9  # of all messages: what comes after is the tail, where partitions run dry
LATE_S = 120.0  # without any arrival: it will not come
SETTLE_S = 60.0  # from the last arrival until the books are closed


@dataclass
class Window:
    """From the end of the warm-up to the last delivery."""

    seconds: float
    deliveries: int
    steady_rate: float  # up to the tail
    start: Sample
    end: Sample
    machine_s: float  # CPU of all the machine
    beside_s: dict[str, float]  # of it, the two ends

    @property
    def rate(self) -> float:
        return self.deliveries / self.seconds

    def cpu_us(self) -> float:
        """CPU of the whole service a delivery, processes that have ended included."""
        return (self.end.cpu_s - self.start.cpu_s) / self.deliveries * 1e6

    def split_us(self) -> dict[str, float]:
        """The same by process, and how much of it was in the kernel."""
        found: dict[str, float] = {}
        for role, now in self.end.processes.items():
            before = self.start.processes.get(role)
            used = now.cpu_s - (0.0 if before is None else before.cpu_s)
            found[role] = round(used / self.deliveries * 1e6, 2)
        system = self.end.system_s - self.start.system_s
        found["of it in the kernel"] = round(system / self.deliveries * 1e6, 2)
        ended = self.end.ended_s - self.start.ended_s
        if ended > 0:
            found["ended"] = round(ended / self.deliveries * 1e6, 2)
        return found

    def cores(self) -> dict[str, float]:
        """Cores in use: by the service, by each end, by all else on the machine."""
        service = self.end.cpu_s - self.start.cpu_s
        others = self.machine_s - service - sum(self.beside_s.values())
        used = {"service": service, **self.beside_s, "others": max(0.0, others)}
        return {name: round(spent / self.seconds, 2) for name, spent in used.items()}


@dataclass
class Result:
    """Of one repetition. ``problem`` says why there are no figures, or that they are wrong."""

    problem: str = ""
    rate: float = 0.0
    steady_rate: float = 0.0
    cpu_us: float = 0.0
    split_us: dict[str, float] = field(default_factory=dict)
    cores: dict[str, float] = field(default_factory=dict)
    rss_mib: dict[str, float] = field(default_factory=dict)
    peak_rss_mib: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    deliveries: int = 0
    verdict: dict[str, int] = field(default_factory=dict)
    ledger: dict[str, int] = field(default_factory=dict)
    placement: list[dict[str, Any]] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.problem


class Stalled(Exception):
    """Nothing arrives any more, or it takes too long."""


class Watch:
    """Looks at the end and at the service until all *wanted* messages have arrived."""

    def __init__(
        self, service: Service, end: End, broker_pid: int, wanted: int, warm_up: int
    ) -> None:
        self._service = service
        self._end = end
        self._broker_pid = broker_pid
        self._wanted = wanted
        self._warm_up = warm_up

    def window(self, deadline_s: float, progress: Callable[[int], None]) -> Window:
        """Return when all have arrived; raises Stalled."""
        begun = changed = time.monotonic()
        seen = 0
        steady = 0.0
        first: tuple[float, int, Sample, float, dict[str, float]] | None = None
        while True:
            count = self._end.count()
            now = time.monotonic()
            if count != seen:
                seen, changed = count, now
            progress(count)
            if first is None and count >= self._warm_up:
                first = (now, count, *self._used())
            if first is not None and count >= self._wanted * STEADY_SHARE and not steady:
                steady = (count - first[1]) / max(now - first[0], LOOK_EVERY_S)
            if first is not None and count >= self._wanted:
                at, before, start, machine, beside = first
                if count == before:
                    raise Stalled(f"{count} messages arrived at once: too few to measure")
                end, machine_now, beside_now = self._used()
                used = {name: beside_now[name] - spent for name, spent in beside.items()}
                took, came = now - at, count - before
                return Window(took, came, steady, start, end, machine_now - machine, used)
            if now - changed > LATE_S or now - begun > deadline_s:
                waited = now - begun
                raise Stalled(f"{count} of {self._wanted} have arrived after {waited:.0f} s")
            time.sleep(LOOK_EVERY_S)

    def _used(self) -> tuple[Sample, float, dict[str, float]]:
        broker = usage(self._broker_pid)
        beside = {"broker": 0.0 if broker is None else broker.cpu_s, "receiver": self._end.cpu_s()}
        return sample(self._service.pid), machine_busy_s(), beside


def measure(
    service: Service,
    end: End,
    *,
    broker_pid: int,
    wanted: int,
    warm_up: int,
    deadline_s: float,
    label: str,
) -> Result:
    """Start *service*, watch, stop it. Problems are in the result, so that others can go on."""
    result = Result()
    progress = Progress()
    begun = time.monotonic()

    def say(count: int) -> None:
        took = time.monotonic() - begun
        progress.say(f"{label}: {count:,} of {wanted:,} after {took:.1f} s")

    try:
        progress.say(f"{label}: starting")
        service.start()
        watch = Watch(service, end, broker_pid, wanted, warm_up)
        window = watch.window(deadline_s, say)
        _fill(result, window, service)
        service.eventually(lambda: _at_rest(service), "at rest", SETTLE_S)
        result.ledger = service.balanced(SOURCE, TARGET)
        service.signal(signal.SIGTERM)
        code = service.wait()
        if code != 0:
            result.problem = f"the service ended with status {code}"
    except (Stalled, AssertionError, OSError) as error:
        result.problem = str(error)
    finally:
        progress.over()
    verdict = end.verdict(wanted)
    result.verdict = verdict.as_dict()
    result.problem = result.problem or _judge(verdict, result)
    return result


def _fill(result: Result, window: Window, service: Service) -> None:
    result.rate = window.rate
    result.steady_rate = window.steady_rate
    result.cpu_us = window.cpu_us()
    result.split_us = window.split_us()
    result.cores = window.cores()
    result.seconds = window.seconds
    result.deliveries = window.deliveries
    result.rss_mib = {role: mib(one.rss_bytes) for role, one in window.end.processes.items()}
    result.peak_rss_mib = {
        role: mib(peak_rss_bytes(pid)) for pid, role in family(service.pid).items()
    }
    result.placement = [
        {"client": f"{c['connection']}#{c.get('index', 0)}", "worker": c["worker"]}
        for c in service.status()["clients"]
    ]


def _at_rest(service: Service) -> bool:
    """Nothing received is unsettled, no delivery is open, nothing is on disk."""
    found = service.metrics()
    names = ("messages_in_flight", "deliveries_in_flight", "spill_depth")
    return not any(
        found.get((f"streamproc_{name}", connection), 0.0)
        for name in names
        for connection in (SOURCE, TARGET)
    )


def _judge(verdict: Verdict, result: Result) -> str:
    if not verdict.good:
        return (
            f"{verdict.missing} missing, {verdict.out_of_order} out of order, "
            f"{verdict.forbidden} that should have been refused"
        )
    parked = result.ledger.get("parked", 0)
    return f"{parked} parked" if parked else ""
