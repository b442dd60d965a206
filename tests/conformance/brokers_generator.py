"""The generator, for the conformance tests: what it says is known from a twin of it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from streamproc.config.connection import Connection, Source
from streamproc.connectors.base import Identity, SourceSpec
from streamproc.connectors.generator.config import GeneratorOptions
from streamproc.connectors.generator.devices import Devices
from tests.conformance.brokers import Adaptor, Message

_seeds = itertools.count(1)


class GeneratorAdaptor(Adaptor):
    name = "generator"

    async def begin(self) -> None:
        self._options = GeneratorOptions(seed=next(_seeds), devices=10)
        self._twin = Devices(self._options, part=0, parts=2)

    def source_spec(self, *, prefetch: int = 1000, client_index: int = 0) -> SourceSpec:
        source = Source(addresses=["devices"])
        return SourceSpec(
            identity=Identity(connection_id="c", client_index=client_index, client_count=2),
            connection=Connection(id="c", connection_type="generator", sources=[source]),
            options=self._options,
            source=source,
            prefetch=prefetch,
        )

    async def publish(self, messages: Sequence[Message]) -> list[Message]:
        if not messages:
            return []
        said = self._twin.speak(len(messages), 1 << 30)
        return [Message(p, h, h["device_id"]) for p, h in zip(*said, strict=True)]

    async def unsettled(self) -> int:
        return 0  # it forgets what it said
