"""HTTP, for the conformance tests: a client for http-ingest, a server for http-push."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from streamproc.config.connection import Connection, Source
from streamproc.connectors.base import Identity, Receipts, SourceSpec, TargetSpec
from streamproc.connectors.http_ingest.config import HttpIngestOptions
from streamproc.connectors.http_push.config import HttpPushOptions
from tests.conformance.brokers import DEADLINE_S, Adaptor, Message
from tests.conformance.far_http import Client, Server
from tests.conformance.proxy import Proxy


class HttpIngestAdaptor(Adaptor):
    name = "http-ingest"

    async def begin(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._port = self._socket.getsockname()[1]
        self._client: Client | None = None

    async def end(self) -> None:
        if self._client is not None:
            await self._client.close()
        self._socket.close()

    def source_spec(self, *, prefetch: int = 1000, client_index: int = 0) -> SourceSpec:
        source = Source(addresses=["/in"])
        place = f"127.0.0.1:{self._port}"
        return SourceSpec(
            identity=Identity(connection_id="c", client_index=client_index, client_count=2),
            connection=Connection(
                id="c", connection_type="http-ingest", uri=f"http://{place}", sources=[source]
            ),
            options=HttpIngestOptions(),
            source=source,
            prefetch=prefetch,
            listeners={place: self._socket.fileno()},
        )

    async def publish(self, messages: Sequence[Message]) -> list[Message]:
        if self._client is None:
            self._client = Client(self._port)
            await self._client.connect()
        for message in messages:
            await self._client.post("/in", message.payload, message.headers)
        return list(messages)

    async def unsettled(self) -> int:
        return 0 if self._client is None else self._client.sent - len(self._client.answers)


class HttpPushAdaptor(Adaptor):
    name = "http-push"
    address = "POST:/out"

    async def begin(self) -> None:
        self._server = Server()
        self._proxy = Proxy("127.0.0.1", await self._server.start())
        await self._proxy.start()

    async def end(self) -> None:
        await self._proxy.close()
        await self._server.close()

    def target_spec(self, receipts: Receipts) -> TargetSpec:
        return TargetSpec(
            identity=Identity(connection_id="c"),
            connection=Connection(
                id="c", connection_type="http-push", uri=f"http://127.0.0.1:{self._proxy.port}"
            ),
            options=HttpPushOptions(parallelism=8),
            receipts=receipts,
        )

    async def received(self, count: int) -> list[Message]:
        await self._server.wait(count, DEADLINE_S)
        return [Message(request.body, request.headers) for request in self._server.requests]

    async def cut(self) -> None:
        await self._proxy.cut()

    async def mend(self) -> None:
        await self._proxy.mend()
