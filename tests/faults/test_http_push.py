"""Endpoints of every temper: what arrives, in which order, and what it costs the others.

One source feeds ten HTTP endpoints, nine good ones and one under test; the keys' popularity is
Zipf's. Each scenario ends at rest, and then every id is accounted for. ``-s`` prints the table;
``STREAMPROC_FULL=1`` is the long form.
"""

from __future__ import annotations

import contextlib
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e import ends
from tests.e2e.play import FULL
from tests.e2e.service import Service
from tests.faults.proxy import Proxy

MESSAGES = 12_000 if FULL else 900
RATE = 400 if FULL else 600
"""Messages a second, ten requests each: far from what a machine can do, so that a target that
gets less is one that was held up, and not one that had no processor."""
THINGS = 1_000
ZIPF = 1.0
OTHERS = 9
OUTAGE_S = 30.0 if FULL else 1.5
PATIENCE_S = 900.0 if FULL else 120.0
UNHARMED = 0.95 if FULL else 0.5
"""Least share of the rate that the others have alone. The short form takes a second and a half
on a machine that has other things to do; it tells slower from held up, and no more."""
PARALLELISM = 16


@dataclass(frozen=True)
class Scenario:
    """How the endpoint under test behaves while messages come."""

    name: str
    behaviour: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)  # specificConfig
    outage: bool = False
    spills: bool = False  # what waits must go to disk: it cannot keep up
    doubles: bool = False  # it takes messages without saying so
    parked: int = 0  # messages that it refuses, whatever they are sent with


SCENARIOS = [
    Scenario("answers at once"),
    Scenario("answers after 5 ms", {"delayMs": 5}),
    Scenario("answers after 50 ms", {"delayMs": 50}, spills=True),
    Scenario("1 of 100 after 2 s", {"delayMs": 1, "slowShare": 0.01, "slowMs": 2000}, spills=FULL),
    Scenario("1 % 503", {"failedShare": 0.01}),
    Scenario(
        "429, Retry-After: 1",
        {"failedShare": 0.005, "failedStatus": 429, "retryAfter": "1"},
        spills=True,
    ),
    Scenario(
        "1 % reset in mid-body",
        {"cutShare": 0.01, "cut": "reset", "status": 200, "body": "x" * 64},
        doubles=True,
    ),
    Scenario(
        "1 % slow-loris answers",
        {"dripShare": 0.01, "dripMs": 200, "status": 200, "body": "x" * 64},
        {"idleTimeout": "500ms"},
        doubles=True,
    ),
    Scenario("full outage", outage=True, spills=True),
    Scenario(
        "50 ms, in batches",
        {"delayMs": 50},
        {"batch": {"maxMessages": 50, "maxDelay": "5ms"}},
    ),
    Scenario(
        "one bad, in batches",
        {"delayMs": 20, "bad": '"id":"0-321"'},
        {"batch": {"maxMessages": 50, "maxDelay": "20ms"}},
        parked=1,
    ),
    Scenario(
        "1 % 503, in batches",
        {"failedShare": 0.01},
        {"batch": {"maxMessages": 50, "maxDelay": "5ms", "format": "ndjson"}},
    ),
]


class Row(NamedTuple):
    """What came of a scenario."""

    name: str
    unique: int
    doubled: int
    out_of_order: int
    early: int
    retried: int
    spilled: int
    parked: int
    others: float  # the slowest one's share of the rate it has alone
    drained_s: float  # from the last message's arrival at the others until all had arrived


ROWS: list[Row] = []


@pytest.fixture(scope="module")
def others() -> Iterator[ends.Receiver]:
    with ends.Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def under_test() -> Iterator[ends.Receiver]:
    with ends.Receiver() as receiver:
        yield receiver


class Alone:
    """What the nine get when there is no other, on this machine, at this hour."""

    def __init__(self, others: ends.Receiver, folders: pytest.TempPathFactory) -> None:
        self._others = others
        self._folders = folders
        self.rate = self.measure()  # messages a second of each

    def measure(self) -> float:
        reset(self._others)
        folder = self._folders.mktemp("alone")
        with Service(folder, config(self._others.url)) as service:
            service.start()
            rate = rate_of_others(service, self._others)
            assert service.terminate() == 0
        return rate

    def share(self, rate: float) -> float:
        """*rate* as a share of it. A bad one is held against the machine as it is now, too."""
        if rate < UNHARMED * self.rate:
            return rate / min(self.rate, self.measure())
        return rate / self.rate


@pytest.fixture(scope="module")
def alone(others: ends.Receiver, tmp_path_factory: pytest.TempPathFactory) -> Alone:
    return Alone(others, tmp_path_factory)


@pytest.fixture(scope="module", autouse=True)
def _table(alone: Alone) -> Iterator[None]:
    yield
    columns = "{:24}{:>8}{:>8}{:>9}{:>7}{:>9}{:>9}{:>8}{:>8}{:>8}\n"
    head = ("ids", "doubled", "disorder", "early", "retried", "spilled", "parked", "others", "s")
    lines = [
        f"\n{MESSAGES} messages of {THINGS} things, Zipf {ZIPF:g}, to ten endpoints; the nine "
        f"others alone: {alone.rate:.0f}/s each\n",
        columns.format("endpoint under test", *head),
    ]
    for row in ROWS:
        *figures, others, drained = row[1:]
        lines.append(columns.format(row.name, *figures, f"{others:.1%}", f"{drained:.1f}"))
    sys.stdout.write("".join(lines))


@pytest.mark.timeout(2 * PATIENCE_S)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_all_arrives_in_order_and_nobody_else_notices(
    scenario: Scenario,
    others: ends.Receiver,
    under_test: ends.Receiver,
    alone: Alone,
    tmp_path: Path,
) -> None:
    reset(others)
    reset(under_test)
    under_test.behave(**scenario.behaviour)
    port = int(under_test.url.rpartition(":")[2])
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(Proxy(port)) if scenario.outage else None
        url = f"http://127.0.0.1:{proxy.port}" if proxy else under_test.url
        tried = push("tried", url, parallelism=PARALLELISM, **scenario.options)
        service = stack.enter_context(Service(tmp_path, config(others.url, tried)))
        service.start()
        if proxy is not None:
            service.eventually(lambda: under_test.figures()["unique"] > 50, "it has begun")
            proxy.refuse()
            proxy.cut()
            ends_at = time.monotonic() + OUTAGE_S
        rate = rate_of_others(service, others)
        arrived_at = time.monotonic()
        if proxy is not None:
            time.sleep(max(0.0, ends_at - time.monotonic()))  # the length of the outage
            assert under_test.figures()["unique"] < MESSAGES
            proxy.accept()
        service.eventually(
            lambda: under_test.figures()["unique"] == MESSAGES - scenario.parked,
            "all arrived",
            PATIENCE_S,
        )
        drained_s = time.monotonic() - arrived_at
        service.eventually(lambda: at_rest(service), "at rest")
        figures = under_test.figures()
        ROWS.append(
            Row(
                scenario.name,
                figures["unique"],
                figures["duplicated"],
                figures["out_of_order"] + others.figures()["out_of_order"],
                figures["early"],
                service.metric("deliveries_retried_total", "tried"),
                service.metric("deliveries_spilled_total", "tried"),
                service.metric("deliveries_parked_total", "tried"),
                0.0,
                drained_s,
            )
        )
        for name in ("tried", *NAMES):
            ledger = service.balanced("devices", name)
            assert ledger["received"] == ledger["due"] == MESSAGES
            assert ledger["parked"] == (scenario.parked if name == "tried" else 0)
            assert ledger["deliveries in flight"] == 0
        assert service.terminate() == 0
    row = ROWS[-1] = ROWS[-1]._replace(others=alone.share(rate))
    assert row.out_of_order == 0
    assert row.early == 0
    assert (row.unique, row.parked) == (MESSAGES - scenario.parked, scenario.parked)
    if scenario.doubles:
        assert row.doubled == figures["unanswered"] > 0, "each one taken in silence came again"
    elif not scenario.outage:
        assert row.doubled == 0
    else:
        assert row.doubled <= PARALLELISM, "what was in flight when the link was cut"
    assert (row.spilled > 0) >= scenario.spills
    assert row.others >= UNHARMED


NAMES = [f"good-{number}" for number in range(OTHERS)]


def config(others_url: str, *more: dict[str, Any]) -> dict[str, Any]:
    return {
        "workers": 2,
        "spill": {"afterS": 0.2, "windowMessages": 50},
        "retry": {"firstDelayS": 0.05, "maxDelayS": 0.5},
        "limits": {"sourceWindowMessages": MESSAGES // 2},  # so that it matters when one waits
        **ends.policies(),
        "connections": [
            ends.generator(THINGS, MESSAGES, zipf=ZIPF, rate=RATE),
            *(push(name, others_url, parallelism=4) for name in NAMES),
            *more,
        ],
    }


def push(name: str, url: str, **options: Any) -> dict[str, Any]:
    return ends.push(name, url, address=f"POST:/{name}", **options)


def reset(receiver: ends.Receiver) -> None:
    """Let it forget all that it has seen, and behave."""
    receiver.behave()
    request = urllib.request.Request(receiver.url + "/reset", b"", method="POST")
    urllib.request.urlopen(request, timeout=20).close()


def rate_of_others(service: Service, others: ends.Receiver) -> float:
    """Wait until the nine have everything. -> messages a second of the slowest, but for the
    beginning and the end.
    """
    samples: dict[str, list[tuple[float, int]]] = {name: [] for name in NAMES}

    def all_there() -> bool:
        groups: Any = others.figures()["groups"]
        now = time.monotonic()
        for name in NAMES:
            samples[name].append((now, groups.get(name, {}).get("unique", 0)))
        return all(seen[-1][1] == MESSAGES for seen in samples.values())

    service.eventually(all_there, "the others have all", PATIENCE_S)
    return min(map(_slope, samples.values()))


def _slope(seen: list[tuple[float, int]]) -> float:
    (start, first), *_ = (sample for sample in seen if sample[1] >= 0.1 * MESSAGES)
    (end, last), *_ = (sample for sample in seen if sample[1] >= 0.95 * MESSAGES)
    return (last - first) / (end - start)


def at_rest(service: Service) -> bool:
    """Nothing is on its way, nor on disk."""
    found = service.metrics()
    return not any(
        found.get((f"streamproc_{name}", connection), 0)
        for name in ("deliveries_in_flight", "messages_in_flight", "spill_depth")
        for connection in ("devices", "tried", *NAMES)
    )
