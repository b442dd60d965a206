"""THE data path: a batch of source messages in, deliveries to clients out.

    bytes -> identity -> signals -> subjects -> headers -> enforcement -> WRITE -> events
    events -> who subscribed -> namespaces, filter -> READ -> payload, address, headers
    -> deliveries -> the client of each (worker/outbox.py), and its receipt settles

Everything is parsed before the first message (``Inlet``, ``Routes``); here only lists move.
A step gives back one outcome a message; a ``SignalError`` among them costs nobody else
anything: its message leaves the path, is counted and told to its sender.

A batch is first worked out (``Work``), which changes nothing outside, then carried out.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from streamproc.connectors.base import Batch
from streamproc.errors import SignalError
from streamproc.kernels import columns
from streamproc.kernels.delivery import Delivery
from streamproc.kernels.envelope import encode
from streamproc.kernels.settlement import Entry, Window, deliveries, receipts
from streamproc.kernels.signal import Signal
from streamproc.telemetry import events as tell
from streamproc.telemetry import metrics
from streamproc.telemetry.slots import Block, Slot
from streamproc.twin import stateless
from streamproc.twin.policy import WRITE, Policies, denied
from streamproc.worker.acks import LIVE_RESPONSE, Asked
from streamproc.worker.dispatch import Dispatcher
from streamproc.worker.inlet import Inlet
from streamproc.worker.routes import Route, Routes
from streamproc.worker.tally import Tally


class Work:
    """What is left of a batch, as parallel lists, and what is to become of it."""

    def __init__(
        self, entries: list[Entry], payloads: list[bytes], headers: list[dict[str, str]]
    ) -> None:
        self.entries = entries
        self.payloads = payloads
        self.headers = headers
        self.identities: list[Any] = []
        self.signals: list[Any] = []
        self.asked: list[Asked | None] = []  # empty: nobody asks for acknowledgements
        # To be carried out.
        self.rejected: list[tuple[Entry, SignalError]] = []
        self.made: list[tuple[Route, list[Delivery]]] = []
        self.waiting: list[tuple[Entry, Asked]] = []  # for acknowledgements
        self.dropped: Counter[tuple[Route, str]] = Counter()  # route and cause -> how many
        self.accepted = 0
        self.unwanted = 0  # of these, what no target is to get

    def passed(self, outcomes: list[Any]) -> list[Any]:
        """Take the messages whose outcome is an error off the path. -> the other outcomes."""
        bad = columns.errors(outcomes)
        if not bad:
            return outcomes
        self.rejected += [(self.entries[i], outcomes[i]) for i in bad]
        gone = set(bad)
        rest = [i for i in range(len(outcomes)) if i not in gone]
        self.keep(rest)
        return columns.pick(outcomes, rest)

    def drop(self, route: Route, address: Any, headers: Any) -> None:
        """One of both cannot be made: the signal is dropped for this target, by Ditto's rule
        (spec: Ditto 4.5), counted and told.
        """
        error = headers if type(address) is str else address
        self.dropped[route, "address_unresolved" if error is None else error.code] += 1

    def keep(self, rest: list[int]) -> None:
        """Forget all but these positions."""
        if len(rest) == len(self.entries):
            return
        for name in ("entries", "payloads", "headers", "identities", "signals", "asked"):
            column = getattr(self, name)
            if column:
                setattr(self, name, columns.pick(column, rest))


class Flow:
    """The path from one source to every target, called with each batch."""

    def __init__(
        self,
        inlet: Inlet,
        routes: Routes,
        policies: Policies,
        dispatcher: Dispatcher,
        tally: Tally,
        block: Block,
    ) -> None:
        self._inlet = inlet
        self._policies = policies
        self._routes = routes
        self._dispatcher = dispatcher
        self._tally = tally
        self._block = block
        self._answers_live = LIVE_RESPONSE in routes.issued
        self._labels = {"connection": inlet.connection_id, "source": inlet.source_name}
        self._accepted = block.counter(metrics.MESSAGES_ACCEPTED, **self._labels)
        self._filtered = block.counter(metrics.SIGNALS_FILTERED, **self._labels)
        self._rejected: dict[str, Slot] = {}

    def __call__(self, batch: Batch, entries: list[Entry], window: Window) -> None:
        """Release every entry, once it has the deliveries that it must wait for."""
        works = self._work_out(entries, batch.payloads, batch.headers)
        for work in works:
            self._carry_out(work, window)
        window.release(entries)

    def _work_out(
        self, entries: list[Entry], payloads: list[bytes], headers: list[dict[str, str]]
    ) -> list[Work]:
        """One work for the batch; should that fail, which is a bug of ours, one a message, so
        that the message that we cannot handle is refused alone.
        """
        work = Work(entries, payloads, headers)
        try:
            self._inbound(work)
            self._outbound(work)
        except Exception as error:  # noqa: BLE001 - the bug must cost nobody else anything
            for _, made in work.made:
                receipts(made)
            if len(entries) > 1:
                return [
                    self._work_out([entry], [payload], [header])[0]
                    for entry, payload, header in zip(entries, payloads, headers, strict=True)
                ]
            tell.failed_unexpectedly(f"flow of {self._inlet.connection_id}", error)
            work = Work([], [], [])
            refusal = SignalError("internal", f"the message could not be processed: {error!r}")
            work.rejected.append((entries[0], refusal))
        return [work]

    def _inbound(self, work: Work) -> None:
        """Turn messages into signals that are allowed to be said."""
        inlet = self._inlet
        work.passed(inlet.check_size(work.payloads))
        work.identities = work.passed(inlet.identities(work.headers))
        work.signals = work.passed(inlet.signals(work.payloads))
        work.passed(inlet.resolve_subjects(work.headers, work.signals))
        work.passed(inlet.map_headers(work.headers, work.signals))
        work.passed(inlet.enforce(work.identities, work.signals))
        work.passed(self._may_write(work.signals))
        asked = inlet.ack_requests(work.headers, work.signals, self._answers_live)
        if asked:
            work.asked = work.passed(asked)
        work.signals = work.passed(stateless.to_events(work.signals, _now()))
        work.accepted = len(work.signals)
        work.keep(columns.present(work.signals))

    def _may_write(self, signals: list[Signal]) -> list[SignalError | None]:
        allowed = self._policies.allowed(signals, None, WRITE)
        if False not in allowed:
            return []
        return [
            None if may else denied(signal, WRITE)
            for may, signal in zip(allowed, signals, strict=True)
        ]

    def _outbound(self, work: Work) -> None:
        """Make a delivery for each target that is to get a signal."""
        signals: list[Signal] = work.signals
        wanted = bytearray(len(signals))
        payloads: list[Any] = [None] * len(signals)  # None: nobody wanted it yet
        for kind, positions in columns.by_kind(signals).items():
            for route in self._routes.subscribed(kind, self._inlet.connection_id):
                chosen = route.select(kind, signals, positions, self._policies)
                if chosen:
                    columns.flag(wanted, chosen)
                    self._deliver(route, chosen, work, payloads)
        work.unwanted = work.accepted - len(wanted) + wanted.count(0)
        if work.asked:
            issued = self._routes.issued
            for entry, asked in zip(work.entries, work.asked, strict=True):
                if asked is not None and asked.complete(issued):
                    work.waiting.append((entry, asked))

    def _deliver(self, route: Route, chosen: list[int], work: Work, payloads: list[Any]) -> None:
        """*payloads* are rendered once, for whichever target is first to want them."""
        signals: list[Signal] = columns.pick(work.signals, chosen)
        missing = columns.missing(payloads, chosen)
        columns.place(payloads, missing, encode(columns.pick(work.signals, missing)))
        headers: list[Any] = route.headers.apply(columns.transport_headers(signals), signals)
        addresses: list[Any] = route.address.first(columns.own_headers(signals), signals)
        for i in columns.unusable(addresses, headers):
            work.drop(route, addresses[i], headers[i])
            addresses[i] = None
        made = deliveries(
            route.index,
            columns.pick(work.entries, chosen),
            columns.ordering_keys(signals),
            addresses,
            headers,
            columns.pick(payloads, chosen),
        )
        work.made.append((route, made))
        if work.asked and route.label is not None:
            sent = [i for i, a in zip(chosen, addresses, strict=True) if a is not None]
            _bring(route.label, made, sent, work)

    def _carry_out(self, work: Work, window: Window) -> None:
        connection, source = self._inlet.connection_id, self._inlet.source_name
        self._accepted.add(work.accepted)
        self._filtered.add(work.unwanted)
        if work.rejected:
            causes: dict[str, list[SignalError]] = {}
            for entry, error in work.rejected:
                window.reject(entry, error)
                causes.setdefault(error.code, []).append(error)
            for cause, errors in causes.items():
                self._rejected_slot(cause).add(len(errors))
                tell.message_rejected(connection, source, errors[0], len(errors))
        for entry, asked in work.waiting:
            window.ask(entry, asked)
        for (route, cause), count in work.dropped.items():
            self._tally.dropped(route.connection_id, route.index, cause, count)
            tell.delivery_dropped(route.connection_id, route.index, cause, count)
        for route, made in work.made:
            self._tally.due(route.connection_id, route.index, len(made))
            for client, share in route.by_client(made):
                self._dispatcher.send(client, share)

    def _rejected_slot(self, cause: str) -> Slot:
        slot = self._rejected.get(cause)
        if slot is None:
            slot = self._block.counter(metrics.MESSAGES_REJECTED, cause=cause, **self._labels)
            self._rejected[cause] = slot
        return slot


def _bring(label: str, made: list[Delivery], positions: list[int], work: Work) -> None:
    """*made* are of the signals at *positions*: those that asked for *label* are to bring it."""
    for delivery, i in zip(made, positions, strict=True):
        asked = work.asked[i]
        if asked is not None and asked.wants(label):
            asked.bring(label, delivery)


def _now() -> str:
    """This instant, as Ditto writes it."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
