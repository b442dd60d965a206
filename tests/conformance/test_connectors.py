"""What every connector must do: the tests follow from the promises of its row."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from streamproc.connectors import CONNECTORS
from streamproc.connectors.base import Can, Source, Target, Verdict
from streamproc.errors import EndOfStream, NotConnected, SignalError
from tests.conformance.brokers import ADAPTORS, PEERLESS, Adaptor, Message
from tests.conformance.runner import Reader, Tally, eventually, opened, soon

MANY = 300


def promising(can: Can, *, peer: bool = False) -> Callable[..., Any]:
    """Run the test for every connector that promises all of *can*; *peer*: and has one to lose."""
    names = [
        row.name
        for row in CONNECTORS.values()
        if can in row.can and not (peer and row.name in PEERLESS)
    ]
    return pytest.mark.parametrize("name", names)


def messages(count: int, *, key: str = "k") -> list[Message]:
    return [
        Message(b'{"n":%d}' % n, {"content-type": "application/json", "x-number": str(n)}, key)
        for n in range(count)
    ]


def payloads(of: list[Message]) -> list[bytes]:
    return [message.payload for message in of]


@contextlib.asynccontextmanager
async def source(broker: Adaptor, *, opens: bool = True, **spec: Any) -> AsyncIterator[Reader]:
    end: Source = CONNECTORS[broker.name].source_factory()(broker.source_spec(**spec))
    try:
        if opens:
            await opened(end)
        yield Reader(end)
    finally:
        await soon(end.close())


@contextlib.asynccontextmanager
async def target(broker: Adaptor, *, opens: bool = True) -> AsyncIterator[tuple[Target, Tally]]:
    tally = Tally()
    end: Target = CONNECTORS[broker.name].target_factory()(broker.target_spec(tally))
    try:
        if opens:
            await opened(end)
        yield end, tally
    finally:
        await soon(end.close())
    tally.check()


async def none_unsettled(broker: Adaptor) -> None:
    async with asyncio.timeout(30):
        while await broker.unsettled():
            await asyncio.sleep(0.02)


def test_every_connector_has_an_adaptor_and_every_adaptor_a_connector() -> None:
    assert set(ADAPTORS) == set(CONNECTORS)


# Sources.


@promising(Can.SOURCE)
async def test_what_was_published_is_read_in_order(broker: Adaptor) -> None:
    async with source(broker) as reader:
        sent = await broker.publish(messages(MANY))
        await reader.read_until(payloads(sent))
        assert payloads(reader.messages)[:MANY] == payloads(sent)
        reader.settle()
        await none_unsettled(broker)


@promising(Can.SOURCE)
async def test_any_bytes_are_a_payload(broker: Adaptor) -> None:
    odd = [Message(p, {}, "k") for p in (bytes(range(256)), b"\r\n\0", b"x" * 200_000)]
    async with source(broker) as reader:
        sent = await broker.publish(odd)
        await reader.read_until(payloads(sent))
        assert payloads(reader.messages)[:3] == payloads(sent)
        reader.settle()


@promising(Can.SOURCE | Can.HEADERS)
async def test_headers_are_read(broker: Adaptor) -> None:
    async with source(broker) as reader:
        sent = await broker.publish(messages(3))
        await reader.read_until(payloads(sent))
        for was, read in zip(sent, reader.messages, strict=False):
            assert was.headers.items() <= read.headers.items()
        reader.settle()


@promising(Can.SOURCE)
async def test_a_batch_is_no_larger_than_the_prefetch(broker: Adaptor) -> None:
    async with source(broker, prefetch=7) as reader:
        sent = await broker.publish(messages(7))
        await reader.read_until(payloads(sent))
        reader.settle()
        more = await broker.publish(messages(12)[7:])
        while set(payloads(more)) - set(payloads(reader.messages)):
            assert len((await reader.read()).payloads) <= 7
            reader.settle()


@promising(Can.SOURCE)
async def test_messages_are_settled_in_any_order(broker: Adaptor) -> None:
    async with source(broker) as reader:
        sent = await broker.publish(messages(20))
        await reader.read_until(payloads(sent))
        while reader.open:
            reader.settle(only=-1)
        await none_unsettled(broker)


@promising(Can.SOURCE)
async def test_stop_ends_a_waiting_read_and_settle_still_works(broker: Adaptor) -> None:
    async with source(broker) as reader:
        sent = await broker.publish(messages(5))
        await reader.read_until(payloads(sent))
        waiting = asyncio.create_task(_read_to_the_end(reader.source))
        await asyncio.sleep(0)
        await soon(reader.source.stop())
        await soon(waiting)
        with pytest.raises(EndOfStream):
            await soon(reader.source.read())
        reader.settle()
        await none_unsettled(broker)


@promising(Can.SOURCE)
async def test_settle_is_quiet_when_the_source_is_closed(broker: Adaptor) -> None:
    async with source(broker) as reader:
        sent = await broker.publish(messages(5))
        await reader.read_until(payloads(sent))
    for verdict in Verdict:
        reader.source.settle(
            *reader.open[0][:1], [reader.open[0][1]], verdict, {reader.open[0][1]: _error()}
        )
    await soon(reader.source.close())


@promising(Can.SOURCE)
async def test_a_cancelled_read_loses_nothing(broker: Adaptor) -> None:
    async with source(broker) as reader:
        for first in range(0, 50, 10):
            waiting = asyncio.create_task(reader.source.read())
            await asyncio.sleep(0)
            sent = await broker.publish(messages(first + 10)[first:])
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                batch = await waiting  # it may have been quicker
                reader.messages += [
                    Message(p, h) for p, h in zip(batch.payloads, batch.headers, strict=True)
                ]
                reader.open += [(batch.origin, token) for token in batch.tokens]
            await reader.read_until(payloads(sent))
        reader.settle()
        await none_unsettled(broker)


@promising(Can.SOURCE | Can.REDELIVER)
async def test_what_is_not_settled_comes_again_and_the_rest_does_not(broker: Adaptor) -> None:
    sent = await broker.publish(messages(10))
    async with source(broker) as reader:
        await reader.read_until(payloads(sent))
        reader.messages.clear()
        for _ in range(4):
            reader.settle(only=0)
    async with source(broker) as reader:
        await reader.read_until(payloads(sent[4:]))
        assert payloads(reader.messages) == payloads(sent[4:])
        reader.settle()
        await none_unsettled(broker)


@promising(Can.SOURCE | Can.REDELIVER)
async def test_a_message_to_be_redelivered_comes_again(broker: Adaptor) -> None:
    async with source(broker) as reader:
        sent = await broker.publish(messages(6))
        await reader.read_until(payloads(sent))
        reader.messages.clear()
        reader.settle(Verdict.REDELIVER, only=2)
        reader.settle()
        await reader.read_until(payloads(sent[2:3]))
        reader.settle()
        await none_unsettled(broker)


@promising(Can.SOURCE | Can.REJECT)
async def test_a_message_is_rejected_alone(broker: Adaptor) -> None:
    async with source(broker) as reader:
        sent = await broker.publish(messages(5))
        await reader.read_until(payloads(sent))
        origin, token = reader.open.pop(2)
        reader.source.settle(origin, [token], Verdict.REJECT, {token: _error()})
        reader.settle()
        await none_unsettled(broker)
        more = await broker.publish(messages(6)[5:])
        await reader.read_until(payloads(more))
        assert payloads(reader.messages) == payloads(sent) + payloads(more)
        reader.settle()


@promising(Can.SOURCE, peer=True)
async def test_a_source_without_peer_says_so_and_opens_later(broker: Adaptor) -> None:
    async with source(broker, opens=False) as reader:
        await broker.cut()
        with pytest.raises(NotConnected):
            await soon(reader.source.open())
        await broker.mend()
        await opened(reader.source)
        sent = await broker.publish(messages(3))
        await reader.read_until(payloads(sent))
        reader.settle()


@promising(Can.SOURCE | Can.REDELIVER, peer=True)
async def test_a_cut_link_loses_nothing(broker: Adaptor) -> None:
    async with source(broker) as reader:
        first = await broker.publish(messages(10))
        await reader.read_until(payloads(first))
        for _ in range(3):
            reader.settle(only=0)
        await broker.cut()
        await broker.mend()
        second = await broker.publish(messages(20)[10:])
        stale, reader.open = reader.open, []
        reader.messages.clear()
        await reader.read_until(payloads(second))
        for origin, token in stale:
            reader.source.settle(origin, [token], Verdict.ACCEPT, {})
        # What was accepted before and after the cut may come again; nothing else is missing.
        while await broker.unsettled():
            reader.settle()
            if await broker.unsettled():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.2):
                        await reader.read()
        assert set(payloads(reader.messages)) >= set(payloads(second))


@promising(Can.SOURCE | Can.SHARE)
async def test_clients_share_the_work(broker: Adaptor) -> None:
    async with source(broker) as one, source(broker, client_index=1) as other:
        sent = await broker.publish(messages(MANY))
        wanted = set(payloads(sent))
        readers = [asyncio.create_task(_read_and_settle(reader)) for reader in (one, other)]
        await eventually(
            lambda: {m.payload for reader in (one, other) for m in reader.messages} >= wanted,
            "each message read by one of the clients",
        )
        await none_unsettled(broker)
        for task in readers:
            task.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


# Targets.


@promising(Can.TARGET)
async def test_what_is_written_arrives_once_and_has_one_receipt(broker: Adaptor) -> None:
    async with target(broker) as (end, tally):
        for message in (sent := messages(50)):
            tally.write(end, [broker.delivery(message)])
            if len(tally.expected) >= end.capacity:
                await tally.all_in()
        await tally.all_in()
        assert not tally.refused
        assert sorted(payloads(await broker.received(50))) == sorted(payloads(sent))


@promising(Can.TARGET)
async def test_as_many_as_its_capacity_may_be_written_at_once(broker: Adaptor) -> None:
    async with target(broker) as (end, tally):
        count = min(end.capacity, 500)
        tally.write(end, [broker.delivery(message) for message in messages(count)])
        await tally.all_in()
        assert len(tally.done) == count
        assert len(await broker.received(count)) == count


@promising(Can.TARGET)
async def test_any_bytes_are_delivered(broker: Adaptor) -> None:
    odd = [bytes(range(256)), b"\r\n\r\n", b"x" * 200_000]
    async with target(broker) as (end, tally):
        for payload in odd:
            tally.write(end, [broker.delivery(Message(payload, {}))])
            await tally.all_in()
        assert not tally.refused
        assert payloads(await broker.received(3)) == odd


@promising(Can.TARGET | Can.HEADERS)
async def test_headers_are_delivered(broker: Adaptor) -> None:
    async with target(broker) as (end, tally):
        tally.write(end, [broker.delivery(messages(1)[0])])
        await tally.all_in()
        (arrived,) = await broker.received(1)
        assert messages(1)[0].headers.items() <= arrived.headers.items()


@promising(Can.TARGET | Can.PIPELINE)
async def test_order_is_kept_with_many_in_flight(broker: Adaptor) -> None:
    async with target(broker) as (end, tally):
        sent = messages(min(end.capacity, MANY))
        for first in range(0, len(sent), 25):
            tally.write(end, [broker.delivery(m) for m in sent[first : first + 25]])
        await tally.all_in()
        assert payloads(await broker.received(len(sent))) == payloads(sent)


@promising(Can.TARGET)
async def test_a_target_that_is_not_open_fails_what_is_written(broker: Adaptor) -> None:
    async with target(broker) as (end, tally):
        pass
    tally.write(end, [broker.delivery(message) for message in messages(2)])
    await tally.all_in()
    assert len(tally.refused) == 2
    assert all(isinstance(error, NotConnected) for _, error in tally.refused)


@promising(Can.TARGET, peer=True)
async def test_a_target_without_peer_says_so_and_opens_later(broker: Adaptor) -> None:
    async with target(broker, opens=False) as (end, tally):
        await broker.cut()
        with pytest.raises(NotConnected):
            await soon(end.open())
        await broker.mend()
        await opened(end)
        tally.write(end, [broker.delivery(messages(1)[0])])
        await tally.all_in()
        assert len(tally.done) == 1


@promising(Can.TARGET, peer=True)
async def test_each_delivery_has_one_receipt_when_the_link_is_cut(broker: Adaptor) -> None:
    async with target(broker) as (end, tally):
        tally.write(end, [broker.delivery(messages(1)[0])])
        await tally.all_in()
        losses = 0
        for round_ in range(3):
            count = min(end.capacity, 40)
            tally.write(end, [broker.delivery(m) for m in messages(count)])
            if round_ == 1:
                await asyncio.sleep(0)
            await broker.cut()
            if not tally.expected and len(tally.losses) == losses:
                tally.write(end, [broker.delivery(messages(1)[0])])
            await broker.mend()
            await tally.all_in()
            if len(tally.losses) > losses:
                losses = len(tally.losses)
                await opened(end)
        # Whole again: what is written now arrives, at the latest after one more loss.
        for _ in range(10):
            before = len(tally.done)
            tally.write(end, [broker.delivery(messages(1)[0])])
            await tally.all_in()
            if len(tally.done) > before:
                break
            await opened(end)
        else:
            pytest.fail("the target did not recover")


@promising(Can.TARGET)
async def test_close_gives_every_open_delivery_its_receipt(broker: Adaptor) -> None:
    async with target(broker) as (end, tally):
        tally.write(end, [broker.delivery(m) for m in messages(min(end.capacity, 100))])
        await soon(end.close())
        await tally.all_in()
        for _, error in tally.refused:
            assert isinstance(error, NotConnected)
        await soon(end.close())


def _error() -> SignalError:
    return SignalError("json.format.invalid", "not JSON")


async def _read_to_the_end(source: Source) -> None:
    with contextlib.suppress(EndOfStream):
        while True:
            await source.read()


async def _read_and_settle(reader: Reader) -> None:
    while True:
        try:
            batch = await reader.source.read()
        except NotConnected:
            await opened(reader.source)
            continue
        reader.messages += [
            Message(p, h) for p, h in zip(batch.payloads, batch.headers, strict=True)
        ]
        reader.source.settle(batch.origin, batch.tokens, Verdict.ACCEPT, {})
