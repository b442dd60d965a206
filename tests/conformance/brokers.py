"""What the conformance tests need of each transport: its far end, and a link to cut.

To join: subclass ``Adaptor`` in ``tests/conformance/brokers_<name>.py`` and fill in the row of
``ADAPTORS``. Every test of ``test_connectors.py`` that the connector's row in ``CONNECTORS``
promises then runs against it; none can be switched off but by taking the promise back.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, cast

from streamproc.connectors.base import Receipts, SourceSpec, TargetSpec
from streamproc.kernels.delivery import Delivery

DEADLINE_S = 30.0
"""How long anything may take that should happen soon; a shared machine may be slow."""

ADAPTORS: dict[str, str] = {
    "generator": "tests.conformance.brokers_generator:GeneratorAdaptor",
    "memory": "tests.conformance.brokers_memory:MemoryAdaptor",
    "http-ingest": "tests.conformance.brokers_http:HttpIngestAdaptor",
    "http-push": "tests.conformance.brokers_http:HttpPushAdaptor",
    "kafka": "tests.conformance.brokers_kafka:KafkaAdaptor",
    "amqp-091": "tests.conformance.brokers_amqp091:Amqp091Adaptor",
}

PEERLESS = frozenset(("generator", "http-ingest"))
"""Connectors that connect to nobody: nothing to cut, so ``cut`` and ``mend`` are not called."""


class Message(NamedTuple):
    """A message as the far end sees it. *headers*: those that a user set, lower case."""

    payload: bytes
    headers: dict[str, str]
    key: str = ""  # ordering key; messages of one key keep their order


class Adaptor:
    """One transport, seen from outside the connector.

    ``start`` and ``close`` come once per test session, and may block: a real broker starts
    here. ``begin`` and ``end`` surround each test, on its event loop.
    """

    name: ClassVar[str]
    """The connection type: a key of CONNECTORS."""

    @staticmethod
    def missing() -> str:
        """What is not on this machine and how to get it, or nothing. Makes the tests skip."""
        return ""

    def start(self, shared: Callable[[str], Any]) -> None:
        """Make the transport ready. Blocks.

        ``shared("kafka")`` is the session's fixture of that name; do not stop or kill those.
        """

    def close(self) -> None:
        """Let everything go. Blocks. Idempotent."""

    async def begin(self) -> None:
        """A place of its own for one test, empty: a topic, a queue, a path. The link is up."""

    async def end(self) -> None:
        """The test is over. Lets go of what ``begin`` made; mends the link."""

    # What the connector is told.

    def source_spec(self, *, prefetch: int = 1000, client_index: int = 0) -> SourceSpec:
        """A source that reads what ``publish`` sends. Its connection allows two clients."""
        raise NotImplementedError

    def target_spec(self, receipts: Receipts) -> TargetSpec:
        """A target whose writes ``received`` sees."""
        raise NotImplementedError

    def delivery(self, message: Message) -> Delivery:
        """*message* on its way to where ``received`` looks."""
        return Delivery(0, message.key, self.address, message.headers, message.payload)

    address: str = ""
    """Resolved target address that ``received`` watches."""

    # The far end.

    async def publish(self, messages: Sequence[Message]) -> list[Message]:
        """Send them toward the source, in order, as a client of the transport would.

        Returns what must be read, in order: *messages*, unless the source makes its own.
        Has them safely with the transport; does not wait for anybody to settle them.
        """
        raise NotImplementedError

    async def unsettled(self) -> int:
        """How many published messages are not done: unread, or read and neither accepted nor
        rejected. What was settled and is still on its way to the transport may be counted."""
        raise NotImplementedError

    async def received(self, count: int) -> list[Message]:
        """All that has arrived from the target since ``begin``, in the order of arrival.

        Waits until there are *count*, for DEADLINE_S at most, then returns what there is.
        Headers that the transport adds itself may be there too.
        """
        raise NotImplementedError

    # The link.

    async def cut(self) -> None:
        """Break the connector's connections and refuse new ones, until ``mend``."""
        raise NotImplementedError

    async def mend(self) -> None:
        """The link is as good as new; nothing that the transport held is lost."""
        raise NotImplementedError


def adaptor(name: str) -> Adaptor:
    """The adaptor of connection type *name*, not started."""
    module, _, cls = ADAPTORS[name].partition(":")
    return cast(Adaptor, getattr(importlib.import_module(module), cls)())
