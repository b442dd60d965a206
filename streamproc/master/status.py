"""What an operator is shown: /status, /ready and the master's own metrics. Pure.

Everything is read from the configuration (what should be) and from the last reports of the
workers (what is), never from what was once told to whom.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from streamproc.control import ClientRef, ClientReport
from streamproc.master.reconcile import Reconciler
from streamproc.master.supervisor import Slot, Supervisor
from streamproc.telemetry import metrics as m
from streamproc.telemetry.processes import Usage
from streamproc.telemetry.render import Reading
from streamproc.version import VERSION

GOOD = ("open", "held", "ended")
MASTER = "master"


@dataclass(frozen=True)
class View:
    """The master at one moment."""

    supervisor: Supervisor
    reconciler: Reconciler
    pids: Mapping[int, int]  # worker -> process id
    usages: Mapping[str, Usage]  # worker, or "master"
    totals: Callable[[], Mapping[str, float]]
    listeners: Mapping[str, str]
    config_generation: int
    started: float  # epoch seconds
    epoch: float  # epoch seconds minus the supervisor's clock


def status(view: View) -> dict[str, Any]:
    """The whole answer of /status."""
    reasons = unready(view)
    return {
        "service": {
            "version": VERSION,
            "python": platform.python_version(),
            "state": "stopping" if view.supervisor.stopping else "running",
            "since": _iso(view.started),
            "configGeneration": view.config_generation,
            "ready": not reasons,
            **_usage(view.usages.get(MASTER)),
        },
        "workers": [
            _worker(view, number, slot) for number, slot in enumerate(view.supervisor.slots)
        ],
        "clients": list(_clients(view)),
        "listeners": dict(view.listeners),
        "totals": {name: _number(value) for name, value in sorted(view.totals().items())},
    }


def unready(view: View) -> list[dict[str, Any]]:
    """Why the service is not ready; nothing when it is."""
    if view.supervisor.stopping:
        return [{"service": "stopping"}]
    reasons: list[dict[str, Any]] = [
        {"worker": number, "state": slot.state}
        for number, slot in enumerate(view.supervisor.slots)
        if slot.state != "ready"
    ]
    for ref in view.reconciler.desired.clients().values():
        report = _report(view, ref)
        if report is None or report.state not in GOOD:
            client = _client(view, ref)
            reasons.append({key: client[key] for key in ("connection", "index", "live", "error")})
    return reasons


def readings(view: View) -> Iterator[Reading]:
    """The metrics that the master counts itself."""
    slots = view.supervisor.slots
    yield (
        m.BUILD_INFO,
        (VERSION, platform.python_version(), platform.python_implementation().lower()),
        1,
    )
    yield m.CONFIG_GENERATION, (), view.config_generation
    yield m.WORKERS_UP, (), sum(slot.state == "ready" for slot in slots)
    for number, slot in enumerate(slots):
        yield m.WORKER_RESTARTS, (str(number),), max(0, slot.starts - 1)
    connections = view.reconciler.desired.connections
    live = dict.fromkeys(connections, 0)
    over = dict.fromkeys(connections, 0)
    for ref in view.reconciler.desired.clients().values():
        report = _report(view, ref)
        is_up = report is not None and report.state in GOOD
        yield m.CLIENT_UP, (ref.connection_id, str(ref.index)), is_up
        live[ref.connection_id] += _consumers(report, "open")
        over[ref.connection_id] += _consumers(report, "ended")
    for name, connection in connections.items():
        each = sum(source.consumer_count for source in connection.sources)
        expected = each * connection.client_count - over[name]
        yield m.CONSUMERS_EXPECTED, (name,), expected
        yield m.CONSUMERS_LIVE, (name,), live[name]
    for name, usage in view.usages.items():
        yield m.PROCESS_CPU, (name,), usage.cpu_s
        yield m.PROCESS_RSS, (name,), usage.rss_bytes
        yield m.PROCESS_FDS, (name,), usage.fds
        yield m.PROCESS_THREADS, (name,), usage.threads
        yield m.PROCESS_START, (name,), usage.start


def _worker(view: View, number: int, slot: Slot) -> dict[str, Any]:
    return {
        "index": number,
        "pid": view.pids.get(number) or None,
        "state": slot.state,
        "since": _iso(view.epoch + slot.since),
        "restarts": max(0, slot.starts - 1),
        "crashesInARow": slot.crashes,
        **_usage(view.usages.get(str(number))),
    }


def _clients(view: View) -> Iterator[dict[str, Any]]:
    """Those that should be open, those that should not, those that are not closed yet."""
    desired = view.reconciler.desired
    wanted = {ref.id: ref for ref in desired.clients().values()}
    for ref in wanted.values():
        yield _client(view, ref)
    for connection, count in desired.closed.items():
        for index in range(count):
            ref = ClientRef(connection, index, "")
            wanted[ref.id] = ref
            yield _client(view, ref) | {"desired": "closed"}
    for hold in view.reconciler.holds.values():
        for name, report in hold.reports.items():
            if name not in wanted:
                yield _client(view, report.client) | {"desired": "closed"}


def _client(view: View, ref: ClientRef) -> dict[str, Any]:
    worker, report = _find(view, ref)
    if worker is None:
        worker = view.reconciler.places.get((ref.connection_id, ref.index))
    links = [] if report is None else report.links
    if report is not None:
        state: str = report.state
    else:
        state = "waiting" if ref.version else "closed"
    decisive = [link for link in links if link.state == state]
    errors = [link.error for link in decisive or links if link.error]
    return {
        "connection": ref.connection_id,
        "index": ref.index,
        "worker": worker,
        "desired": "open",
        "live": state,
        "since": _iso(max(link.since for link in decisive)) if decisive else None,
        "error": errors[0] if errors else None,
        "links": [
            {
                "name": link.name,
                "state": link.state,
                "since": _iso(link.since),
                "error": link.error,
                "nextTry": None if link.next_try is None else _iso(link.next_try),
            }
            for link in links
        ],
    }


def _report(view: View, ref: ClientRef) -> ClientReport | None:
    return _find(view, ref)[1]


def _find(view: View, ref: ClientRef) -> tuple[int | None, ClientReport | None]:
    """The worker that last said it runs the client, and what it said."""
    for worker, hold in view.reconciler.holds.items():
        report = hold.reports.get(ref.id)
        if report is not None:
            return worker, report
    return None, None


def _consumers(report: ClientReport | None, state: str) -> int:
    """How many of the client's consumers are in *state*."""
    links = [] if report is None else report.links
    return sum(link.name.startswith("source ") and link.state == state for link in links)


def _usage(usage: Usage | None) -> dict[str, Any]:
    if usage is None:
        return {}
    return {
        "cpuSeconds": round(usage.cpu_s, 2),
        "rssBytes": usage.rss_bytes,
        "openFds": usage.fds,
        "threads": usage.threads,
    }


def _number(value: float) -> float | int:
    return int(value) if value == int(value) else value


def _iso(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="milliseconds")
