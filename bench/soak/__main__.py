"""Steady load, generator -> http-push -> receiver, through ``streamproc run`` with two workers.

Looks at every process each 5 s; prints a line a minute, then how memory went after the first
minute. Fails when it grew beyond the bound, a worker was restarted, or the books are off.

In the first minute the receiver stalls for a while, so that every window is full once: memory
for all that may be in flight is taken then, and a busy moment of the machine later takes none.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.e2e.ends import Receiver
from bench.e2e.setup import policies, target
from bench.rig.facts import config_hash, facts, line
from bench.rig.proc import sample
from bench.rig.report import Progress, mib, table, write
from bench.soak import faults
from bench.soak.samples import MINUTE_S, Look, growth, roles
from tests.e2e.service import Service

LOOK_EVERY_S = 5.0
STALL_S = (15.0, 35.0)  # seconds after the start; at the default rate the windows are full
STALL_MS = 5_000  # before each answer
LATE_S = 60.0  # after the last message was due
SOURCE, TARGET = "soak-in", "soak-out"
NAMESPACE = "org.bench"
UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0}


def main() -> int:
    """0: flat and balanced; 1: not, or it ended early."""
    options = _parser().parse_args()
    if options.faults:
        return faults.main(options)
    about = facts()
    print(line(about), flush=True)
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="streamproc-soak-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        receiver = stack.enter_context(Receiver())
        settings = _config(options, receiver.url)
        service = stack.enter_context(Service(folder, settings))
        problems, report = _soak(options, service, receiver)
    shown = {name: str(value) for name, value in vars(options).items() if name != "json"}
    report = {
        "bench": "soak",
        "facts": about,
        "load_average_after": [round(value, 2) for value in os.getloadavg()],
        "options": shown,
        "config_hash": config_hash(_config(options, "$RECEIVER")),
        "problems": problems,
        **report,
    }
    if options.json is not None:
        write(options.json, report)
    print("\n".join(f"PROBLEM: {problem}" for problem in problems) or "flat and balanced")
    return 1 if problems else 0


def _config(options: argparse.Namespace, receiver: str) -> dict[str, Any]:
    """Two clients of each connection: half of all messages cross the bus."""
    return {
        "workers": options.workers,
        **policies(),
        "connections": [
            {
                "id": SOURCE,
                "connectionType": "generator",
                "clientCount": options.workers,
                "specificConfig": {
                    "namespace": NAMESPACE,
                    "devices": 1000,
                    "rate": options.rate / options.workers,
                    "count": int(options.duration * options.rate / options.workers),
                    "payloadBytes": 256,
                    "intruders": 0.01,
                    "zipf": 1.0,
                },
                "sources": [
                    {
                        "addresses": ["devices"],
                        "authorizationContext": ["bench:devices"],
                        "enforcement": {
                            "input": "{{ header:device_id }}",
                            "filters": ["{{ thing:id }}"],
                        },
                        "headerMapping": {"x-device": "{{ header:device_id }}"},
                    }
                ],
            },
            {
                "id": TARGET,
                "connectionType": "http-push",
                "uri": receiver,
                "clientCount": options.workers,
                "specificConfig": {"parallelism": 32},
                "targets": [
                    {
                        **target("POST:/things/{{ thing:name }}"),
                        "topics": [f"_/_/things/twin/events?namespaces={NAMESPACE}"],
                    }
                ],
            },
        ],
    }


def _soak(
    options: argparse.Namespace, service: Service, receiver: Receiver
) -> tuple[list[str], dict[str, Any]]:
    """-> problems, and what was seen."""
    looks: list[Look] = []
    try:
        service.start()
        _watch(options, service, receiver, looks)
        service.eventually(lambda: _over(service), "at rest", LATE_S)
        ledger = service.balanced(SOURCE, TARGET)
        restarts = int(service.metrics().get(("streamproc_worker_restarts_total", ""), 0))
        code = service.terminate()
    except (AssertionError, OSError) as error:
        return [str(error)], {"looks": _looks(looks)}
    found = receiver.figures()
    problems = _judge_books(options, ledger, found)
    if restarts:
        problems.append(f"{restarts} restarts of workers")
    if code:
        problems.append(f"the service ended with status {code}")
    rows, more = _judge_memory(looks, options.max_growth)
    print(f"\nresident memory after the first minute\n{table(rows)}")
    print("books: " + ", ".join(f"{name} {count:,}" for name, count in ledger.items()))
    arrived = {name: count for name, count in found.items() if isinstance(count, int)}
    print("receiver: " + ", ".join(f"{name} {count:,}" for name, count in arrived.items()))
    report = {"ledger": ledger, "receiver": found, "memory": _table(rows), "looks": _looks(looks)}
    return problems + more, report


def _watch(
    options: argparse.Namespace, service: Service, receiver: Receiver, looks: list[Look]
) -> None:
    """Until all should have been said. A line a minute."""
    progress = Progress()
    begun = time.monotonic()
    told = 0
    stalls = [(STALL_S[0], {"delayMs": STALL_MS}), (STALL_S[1], {})]
    while True:
        at = time.monotonic() - begun
        if stalls and at >= stalls[0][0]:
            receiver.behave(stalls.pop(0)[1])
        looks.append(Look(at, sample(service.pid), receiver.count()))
        if at >= (told + 1) * MINUTE_S:
            progress.over()
            print(_minute(looks, told), flush=True)
            told += 1
        if at >= options.duration:
            break
        progress.say(f"{at:.0f} of {options.duration:.0f} s, {looks[-1].delivered:,} delivered")
        due = begun + len(looks) * LOOK_EVERY_S
        time.sleep(max(0.0, min(due - time.monotonic(), options.duration - at)))
    progress.over()


def _minute(looks: list[Look], minute: int) -> str:
    """RSS, descriptors and threads at the end of a minute; the rate within it."""
    within = [look for look in looks if look.at >= minute * MINUTE_S]
    first, last = within[0], within[-1]
    rate = (last.delivered - first.delivered) / max(last.at - first.at, 1e-9)
    cpu = (last.sample.cpu_s - first.sample.cpu_s) / max(last.at - first.at, 1e-9)
    each = "; ".join(
        f"{role} {mib(one.rss_bytes):.1f} MiB {one.fds} fds {one.threads} threads"
        for role, one in last.sample.processes.items()
    )
    return f"minute {minute + 1}: {rate:,.0f}/s, {cpu:.2f} cores; {each}"


def _over(service: Service) -> bool:
    """The generators have ended and everything is settled."""
    found = service.metrics()
    clients = service.status()["clients"]
    ended = all(c["live"] == "ended" for c in clients if c["connection"] == SOURCE)
    names = ("messages_in_flight", "deliveries_in_flight", "spill_depth")
    return ended and not any(
        found.get((f"streamproc_{name}", connection), 0.0)
        for name in names
        for connection in (SOURCE, TARGET)
    )


def _judge_books(
    options: argparse.Namespace, ledger: dict[str, int], found: dict[str, Any]
) -> list[str]:
    """The identities hold already (``Service.balanced``); here against what was asked for."""
    said = int(options.duration * options.rate / options.workers) * options.workers
    rules = {
        f"received {ledger['received']}, said {said}": ledger["received"] == said,
        f"accepted {ledger['accepted']} and rejected {ledger['rejected']} are not all": (
            ledger["accepted"] + ledger["rejected"] == said
        ),
        f"due {ledger['due']}, accepted {ledger['accepted']}": ledger["due"] == ledger["accepted"],
        f"delivered {ledger['delivered']} and spilled {ledger['spilled']} of {ledger['due']} due": (
            ledger["delivered"] + ledger["spilled"] == ledger["due"]
        ),
        f"the receiver has {found['unique']} of {ledger['due']}": found["unique"] == ledger["due"],
        f"{found['out_of_order']} out of order": not found["out_of_order"],
    }
    return [sentence for sentence, holds in rules.items() if not holds]


def _judge_memory(looks: list[Look], most_mib: float) -> tuple[list[list[object]], list[str]]:
    rows: list[list[object]] = [
        ["process", "minute 2 MiB", "last minute MiB", "grown MiB", "KiB/minute"]
    ]
    problems = []
    for role in roles(looks):
        found = growth(looks, role)
        if found is None:
            problems.append(f"{role} was not seen for long enough to judge its memory")
            continue
        sizes = [mib(found.first_bytes), mib(found.last_bytes), mib(found.grown_bytes)]
        rows.append([role, *sizes, round(found.slope_bytes / 1024, 1)])
        if found.grown_bytes > most_mib * (1 << 20):
            problems.append(
                f"{role} grew by {mib(found.grown_bytes)} MiB after the first minute; "
                f"the bound is {most_mib:g}"
            )
    return rows, problems


def _table(rows: list[list[object]]) -> list[dict[str, object]]:
    return [dict(zip((str(name) for name in rows[0]), row, strict=True)) for row in rows[1:]]


def _looks(looks: list[Look]) -> list[dict[str, Any]]:
    return [
        {
            "at": round(look.at, 1),
            "delivered": look.delivered,
            **{role: asdict(one) for role, one in look.sample.processes.items()},
        }
        for look in looks
    ]


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 10m or 200s")
    seconds = float(match[1]) * UNITS_S[match[2]]
    if seconds < 3 * MINUTE_S:
        raise argparse.ArgumentTypeError("two minutes are compared, not the first: at least 3m")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--for", dest="duration", type=_seconds, default="10m", metavar="TIME")
    parser.add_argument("--rate", type=float, default=4_000.0, help="messages a second, in all")
    parser.add_argument("--faults", action="store_true", help="over brokers, which break, too")
    parser.add_argument("--every", type=float, default=60.0, help="seconds between faults")
    parser.add_argument("--road", default="rabbitmq-kafka", help="or kafka-rabbitmq")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--max-growth", type=float, default=4.0, metavar="MIB", help="of a process, in MiB"
    )
    parser.add_argument("--json", type=Path, help="write the figures there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
