"""What a connector is. The runner owns retries, back-off, windows, order, metrics and logs.

A connector holds a connection and nothing else: no retry loop, no queue beyond what its
client library needs, no metric, no log line. If it needs one of these, the runner is wrong.
It lets no exception of its client library out: they become ``NotConnected`` (try again),
``Misconfigured`` (a person must act), ``DeliveryFailed`` or ``DeliveryRefused``.

Everything runs on the worker's event loop; a connector that needs a thread hides it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

from streamproc.errors import RunnerError, SignalError
from streamproc.kernels.delivery import Delivery
from streamproc.protocol.acks import Aggregate


class Can(enum.Flag):
    """What a connector promises. Its conformance tests and its limits page follow from this."""

    NONE = 0
    SOURCE = enum.auto()  # has sources
    TARGET = enum.auto()  # has targets
    REDELIVER = enum.auto()  # what is not settled comes again after a reconnect or restart
    REJECT = enum.auto()  # one message can be refused, without redelivery, alone
    HEADERS = enum.auto()  # headers survive a round trip
    PIPELINE = enum.auto()  # keeps the order of what is written, also through its own retries:
    #                         several messages of one key may be in flight at once
    SHARE = enum.auto()  # several clients of a connection share the work of its sources


class Verdict(enum.Enum):
    """What becomes of a source message."""

    ACCEPT = "accept"  # done: never send it again
    REJECT = "reject"  # refused for good: do not send it again
    REDELIVER = "redeliver"  # not done: send it again


class Batch(NamedTuple):
    """Messages received together, as parallel lists of equal length.

    ``tokens`` are handed back by ``settle``, each exactly once, in any order. They are
    unique within ``origin``, which is whatever the connector needs to find them again: a
    partition with its epoch, a channel. A source ignores tokens of an origin that is gone.
    """

    payloads: list[bytes]
    headers: list[dict[str, str]]  # a dict of its own per message; may be changed by nobody
    tokens: list[int]
    origin: Any = None


class Source(Protocol):
    """Reads one source of a connection. Used by one runner task.

    ``open`` and ``close`` may be called again after a loss; ``stop`` is final.
    """

    async def open(self) -> None:
        """Connect. Raises NotConnected or Misconfigured; has then let everything go."""

    async def read(self) -> Batch:
        """Wait for at least one message, then return at once with what is there.

        Not called while the window is full: that is the whole of back-pressure, so prefetch
        no more than ``SourceSpec.prefetch``. Raises NotConnected when the link is lost,
        EndOfStream after ``stop`` or when there can be no more. Cancellable at any time
        without losing a message.
        """

    def settle(
        self,
        origin: Any,
        tokens: Sequence[int],
        verdict: Verdict,
        errors: Mapping[int, SignalError],
    ) -> None:
        """Take the verdict on *tokens*. Quiet when their link is gone.

        ``errors`` says why, by token, for those whose sender is to hear of it. Never blocks
        and never raises; a failure shows at the next ``read``.
        """

    async def stop(self) -> None:
        """Take no more; a waiting ``read`` ends with EndOfStream; ``settle`` still works."""

    async def close(self) -> None:
        """Send what is settled on its way, then let go. Bounded in time. Never raises."""


@runtime_checkable
class Numbered(Protocol):
    """A source that can say how it stands, beside what its runner counts."""

    def numbers(self) -> Mapping[str, float]:
        """By their names in ``telemetry.metrics.SOURCE_NUMBERS``: gauges as they are now,
        counters since the source was made. Asked about every second; must be quick."""


@runtime_checkable
class Acknowledging(Protocol):
    """A source whose senders hear what their messages were answered."""

    def acknowledge(self, results: Mapping[int, Aggregate]) -> None:
        """By token, what those asked for has come to. ``settle`` follows. Never raises."""


class Receipts(Protocol):
    """Where a target's word goes. Exactly one call covers each delivery that was written."""

    def delivered(self, deliveries: Sequence[Delivery]) -> None:
        """The peer has them."""

    def failed(self, deliveries: Sequence[Delivery], error: RunnerError) -> None:
        """The peer has not, or it is not known: DeliveryFailed, DeliveryRefused, NotConnected."""

    def lost(self, error: RunnerError) -> None:
        """The link is gone, after every open delivery was failed. ``open`` will be called."""


class Target(Protocol):
    """Writes for all targets of one client of a connection."""

    capacity: int
    """Most deliveries that may be in flight at once."""

    async def open(self) -> None:
        """Connect. Raises NotConnected or Misconfigured; has then let everything go."""

    def write(self, deliveries: Sequence[Delivery]) -> None:
        """Send them, in this order. At most ``capacity`` are ever without a receipt.

        Never blocks and never raises: what goes wrong is a receipt.
        """

    async def close(self) -> None:
        """Fail what is in flight with NotConnected, let go. Bounded in time. Never raises."""


@runtime_checkable
class Ways(Protocol):
    """Options that say how deliveries of one key travel; without them the table's row does."""

    @property
    def ordered(self) -> bool:
        """Whether one of a key waits for those before it."""

    @property
    def pipelined(self) -> bool:
        """Whether the target keeps their order itself (``Can.PIPELINE``)."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Which client of which connection this is."""

    connection_id: str
    client_index: int = 0
    client_count: int = 1


def _to_nobody(_: str) -> None:
    """What is told where nobody listens."""


@dataclass(frozen=True, kw_only=True)
class SourceSpec:
    """All that a source needs to know; built by the worker from the connection."""

    identity: Identity
    connection: Any  # streamproc.config.connection.Connection
    options: Any  # the connector's own options, from specificConfig
    source: Any  # streamproc.config.connection.Source
    consumer_index: int = 0
    prefetch: int = 1000  # messages
    prefetch_bytes: int = 16 << 20
    max_message_bytes: int = 1 << 20
    listeners: Mapping[str, int] = field(default_factory=dict)  # "host:port" -> listening fd
    tell: Callable[[str], None] = _to_nobody
    """Takes a sentence that a person should read, of what is odd and no failure."""


@dataclass(frozen=True, kw_only=True)
class TargetSpec:
    """All that the target side of a client needs to know."""

    identity: Identity
    connection: Any
    options: Any
    receipts: Receipts
    service: Any = None  # streamproc.config.service.Service; None: its defaults


SourceFactory = Callable[[SourceSpec], Source]
TargetFactory = Callable[[TargetSpec], Target]
