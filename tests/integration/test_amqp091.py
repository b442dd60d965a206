"""The AMQP 0.9.1 connector against a real RabbitMQ: settlement, confirms, faults."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import uvloop

from streamproc.connectors.amqp091 import methods, outlet
from streamproc.connectors.base import Verdict
from streamproc.errors import (
    DeliveryFailed,
    DeliveryRefused,
    EndOfStream,
    Misconfigured,
    NotConnected,
)
from tests.brokers.ports import Port
from tests.integration.amqp091_bed import Bed, delivery, numbers, payloads, read, settle, tokens
from tests.integration.receipts import DEADLINE_S, Receipts, until


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop_kind(request):
    """Which loop a test of both runs on."""
    return request.param


@pytest.fixture
async def bed(rabbitmq, fresh_name) -> AsyncIterator[Bed]:
    await asyncio.to_thread(rabbitmq.declare_queue, fresh_name)
    made = Bed(rabbitmq, fresh_name)
    yield made
    await made.close()


# The normal path.


async def test_what_the_target_writes_the_source_reads_with_its_headers(bed):
    receipts = Receipts()
    target, source = await bed.target(receipts), await bed.source()
    headers = {"content-type": "text/plain", "correlation-id": "c-1", "ü": "ß", "empty": ""}
    bodies = [b"\x00body", b"", b"x" * 500_000]
    target.write([delivery(bed.address, body, headers) for body in bodies])
    batches = await read(source, 3)
    assert payloads(batches) == bodies
    for batch in batches:
        for token, found in zip(batch.tokens, batch.headers, strict=True):
            assert found == headers | {"messageId": str(token)}
    await until(lambda: receipts.count == 3)
    assert not receipts.bad


async def test_headers_of_every_type_are_read_as_text(bed):
    await bed.publish(b"x", headers={"n": 42, "b": True, "l": [1, "a"], "t": {"x": None}})
    (batch,) = await read(await bed.source(), 1)
    found = batch.headers[0]
    assert (found["n"], found["b"], found["l"]) == ("42", "true", '[1,"a"]')
    assert found["t"] == '{"x":null}'


def test_order_and_every_receipt_once(rabbitmq, fresh_name, loop_kind):
    """On both loops."""
    rabbitmq.declare_queue(fresh_name)
    with asyncio.Runner(loop_factory=loop_kind) as runner:
        runner.run(_order_and_receipts(Bed(rabbitmq, fresh_name)))


async def _order_and_receipts(bed: Bed) -> None:
    receipts = Receipts()
    target, source = await bed.target(receipts), await bed.source(prefetch=300)
    made = [delivery(bed.address, b"%d" % n) for n in range(5000)]

    async def write() -> None:
        at = 0
        while at < len(made):
            room = min(200, target.capacity - (at - receipts.count))
            target.write(made[at : at + room])
            at += room
            await asyncio.sleep(0)

    writing = asyncio.create_task(write())
    found: list[bytes] = []
    async with asyncio.timeout(DEADLINE_S):
        while len(found) < len(made):
            batch = await source.read()
            found += batch.payloads
            settle(source, [batch])
        await writing
    assert found == [one.payload for one in made]
    await until(lambda: receipts.count == len(made))
    assert not receipts.bad
    assert len(set(receipts.good)) == len(made)
    await bed.close()
    assert await bed.depth() == 0


async def test_an_exchange_by_name_routes_by_key(bed, rabbitmq, fresh_name):
    exchange = f"ex-{fresh_name}"
    await asyncio.to_thread(rabbitmq.declare_exchange, exchange, "topic")
    await asyncio.to_thread(rabbitmq.bind, bed.queue, exchange, "a.*")
    receipts = Receipts()
    target, source = await bed.target(receipts), await bed.source()
    target.write([delivery(f"{exchange}/a.1", b"1"), delivery(f"{exchange}/a.2", b"2")])
    assert payloads(await read(source, 2)) == [b"1", b"2"]


async def test_a_source_of_two_queues(bed, rabbitmq, fresh_name):
    other = f"other-{fresh_name}"
    await asyncio.to_thread(rabbitmq.declare_queue, other)
    await asyncio.to_thread(rabbitmq.publish, other, [b"b"])
    await bed.publish(b"a")
    source = await bed.source(queues=[bed.queue, other])
    batches = await read(source, 2)
    assert sorted(payloads(batches)) == [b"a", b"b"]
    settle(source, batches)
    await source.close()
    assert await bed.depth() == 0


# Settlement.


async def test_unsettled_messages_come_again_and_settled_ones_do_not(bed):
    await bed.publish(*numbers(10))
    source = await bed.source()
    batches = await read(source, 10)
    origin, tags = batches[0].origin, tokens(batches)
    source.settle(origin, tags[5:8], Verdict.ACCEPT, {})
    source.settle(origin, tags[1:3], Verdict.ACCEPT, {})
    await source.close()
    again = await bed.source()
    assert payloads(await read(again, 5)) == [b"0", b"3", b"4", b"8", b"9"]
    source.settle(origin, tags, Verdict.ACCEPT, {})  # late: its link is gone
    await again.close()
    assert await bed.depth() == 5


async def test_any_order_of_settlement_empties_the_queue_and_never_breaks_the_channel(bed):
    count = 400
    await bed.publish(*numbers(count))
    source = await bed.source()
    batches = await read(source, count)
    origin, tags = batches[0].origin, tokens(batches)
    order = [tags[(n * 37) % count] for n in range(count)]
    assert sorted(order) == tags
    for at in range(0, count, 7):
        source.settle(origin, order[at : at + 7], Verdict.ACCEPT, {})
    await bed.publish(b"more")
    more = await read(source, 1)  # the channel lives
    settle(source, more)
    await source.close()
    assert await bed.depth() == 0


async def test_few_frames_settle_many_messages(bed, monkeypatch):
    await bed.publish(*numbers(200))
    source = await bed.source()
    batches = await read(source, 200)
    origin, tags = batches[0].origin, tokens(batches)
    sent = []
    real = origin.link.send
    monkeypatch.setattr(origin.link, "send", lambda data: (sent.append(data), real(data)))
    for at in range(0, 200, 50):
        source.settle(origin, tags[at : at + 50], Verdict.ACCEPT, {})
    assert len(sent) == 4
    assert {len(data) for data in sent} == {len(methods.ack(1, 1, multiple=True))}
    await source.close()
    assert await bed.depth() == 0


async def test_a_rejected_message_goes_to_the_dead_letters_alone(bed, rabbitmq, fresh_name):
    dead, live = f"dead-{fresh_name}", f"live-{fresh_name}"
    await asyncio.to_thread(rabbitmq.declare_queue, dead)
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    await asyncio.to_thread(lambda: rabbitmq.declare_queue(live, arguments=arguments))
    await asyncio.to_thread(rabbitmq.publish, live, numbers(3))
    source = await bed.source(queues=[live])
    batches = await read(source, 3)
    origin, tags = batches[0].origin, tokens(batches)
    source.settle(origin, [tags[1]], Verdict.REJECT, {})
    source.settle(origin, [tags[0], tags[2]], Verdict.ACCEPT, {})
    await source.close()
    assert await asyncio.to_thread(rabbitmq.depth, live) == 0
    assert [body for body, _ in await asyncio.to_thread(rabbitmq.get, dead, 9)] == [b"1"]


async def test_a_message_to_be_redelivered_comes_again(bed):
    await bed.publish(*numbers(3))
    source = await bed.source()
    batches = await read(source, 3)
    origin, tags = batches[0].origin, tokens(batches)
    source.settle(origin, [tags[1]], Verdict.REDELIVER, {})
    again = await read(source, 1)
    assert payloads(again) == [b"1"]
    source.settle(origin, [tags[0], tags[2]], Verdict.ACCEPT, {})
    settle(source, again)
    await source.close()
    assert await bed.depth() == 0


# Back-pressure and ends.


async def test_no_more_is_taken_than_prefetch(bed):
    await bed.publish(*numbers(50))
    source = await bed.source(prefetch=10)
    batches = await read(source, 10)
    assert payloads(batches) == numbers(10)
    assert await bed.depth() == 40
    settle(source, batches)
    assert payloads(await read(source, 10)) == numbers(10, 10)


async def test_bytes_that_nobody_reads_are_bounded(bed):
    await bed.publish(*[b"x" * 100_000 for _ in range(100)])
    source = await bed.source(prefetch_bytes=500_000)
    await until(lambda: source._intake.waiting_bytes > 500_000)
    await asyncio.sleep(0.3)
    assert source._intake.waiting_bytes <= 700_000
    assert len(payloads(await read(source, 100))) == 100


async def test_stop_ends_a_waiting_read_and_settle_still_works(bed):
    await bed.publish(b"one")
    source = await bed.source()
    batches = await read(source, 1)
    reading = asyncio.ensure_future(source.read())
    await asyncio.sleep(0)
    await source.stop()
    with pytest.raises(EndOfStream):
        await reading
    settle(source, batches)
    await bed.publish(b"two")
    with pytest.raises(EndOfStream):
        await source.read()
    await source.close()
    assert [body for body, _ in await asyncio.to_thread(bed.rabbitmq.get, bed.queue, 9)] == [b"two"]


async def test_close_waits_for_confirmations_and_fails_what_comes_after(bed):
    receipts = Receipts()
    target = await bed.target(receipts)
    target.write([delivery(bed.address, b"%d" % n) for n in range(100)])
    await target.close()
    assert len(receipts.good) == 100
    assert await bed.depth() == 100
    target.write([delivery(bed.address)])
    await until(lambda: receipts.bad)
    assert isinstance(receipts.bad[0][1], NotConnected)
    assert not receipts.losses


# Places that are not there.


async def test_a_missing_queue_is_misconfigured_in_the_words_of_the_broker(bed):
    source = bed.make_source(queues=["no-such-queue"])
    with pytest.raises(Misconfigured, match="NOT_FOUND - no queue 'no-such-queue'"):
        await source.open()


async def test_a_missing_exchange_costs_only_its_own_deliveries(bed, rabbitmq, fresh_name):
    receipts, fixed = Receipts(), f"ex-{fresh_name}/k"
    target = await bed.target(receipts, address=fixed)
    good = [delivery(bed.address, b"%d" % n) for n in range(4)]
    computed = delivery(f"nowhere-{fresh_name}/k")
    target.write([good[0], delivery(fixed), good[1], computed, good[2], delivery(fixed), good[3]])
    await until(lambda: receipts.count == 7)
    assert receipts.good == good
    for one, error in receipts.bad:
        assert isinstance(error, DeliveryRefused if one is computed else DeliveryFailed)
        assert "NOT_FOUND - no exchange" in str(error)
    assert not receipts.losses
    # It is asked for again after a while.
    await asyncio.to_thread(rabbitmq.declare_exchange, f"ex-{fresh_name}", "fanout")
    await asyncio.to_thread(rabbitmq.bind, bed.queue, f"ex-{fresh_name}")
    async with asyncio.timeout(DEADLINE_S):
        while len(receipts.good) == 4:
            before = receipts.count
            target.write([delivery(fixed, b"late")])
            await until(lambda before=before: receipts.count > before)
            await asyncio.sleep(0.2)
    assert await bed.depth() == 5


async def test_an_exchange_that_goes_away_is_a_loss_then_fails_alone(bed, rabbitmq, fresh_name):
    exchange = f"ex-{fresh_name}"
    await asyncio.to_thread(rabbitmq.declare_exchange, exchange, "fanout")
    await asyncio.to_thread(rabbitmq.bind, bed.queue, exchange)
    receipts = Receipts()
    target = await bed.target(receipts)
    target.write([delivery(f"{exchange}/k")])
    await until(lambda: receipts.good)

    async def delete(channel) -> None:
        await channel.exchange_delete(exchange)

    await asyncio.to_thread(rabbitmq._run, delete)
    target.write([delivery(f"{exchange}/k"), delivery(bed.address)])
    await until(lambda: receipts.losses)
    assert "no exchange" in str(receipts.losses[0])
    assert all(isinstance(error, NotConnected) for _, error in receipts.bad)
    await target.open()
    before = receipts.count
    target.write([delivery(f"{exchange}/k"), delivery(bed.address)])
    await until(lambda: receipts.count == before + 2)
    assert isinstance(receipts.bad[-1][1], DeliveryRefused)
    assert receipts.good[-1].address == bed.address


async def test_what_finds_no_queue_is_returned_in_the_words_of_the_broker(bed, fresh_name):
    receipts, fixed = Receipts(), f"amq.direct/{fresh_name}-fixed"
    target = await bed.target(receipts, address=fixed)
    good = [delivery(bed.address, b"%d" % n) for n in range(200)]
    lost = [delivery(f"amq.direct/{fresh_name}-{n}") for n in range(200)] + [delivery(fixed)]
    target.write([one for pair in zip(good, lost, strict=False) for one in pair] + lost[200:])
    await until(lambda: receipts.count == 401)
    assert receipts.good == good
    assert {one for one, _ in receipts.bad} == set(lost)
    for one, error in receipts.bad:
        assert isinstance(error, DeliveryFailed if one.address == fixed else DeliveryRefused)
        assert "NO_ROUTE (312)" in str(error)
        assert one.address in str(error)
    assert await bed.depth() == 200


async def test_a_full_queue_that_rejects_fails_what_it_does_not_take(bed, rabbitmq, fresh_name):
    full = f"full-{fresh_name}"
    arguments = {"x-max-length": 5, "x-overflow": "reject-publish"}
    await asyncio.to_thread(lambda: rabbitmq.declare_queue(full, arguments=arguments))
    receipts = Receipts()
    target = await bed.target(receipts)
    target.write([delivery(f"amq.default/{full}", b"%d" % n) for n in range(50)])
    await until(lambda: receipts.count == 50)
    assert receipts.bad
    assert all(isinstance(error, DeliveryFailed) for _, error in receipts.bad)
    assert len(receipts.good) == await asyncio.to_thread(rabbitmq.depth, full)


async def test_what_does_not_fit_is_refused_alone(bed):
    receipts = Receipts()
    target = await bed.target(receipts)
    bad = [
        delivery("no-slash"),
        delivery(f"amq.default/{'k' * 256}"),
        delivery(bed.address, headers={"correlation-id": "c" * 256}),
        delivery(bed.address, headers={"h": "\ud800"}),
        delivery(bed.address, headers={"h": "v" * 200_000}),
    ]
    good = [delivery(bed.address) for _ in range(6)]
    target.write([one for pair in zip(good, bad, strict=False) for one in pair] + good[5:])
    await until(lambda: receipts.count == 11)
    assert receipts.good == good
    assert all(isinstance(error, DeliveryRefused) for _, error in receipts.bad)
    assert not receipts.losses


# Faults.


async def test_bad_credentials_and_vhosts_are_misconfigured(bed):
    port = bed.rabbitmq.port
    for uri, words in (
        (f"amqp://guest:wrong@127.0.0.1:{port}/", "ACCESS_REFUSED"),
        (f"amqp://guest:guest@127.0.0.1:{port}/nowhere", "nowhere"),
    ):
        for end in (bed.make_source(uri=uri), bed.make_target(Receipts(), uri=uri)):
            with pytest.raises(Misconfigured, match=words) as caught:
                await end.open()
            assert "wrong" not in str(caught.value)


async def test_a_broker_that_is_not_there_is_not_connected(bed):
    port = Port()
    uri = f"amqp://guest:guest@127.0.0.1:{int(port)}"
    for end in (bed.make_source(uri=uri), bed.make_target(Receipts(), uri=uri)):
        with pytest.raises(NotConnected):
            await end.open()
    port.release()


async def test_a_peer_that_never_answers_is_not_connected(bed):
    async def silent(reader, writer) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    options = {"connection_timeout": 200, "handshake_timeout": 100}
    source = bed.make_source(uri=f"amqp://127.0.0.1:{port}", options=options)
    with pytest.raises(NotConnected, match=r"no connection within 0\.3 s"):
        await source.open()
    server.close()


async def test_a_queue_that_is_deleted_ends_the_read_and_is_then_missing(bed, rabbitmq, fresh_name):
    await bed.publish(b"one")
    source = await bed.source()
    batches = await read(source, 1)
    reading = asyncio.ensure_future(source.read())
    await asyncio.to_thread(rabbitmq.delete_queue, bed.queue)
    with pytest.raises(NotConnected, match=f"consumer of queue '{bed.queue}'"):
        await asyncio.wait_for(reading, DEADLINE_S)
    settle(source, batches)
    await source.close()
    with pytest.raises(Misconfigured):
        await source.open()
    await asyncio.to_thread(rabbitmq.declare_queue, bed.queue)
    await source.open()
    await bed.publish(b"two")
    assert payloads(await read(source, 1)) == [b"two"]


async def test_a_connection_the_broker_closes_fails_what_is_open_and_opens_again(bed, rabbitmq):
    receipts = Receipts()
    target, source = await bed.target(receipts), await bed.source()
    await bed.publish(*numbers(3))
    batches = await read(source, 3)
    reading = asyncio.ensure_future(source.read())
    await asyncio.to_thread(rabbitmq.drop_connections)
    with pytest.raises(NotConnected, match="CONNECTION_FORCED"):
        await asyncio.wait_for(reading, DEADLINE_S)
    await until(lambda: receipts.losses)
    settle(source, batches)  # late
    await source.close()
    await asyncio.gather(source.open(), target.open())
    again = await read(source, 3)
    assert payloads(again) == numbers(3)
    settle(source, batches)  # late: the same tags, of a channel that is gone
    target.write([delivery(bed.address)])
    await until(lambda: receipts.good)
    assert not receipts.bad
    await source.close()
    assert await bed.depth() == 4


async def test_a_memory_alarm_holds_up_the_target_and_loses_nothing(
    real_rabbitmq, fresh_name, monkeypatch
):
    """Blocked for longer than a confirmation may take: nothing fails, nothing is sent."""
    monkeypatch.setattr(outlet, "CONFIRM_S", 1.5)
    with real_rabbitmq() as rabbitmq:
        rabbitmq.declare_queue(fresh_name)
        bed, receipts = Bed(rabbitmq, fresh_name), Receipts()
        target = await bed.target(receipts)
        target.write([delivery(bed.address, b"0")])
        await until(lambda: receipts.good)
        limit = ("set_vm_memory_high_watermark", "absolute")
        await asyncio.to_thread(rabbitmq.ctl, *limit, "1000")
        # RabbitMQ blocks a connection at its first publish after the alarm.
        target.write([delivery(bed.address, b"1")])
        await until(lambda: target._outlet.link.is_blocked)
        made = [delivery(bed.address, b"%d" % n) for n in range(2, 500)]
        target.write(made)
        await asyncio.sleep(4)
        assert receipts.count == 1
        assert not receipts.losses
        assert len(target._outlet._waiting) == len(made)
        await asyncio.to_thread(
            rabbitmq.ctl, "set_vm_memory_high_watermark", "absolute", "1000000000"
        )
        await until(lambda: receipts.count == 500)
        assert not receipts.bad
        found = await asyncio.to_thread(rabbitmq.get, fresh_name, 500)
        assert [body for body, _ in found] == numbers(500)
        await bed.close()


async def test_a_missing_confirmation_fails_all_in_order_and_loses_the_link(
    real_rabbitmq, fresh_name, monkeypatch
):
    monkeypatch.setattr(outlet, "CONFIRM_S", 1.0)
    with real_rabbitmq() as rabbitmq:
        rabbitmq.declare_queue(fresh_name)
        bed, receipts = Bed(rabbitmq, fresh_name), Receipts()
        target = await bed.target(receipts)
        rabbitmq.freeze()
        made = [delivery(bed.address, b"%d" % n) for n in range(100)]
        target.write(made[:50])
        await asyncio.sleep(0.1)
        target.write(made[50:])
        await until(lambda: receipts.losses)
        assert [one for one, _ in receipts.bad] == made
        assert "confirmed nothing" in str(receipts.losses[0])
        rabbitmq.thaw()
        await bed.close()


async def test_a_broker_that_is_killed_and_comes_back_costs_no_message(real_rabbitmq, fresh_name):
    with real_rabbitmq() as rabbitmq:
        rabbitmq.declare_queue(fresh_name)
        bed, receipts = Bed(rabbitmq, fresh_name), Receipts()
        target, source = bed.make_target(receipts), bed.make_source()
        count = 3000
        todo = [delivery(bed.address, b"%d" % n) for n in range(count)]
        seen: list[int] = []

        async def opened(end) -> None:
            while True:
                with contextlib.suppress(NotConnected, Misconfigured):
                    await end.open()
                    return
                await asyncio.sleep(0.1)

        async def reader() -> None:
            await opened(source)
            while True:
                try:
                    batch = await source.read()
                except NotConnected:
                    await source.close()
                    await opened(source)
                    continue
                seen.extend(int(payload) for payload in batch.payloads)
                settle(source, [batch])

        reading = asyncio.create_task(reader())
        await opened(target)
        left, kills = todo, 0
        async with asyncio.timeout(DEADLINE_S * 2):
            while left:
                for at in range(0, len(left), 100):
                    target.write(left[at : at + 100])
                    await asyncio.sleep(0.005)
                    if not kills and at > 1000:
                        kills = 1
                        await asyncio.to_thread(rabbitmq.kill)
                        await asyncio.to_thread(rabbitmq.start)
                many = len(left)
                await until(lambda many=many: receipts.count >= many)
                left = [one for one, _ in receipts.bad]
                receipts.bad.clear()
                receipts.good.clear()
                if receipts.losses:
                    receipts.losses.clear()
                    await opened(target)
            while len(set(seen)) < count:
                await asyncio.sleep(0.05)
        assert kills
        assert set(seen) == set(range(count))
        reading.cancel()
        await bed.close()
