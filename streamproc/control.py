"""What master and workers tell each other: frames on one Unix socket pair a worker.

A frame is a 4-byte big-endian length and that many bytes of msgpack. Everything is level
triggered: ``Assign`` says all that should be, ``Report`` all that is, so a lost or repeated
frame does no harm. Listening sockets come beside it, over a second pair, with SCM_RIGHTS;
they are sent before the ``Assign`` that needs them.

End of file on the control socket means that the master died: the worker drains and ends.
"""

from __future__ import annotations

import struct
from typing import Literal

import msgspec

from streamproc.config.connection import Connection
from streamproc.config.service import Service

LENGTH = struct.Struct(">I")
MAX_FRAME_BYTES = 64 << 20

# Exit codes of a worker.
EXIT_STOPPED = 0  # after Stop, or after the master's death, drained or not
EXIT_CONFIG = 3  # started by hand, or with arguments that cannot work: no restart helps

# held: the link is open, and the endpoint is left alone for a while (breaker, Retry-After).
ClientState = Literal["opening", "open", "held", "failed", "misconfigured", "draining", "ended"]


class ClientRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One client. ``version`` changes when its connection's configuration does."""

    connection_id: str
    index: int
    version: str

    @property
    def id(self) -> str:
        """``connection#index``."""
        return f"{self.connection_id}#{self.index}"


class Assign(msgspec.Struct, frozen=True, tag="assign"):
    """All that a worker should run and know, replacing what it was told before.

    ``connections``: every connection whose desired state is open. The ones this worker runs
    a client of are complete; of the others uri, credentials, ca and specificConfig are
    blank, as only their targets matter here.
    ``locations``: client id -> worker index, for every client that is to take deliveries
    now. A client that is moving or has no worker is absent: deliveries to it wait.
    ``service``: the settings; its ``connections`` are empty.
    """

    generation: int
    service: Service
    connections: list[Connection]
    versions: dict[str, str]  # connection id -> version
    clients: list[ClientRef]
    locations: dict[str, int]
    listeners: list[str]  # "host:port", each sent as a descriptor before
    reloads: int = 0  # times a configuration was taken, changed or not: what stopped tries again
    closed: dict[str, int] = {}  # configured connections that are not to be open -> their clients


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """Stop intake, drain for at most *drain_s*, help peers drain, end with EXIT_STOPPED."""

    drain_s: float


class Replay(msgspec.Struct, frozen=True, tag="replay"):
    """Send these entries of the parked store again, as far as their client lives here.

    Answered by one ``Replayed`` with the same number. Unlike all else it is not repeated: where
    it is lost, whoever asked asks again.
    """

    number: int
    entries: list[int]


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The worker's loop runs; it waits for an Assign."""

    pid: int


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """The worker is alive. ``lag_s``: how late its loop ran the timer of this beat."""

    lag_s: float


class LinkReport(msgspec.Struct, frozen=True):
    """One link of a client: a consumer of a source, or its target side."""

    name: str  # "source 0/0 telemetry", "target"
    state: ClientState
    since: float  # epoch seconds
    error: str | None = None
    next_try: float | None = None  # epoch seconds


class ClientReport(msgspec.Struct, frozen=True):
    """What a client of this worker is doing."""

    client: ClientRef
    state: ClientState  # the worst of its links
    links: list[LinkReport]


class Report(msgspec.Struct, frozen=True, tag="report"):
    """All clients that live here now; one that is absent is closed. Sent on every change.

    ``generation``: of the last Assign that this worker has taken in.
    """

    generation: int
    clients: list[ClientReport]


class Drained(msgspec.Struct, frozen=True, tag="drained"):
    """After Stop: nothing of this worker's sources is unsettled. *left*: what is, at the end."""

    left: int


Outcome = Literal["delivered", "spilled", "parked", "waiting", "missing"]


class Replayed(msgspec.Struct, frozen=True, tag="replayed"):
    """What became of entries: delivered, spilled, parked (again), waiting (for the target),
    missing. Those whose client does not live here are absent.
    """

    number: int
    outcomes: dict[int, Outcome]


ToWorker = Assign | Stop | Replay
FromWorker = Ready | Beat | Report | Drained | Replayed

_encoder = msgspec.msgpack.Encoder()
to_worker = msgspec.msgpack.Decoder(ToWorker)
from_worker = msgspec.msgpack.Decoder(FromWorker)


def frame(message: ToWorker | FromWorker) -> bytes:
    """A frame ready to write."""
    body = _encoder.encode(message)
    return LENGTH.pack(len(body)) + body
