"""A source's flow as a worker builds it, with clients that have everything at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from bench.e2e.load import Load
from bench.e2e.setup import SOURCE, TOPIC, config
from streamproc.config.service import Log, Service
from streamproc.connectors.base import Batch
from streamproc.kernels.delivery import Delivery
from streamproc.kernels.settlement import Window
from streamproc.telemetry import events as tell
from streamproc.telemetry.slots import Block
from streamproc.twin.policy import Policies
from streamproc.worker.flow import Flow
from streamproc.worker.inlet import Inlet
from streamproc.worker.routes import Routes
from streamproc.worker.tally import Tally

Messages = tuple[list[bytes], list[dict[str, str]]]


def messages(load: Load) -> Messages:
    """What a Kafka source would hand over."""
    payloads, headers = [], []
    for number, (key, payload, sent) in enumerate(load.said()):
        payloads.append(payload)
        own = {name: value.decode() for name, value in sent}
        headers.append(
            {
                **own,
                "kafka.topic": TOPIC,
                "kafka.timestamp": str(1_700_000_000_000 + number),
                "kafka.key": key.decode(),
            }
        )
    return payloads, headers


def built() -> tuple[Service, Inlet, Routes, Policies]:
    """What a source and its targets are compiled to."""
    made = config(
        target="http",
        workers=1,
        source_clients=1,
        target_clients=1,
        parallelism=64,
        receiver="http://receiver:80",
        kafka="kafka:9092",
    )
    service = msgspec.convert(made, Service)
    own = next(one for one in service.connections if one.id == SOURCE)
    tell.configure(Log(level="error"), "bench")  # lines would cost more than messages
    inlet = Inlet(own, 0, own.sources[0], service.limits)
    return service, inlet, Routes(service.connections), Policies.build(service)


class AtOnce:
    """In the dispatcher's place: gives the receipts when it is handed the deliveries."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self.delivered = 0

    def send(self, client: str, deliveries: list[Delivery]) -> None:
        self.delivered += len(deliveries)
        self._tally.delivered(client.rpartition("#")[0], deliveries)


class Road:
    """Source, window, flow and receipts. ``watch`` may put itself between the parts."""

    def __init__(self, folder: Path, watch: Any = None) -> None:
        _, inlet, routes, policies = built()
        folder.mkdir()
        block = Block.create(folder / "metrics")
        tally = Tally(block)
        self.dispatcher = AtOnce(tally)
        around = (lambda part: part) if watch is None else watch.around
        self._flow = Flow(
            around(inlet),
            around(routes),
            around(policies),
            around(self.dispatcher),
            tally,
            block,
        )
        self._window = Window(1 << 20, 1 << 40, lambda: None)
        self.settled = 0
        self.rejected = 0

    def batches(self, found: Messages, size: int) -> list[Batch]:
        """*found* in batches of *size*."""
        payloads, headers = found
        made = []
        for first in range(0, len(payloads), size):
            chunk = payloads[first : first + size]
            tokens = list(range(len(chunk)))
            made.append(Batch(chunk, headers[first : first + size], tokens))
        return made

    def run(self, batches: list[Batch]) -> None:
        """What an intake does with each batch, and what it does when receipts are in."""
        window, flow = self._window, self._flow
        for batch in batches:
            entries = window.admit(None, batch.tokens, batch.payloads, 0.0)
            flow(batch, entries, window)
            for _, tokens, errors in window.take():
                self.settled += len(tokens)
                self.rejected += len(errors)

    def check(self, load: Load, runs: int) -> None:
        """A path that loses messages, or lets through what it should not, would be fast."""
        found = (self.settled, self.rejected, self.dispatcher.delivered)
        wanted = (load.messages * runs, load.intruders * runs, load.wanted * runs)
        if found != wanted:
            raise RuntimeError(f"settled, rejected, delivered: {found}, not {wanted}")
