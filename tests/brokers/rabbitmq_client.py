"""The few things tests do with RabbitMQ over AMQP, as calls that block until they are done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import aio_pika
import aiormq
from aio_pika.abc import AbstractChannel

T = TypeVar("T")
DEADLINE = 60.0  # seconds, for each call
WINDOW = 500  # messages whose confirmation is awaited together


class RabbitMQClient:
    """Mixed into what has a ``uri``. Each call is a connection of its own."""

    uri: str

    def declare_queue(
        self, name: str, *, durable: bool = True, arguments: Mapping[str, Any] | None = None
    ) -> None:
        self._run(lambda c: c.declare_queue(name, durable=durable, arguments=dict(arguments or {})))

    def declare_exchange(self, name: str, kind: str = "direct", *, durable: bool = True) -> None:
        self._run(lambda c: c.declare_exchange(name, kind, durable=durable))

    def bind(self, queue: str, exchange: str, routing_key: str = "") -> None:
        async def bind(channel: AbstractChannel) -> None:
            declared = await channel.get_queue(queue)
            await declared.bind(exchange, routing_key)

        self._run(bind)

    def delete_queue(self, name: str) -> None:
        self._run(lambda c: c.queue_delete(name))

    def purge(self, queue: str) -> None:
        async def purge(channel: AbstractChannel) -> None:
            await (await channel.get_queue(queue)).purge()

        self._run(purge)

    def depth(self, queue: str) -> int:
        """How many messages are ready, those held by consumers not counted."""

        async def depth(channel: AbstractChannel) -> int:
            declared = await channel.declare_queue(queue, passive=True)
            return declared.declaration_result.message_count or 0

        return self._run(depth)

    def consumers(self, queue: str) -> int:
        async def consumers(channel: AbstractChannel) -> int:
            declared = await channel.declare_queue(queue, passive=True)
            return declared.declaration_result.consumer_count or 0

        return self._run(consumers)

    def publish(
        self,
        routing_key: str,
        messages: Iterable[bytes | tuple[bytes, Mapping[str, Any]]],
        exchange: str = "",
    ) -> None:
        """Publish bodies, or (body, headers), persistent; return when all are confirmed.

        Without an exchange *routing_key* is a queue. A message that reaches none is an error.
        """

        async def publish(channel: AbstractChannel) -> None:
            to = await channel.get_exchange(exchange) if exchange else channel.default_exchange
            window: list[Coroutine[Any, Any, Any]] = []
            for message in messages:
                body, headers = message if isinstance(message, tuple) else (message, {})
                made = aio_pika.Message(
                    body, headers=dict(headers), delivery_mode=aio_pika.DeliveryMode.PERSISTENT
                )
                window.append(to.publish(made, routing_key))
                if len(window) == WINDOW:
                    await asyncio.gather(*window)
                    window.clear()
            await asyncio.gather(*window)

        self._run(publish, deadline=DEADLINE * 5)

    def get(self, queue: str, count: int = 1) -> list[tuple[bytes, dict[str, Any]]]:
        """Take up to *count* (body, headers) that are there now, in order, and settle them."""

        async def get(channel: AbstractChannel) -> list[tuple[bytes, dict[str, Any]]]:
            declared = await channel.get_queue(queue)
            found: list[tuple[bytes, dict[str, Any]]] = []
            while len(found) < count:
                message = await declared.get(fail=False, no_ack=True)
                if message is None:
                    break
                found.append((message.body, dict(message.headers)))
            return found

        return self._run(get, deadline=DEADLINE * 5)

    def _run(self, use: Callable[[AbstractChannel], Awaitable[T]], deadline: float = DEADLINE) -> T:
        return blocking(_with_channel(self.uri, use), deadline)


def answers(uri: str) -> bool:
    """Whether a client can connect and open a channel."""

    async def nothing(_: AbstractChannel) -> None:
        return None

    try:
        blocking(_with_channel(uri, nothing), 5)
    except (OSError, TimeoutError, aiormq.exceptions.AMQPError):
        return False
    return True


async def _with_channel(uri: str, use: Callable[[AbstractChannel], Awaitable[T]]) -> T:
    connection = await aio_pika.connect(uri)
    async with connection, connection.channel() as channel:
        return await use(channel)


def blocking(work: Coroutine[Any, Any, T], deadline: float) -> T:
    """Run *work* to its end on a loop in a thread: the caller's thread may have its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, asyncio.wait_for(work, deadline)).result()
