"""The Kafka connector against a real Kafka: order, gaps, epochs, faults."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

import pytest

from streamproc.connectors.base import Verdict
from streamproc.connectors.kafka import brokers, intake, settings
from streamproc.connectors.kafka.source import KafkaSource
from streamproc.errors import (
    DeliveryFailed,
    DeliveryRefused,
    EndOfStream,
    Misconfigured,
    NotConnected,
)
from streamproc.kernels.signal import ABSENT
from streamproc.protocol.acks import Wanted
from tests.brokers.ports import Port
from tests.integration.kafka_bed import (
    Bed,
    assigned,
    delivery,
    numbers,
    payloads,
    read,
    settle,
)
from tests.integration.receipts import DEADLINE_S, Receipts, until

# The normal path.


async def test_what_the_target_writes_the_source_reads_with_its_headers(bed):
    receipts = Receipts()
    target, source = await bed.target(receipts), await bed.source()
    headers = {"content-type": "text/plain", "ü": "ß", "empty": "", "correlation-id": "c-1"}
    target.write([delivery(f"{bed.topic}/dev/1", b"\x00payload", headers)])
    (batch,) = await read(source, 1)
    assert batch.payloads == [b"\x00payload"]
    assert batch.headers[0].items() >= headers.items()
    assert batch.headers[0]["kafka.key"] == "dev/1"
    assert batch.headers[0]["kafka.topic"] == bed.topic
    assert batch.headers[0]["ditto-connection-id"] == f"of-{bed.topic}"
    await until(lambda: receipts.good)
    assert not receipts.bad


async def test_order_per_key_and_every_receipt_once(wide):
    receipts = Receipts()
    target, source = await wide.target(receipts), await wide.source()
    sent = [(f"k{n % 50}", n) for n in range(20_000)]
    made = [delivery(f"{wide.topic}/{key}", b"%d" % n, key=key) for key, n in sent]
    at = 0
    async with asyncio.timeout(DEADLINE_S):
        while at < len(made):
            room = min(500, target.capacity - (at - receipts.count))
            target.write(made[at : at + room])
            at += room
            await asyncio.sleep(0)
    batches = await read(source, len(made))
    await until(lambda: receipts.count == len(made))
    assert not receipts.bad
    assert len(set(receipts.good)) == len(made)
    seen: dict[str, list[int]] = {}
    for batch in batches:
        assert len({id(h) for h in batch.headers}) == len(batch.headers)
        for payload, headers in zip(batch.payloads, batch.headers, strict=True):
            seen.setdefault(headers["kafka.key"], []).append(int(payload))
    assert seen == {f"k{k}": list(range(k, 20_000, 50)) for k in range(50)}
    settle(source, batches)
    await source.close()
    ends = await asyncio.to_thread(wide.kafka.end_offsets, wide.topic)
    assert await wide.committed() == ends


async def test_a_partition_can_be_named(wide):
    receipts = Receipts()
    target = await wide.target(receipts)
    target.write([delivery(f"{wide.topic}#{n}", b"%d" % n) for n in (3, 0, 3)])
    await until(lambda: receipts.count == 3)
    records = await asyncio.to_thread(wide.kafka.consume, wide.topic, 3)
    assert sorted((r.partition, r.value) for r in records) == [(0, b"0"), (3, b"3"), (3, b"3")]


# Settlement.


async def test_unsettled_messages_come_again_and_settled_ones_do_not(bed):
    await bed.publish(*numbers(10))
    source = await bed.source()
    batches = await read(source, 10)
    origin = batches[0].origin
    offsets = [token for batch in batches for token in batch.tokens]
    source.settle(origin, offsets[:4], Verdict.ACCEPT, {})
    await source.close()
    again = await read(await bed.source(), 6)
    assert payloads(again) == numbers(6, 4)


async def test_nothing_is_committed_past_a_gap(bed):
    await bed.publish(*numbers(100))
    source = await bed.source()
    batches = await read(source, 100)
    origin = batches[0].origin
    offsets = [token for batch in batches for token in batch.tokens]
    source.settle(origin, offsets[60:], Verdict.ACCEPT, {})
    source.settle(origin, offsets[:42], Verdict.REJECT, {})
    source.settle(origin, offsets[43:60], Verdict.ACCEPT, {})
    await until(lambda: origin.stored == offsets[42])
    await source.close()
    assert offsets[42] in (await bed.committed()).values()
    batches = await read(await bed.source(), 58)
    assert payloads(batches)[0] == b"42"


async def test_redelivered_messages_come_again_in_order_and_the_first_receipts_do_not_count(bed):
    await bed.publish(*numbers(20))
    source = await bed.source()
    batches = await read(source, 20)
    old = batches[0].origin
    offsets = [token for batch in batches for token in batch.tokens]
    source.settle(old, offsets[:5], Verdict.ACCEPT, {})
    source.settle(old, [offsets[7]], Verdict.REDELIVER, {})
    source.settle(old, offsets, Verdict.ACCEPT, {})  # late, of an epoch that is gone
    assert old.position == offsets[5]
    again = await read(source, 15)
    assert payloads(again) == numbers(15, 5)
    assert again[0].origin is not old
    source.settle(old, offsets, Verdict.ACCEPT, {})
    await bed.publish(b"next")
    more = await read(source, 1)
    await source.close()
    assert offsets[5] in (await bed.committed()).values()
    assert payloads(more) == [b"next"]


async def test_redelivery_is_slower_each_time_and_other_partitions_go_on(wide, monkeypatch):
    partitions = await asyncio.to_thread(wide.kafka.partitions, wide.topic)
    receipts = Receipts()
    target, source = await wide.target(receipts), await wide.source()
    target.write([delivery(f"{wide.topic}#{n}", b"%d" % n) for n in partitions])
    stuck = Counter()
    others = set()
    asked = []
    real = intake.Intake.rewind

    def rewind(self, partition, offset, delay_s):
        asked.append(delay_s)
        real(self, partition, offset, delay_s)

    monkeypatch.setattr(intake.Intake, "rewind", rewind)
    async with asyncio.timeout(DEADLINE_S):
        while stuck[b"0"] < 4 or len(others) < len(partitions) - 1:
            batch = await source.read()
            for payload in batch.payloads:
                stuck[payload] += 1
            is_stuck = batch.payloads[0] == b"0"
            others.update(() if is_stuck else batch.payloads)
            settle(source, [batch], Verdict.REDELIVER if is_stuck else Verdict.ACCEPT)
    assert asked[:3] == [0.1, 0.2, 0.4]
    assert all(count == 1 for payload, count in stuck.items() if payload != b"0")


async def test_expired_messages_are_not_read_and_are_committed(bed):
    await bed.publish(b"old", headers=[("creation-time", b"1000"), ("ttl", b"1000")])
    await bed.publish(b"good", headers=[("creation-time", b"1000"), ("ttl", b"9999999999999")])
    source = await bed.source()
    batches = await read(source, 1)
    assert payloads(batches) == [b"good"]
    await bed.publish(b"old too", headers=[("creation-time", b"1000"), ("ttl", b"1000")])
    settle(source, batches)
    reading = asyncio.ensure_future(source.read())
    await until(lambda: source.expired == 2)
    reading.cancel()
    await source.close()
    ends = await asyncio.to_thread(bed.kafka.end_offsets, bed.topic)
    assert set((await bed.committed()).values()) <= set(ends.values())
    assert sum((await bed.committed()).values()) == 3


async def test_qos_0_is_committed_when_read(bed):
    await bed.publish(*numbers(5))
    source = await bed.source(qos=0)
    await read(source, 5)
    await source.close()
    assert sum((await bed.committed()).values()) == 5


async def test_a_group_that_starts_at_the_end_starts_there_after_a_crash_too(bed):
    await bed.publish(b"before")
    latest = {"consumer_offset_reset": "latest"}
    source = await bed.source(options=latest)
    await assigned(source)
    await bed.publish(b"one", b"two")
    assert payloads(await read(source, 2)) == [b"one", b"two"]
    await source.close()  # with nothing settled
    await bed.publish(b"three")
    assert payloads(await read(await bed.source(options=latest), 3)) == [b"one", b"two", b"three"]


async def test_messages_of_a_partition_that_is_new_are_read_from_its_beginning(bed, monkeypatch):
    monkeypatch.setattr(settings, "METADATA_S", 1.0)
    if bed.kafka.mock:
        pytest.skip("the mock cluster adds no partitions")
    from confluent_kafka.admin import NewPartitions

    source = await bed.source(options={"consumer_offset_reset": "latest"})
    await assigned(source)
    admin = bed.kafka.admin()
    await asyncio.to_thread(
        lambda: admin.create_partitions([NewPartitions(bed.topic, 2)])[bed.topic].result(60)
    )
    receipts = Receipts()
    target = await bed.target(receipts)

    async def write() -> None:
        while not receipts.good:  # until the producer has heard of it
            target.write([delivery(f"{bed.topic}#1", b"early")])
            await asyncio.sleep(0.5)

    async with asyncio.timeout(DEADLINE_S):
        await write()
    assert payloads(await read(source, 1))[0] == b"early"


# Back-pressure and ends.


async def test_no_more_is_taken_than_prefetch_while_nobody_reads(bed, monkeypatch):
    monkeypatch.setattr(intake, "PAUSE_AFTER_S", 0.0)
    await bed.publish(*numbers(5000))
    source = await bed.source(prefetch=100)
    room = source._room
    await until(lambda: room.left() == 0 and source._intake._paused)
    assert room.put_messages <= 101  # one may come while it is being paused
    assert payloads(await read(source, 5000)) == numbers(5000)


async def test_no_more_is_taken_than_prefetch_bytes(bed):
    await bed.publish(*[b"x" * 100_000 for _ in range(40)])
    source = await bed.source(prefetch_bytes=2_000_000)
    await until(lambda: source._room.left() == 0)
    assert source._room.put_size <= 1_200_000  # half of it, and what is beside the payloads
    await read(source, 40)


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
    assert sum((await bed.committed()).values()) == 1


async def test_a_cancelled_read_loses_nothing(bed):
    source = await bed.source()
    batches = []
    for n in range(20):
        reading = asyncio.ensure_future(source.read())
        await asyncio.sleep(0)
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            batches.append(await reading)
        await bed.publish(b"%d" % n)
    batches += await read(source, 20 - len(payloads(batches)))
    assert payloads(batches) == numbers(20)


async def test_a_source_opens_again_after_it_was_closed(bed):
    source = await bed.source()
    await source.close()
    await source.close()
    await bed.publish(b"one")
    await source.open()
    assert payloads(await read(source, 1)) == [b"one"]


# Rebalancing.


async def consume(source: KafkaSource, seen: Counter, stop: asyncio.Event) -> None:
    """Read and settle, each batch a little later, until told to stop."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(EndOfStream):
        while not stop.is_set():
            batch = await source.read()
            for payload in batch.payloads:
                seen[payload] += 1
            loop.call_later(0.02, settle, source, [batch])


async def test_nothing_is_missing_while_members_come_and_go(wide):
    seen, count = Counter(), 6000
    first = await wide.source()
    stops = [asyncio.Event() for _ in range(3)]
    tasks = [asyncio.create_task(consume(first, seen, stops[0]))]
    for part in range(6):
        await wide.publish(*numbers(count // 12, part * count // 12), key=None)
        if part == 1:
            second = await wide.source(index=1)
            tasks.append(asyncio.create_task(consume(second, seen, stops[1])))
            await assigned(second)
        if part == 3:
            await first.stop()
            await asyncio.wait_for(tasks[0], DEADLINE_S)
            await asyncio.sleep(0.1)  # lets the last batches be settled
            await first.close()
            third = await wide.source(index=2)
            tasks.append(asyncio.create_task(consume(third, seen, stops[2])))
    await wide.publish(*numbers(count // 2, count // 2), key=None)
    await until(lambda: len(seen) == count)
    for source, task in zip((second, third), tasks[1:], strict=True):
        await source.stop()
        await asyncio.wait_for(task, DEADLINE_S)
    await asyncio.sleep(0.1)
    doubles = sum(seen.values()) - count
    assert doubles == 0, "everything was settled in time, so nothing may come twice"


async def test_a_revocation_waits_for_the_runner_then_commits(wide):
    await wide.publish(*numbers(400), key=None)
    first = await wide.source()
    batches = await read(first, 400)
    second = await wide.source(index=1)
    await until(lambda: any(batch.origin.closing for batch in batches))
    assert not any(batch.origin.gone for batch in batches)
    settle(first, batches)
    await assigned(second)
    await wide.publish(*numbers(400, 400), key=None)
    seen: Counter = Counter()
    stop = asyncio.Event()
    tasks = [asyncio.create_task(consume(one, seen, stop)) for one in (first, second)]
    await until(lambda: len(seen) == 400)
    assert seen == Counter(numbers(400, 400))
    for task in tasks:
        task.cancel()


async def test_receipts_after_a_revocation_do_not_move_the_commit(wide, monkeypatch):
    monkeypatch.setattr(intake, "DRAIN_S", 0.2)
    await wide.publish(*numbers(400), key=None)
    first = await wide.source()
    batches = await read(first, 400)
    second = await wide.source(index=1)
    await until(lambda: sum(batch.origin.gone for batch in batches))
    gone = [batch for batch in batches if batch.origin.gone]
    settle(first, batches)  # too late for those
    lost = {payload for batch in gone for payload in batch.payloads}
    seen: set[bytes] = set()
    async with asyncio.timeout(DEADLINE_S):
        while not lost <= seen:
            seen.update((await second.read()).payloads)
    assert lost


# Faults.


async def test_a_missing_topic_is_misconfigured(bed):
    if bed.kafka.mock:
        pytest.skip("the mock cluster makes every topic that one asks for")
    source = bed.make_source(addresses=["no-such-topic"])
    with pytest.raises(Misconfigured, match="topic 'no-such-topic' does not exist"):
        await source.open()
    source = bed.make_source(addresses=["not a topic"])
    with pytest.raises(Misconfigured, match="not a topic"):
        await source.open()


async def test_a_broker_that_is_not_there_is_not_connected(bed, fresh_name):
    with contextlib.closing(Nowhere()) as nowhere:
        away = Bed(bed.kafka, fresh_name, nowhere.address)
        with pytest.raises(NotConnected):
            await away.source()
        with pytest.raises(NotConnected):
            await away.target(Receipts())


class Nowhere:
    """A port where nobody listens."""

    def __init__(self) -> None:
        self._port = Port()
        self.address = f"127.0.0.1:{int(self._port)}"

    def close(self) -> None:
        self._port.release()


async def test_one_bad_delivery_costs_the_others_nothing(bed):
    receipts = Receipts()
    target = await bed.target(receipts)
    good = [delivery(f"{bed.topic}/k", b"%d" % n) for n in range(6)]
    bad = [
        delivery("not a topic/k"),
        delivery(f"{bed.topic}/k", headers={"a": "\ud800"}),
        delivery(f"{bed.topic}#x"),
    ]
    if not bed.kafka.mock:  # which takes messages of any size
        bad.append(delivery(f"{bed.topic}/k", b"x" * 2_000_000))
    mixed = [one for pair in zip(good, bad, strict=False) for one in pair] + good[len(bad) :]
    target.write(mixed)
    await until(lambda: receipts.count == len(mixed))
    assert set(receipts.good) == set(good)
    assert {one for one, _ in receipts.bad} == set(bad)
    assert all(isinstance(error, DeliveryRefused) for _, error in receipts.bad)
    assert not receipts.losses
    records = await asyncio.to_thread(bed.kafka.consume, bed.topic, 6)
    assert [record.value for record in records] == numbers(6)


async def test_a_fixed_topic_that_is_missing_is_waited_for_a_computed_one_refused(bed, fresh_name):
    if bed.kafka.mock:
        pytest.skip("the mock cluster makes every topic that one asks for")
    receipts, fixed = Receipts(), f"{fresh_name}-fixed"
    target = await bed.target(receipts, address=fixed)
    target.write([delivery(fixed), delivery(f"{fresh_name}-computed"), delivery(bed.topic)])
    await until(lambda: receipts.count == 3)
    assert [one.address for one in receipts.good] == [bed.topic]
    kinds = {one.address: type(error) for one, error in receipts.bad}
    assert kinds == {fixed: DeliveryFailed, f"{fresh_name}-computed": DeliveryRefused}
    await asyncio.to_thread(bed.kafka.create_topic, fixed)
    while not any(one.address == fixed for one in receipts.good):
        seen = receipts.count
        target.write([delivery(fixed)])
        await until(lambda seen=seen: receipts.count > seen)
    assert not receipts.losses


async def test_close_delivers_what_is_in_flight_and_fails_what_comes_after(bed):
    receipts = Receipts()
    target = await bed.target(receipts)
    target.write([delivery(bed.topic, b"%d" % n) for n in range(100)])
    await target.close()
    assert len(receipts.good) == 100
    target.write([delivery(bed.topic)])
    await until(lambda: receipts.bad)
    assert isinstance(receipts.bad[0][1], NotConnected)


async def test_what_cannot_be_delivered_in_time_fails_in_order_and_the_link_is_lost(
    real_kafka, fresh_name, monkeypatch
):
    monkeypatch.setattr(settings, "DELIVERY_TIMEOUT_S", 2.0)
    with real_kafka() as kafka:
        kafka.create_topic(fresh_name)
        bed, receipts = Bed(kafka, fresh_name), Receipts()
        target = await bed.target(receipts)
        target.write([delivery(fresh_name)])
        await until(lambda: receipts.good)
        kafka.freeze()
        written = [delivery(f"{fresh_name}/{n % 7}", b"%d" % n) for n in range(50)]
        target.write(written[:25])
        await asyncio.sleep(0.5)
        target.write(written[25:])
        await until(lambda: receipts.losses)
        assert [one for one, _ in receipts.bad] == written
        assert all(isinstance(error, NotConnected) for _, error in receipts.bad)
        kafka.thaw()
        async with asyncio.timeout(DEADLINE_S):
            while True:
                with contextlib.suppress(NotConnected):
                    await target.open()
                    break
        target.write(written)
        await until(lambda: len(receipts.good) == 51)
        await bed.close()


async def test_a_broker_that_is_killed_and_comes_back_costs_no_message_and_no_order(
    real_kafka, fresh_name, monkeypatch
):
    """However long this machine takes to start it: nothing is given up meanwhile."""
    monkeypatch.setattr(settings, "DELIVERY_TIMEOUT_S", 250.0)
    monkeypatch.setattr(brokers, "DOWN_S", 250.0)
    with real_kafka() as kafka:
        kafka.create_topic(fresh_name, 2)
        bed, receipts = Bed(kafka, fresh_name), Receipts()
        target, source = await bed.target(receipts), await bed.source()
        made = [delivery(f"{fresh_name}/{n % 10}", b"%d" % n, key=str(n % 10)) for n in range(4000)]
        seen: dict[str, list[int]] = {}

        async def reader() -> None:
            while True:
                batch = await source.read()
                for payload, headers in zip(batch.payloads, batch.headers, strict=True):
                    seen.setdefault(headers["kafka.key"], []).append(int(payload))
                settle(source, [batch])

        reading = asyncio.create_task(reader())
        for at in range(0, 4000, 100):
            target.write(made[at : at + 100])
            await asyncio.sleep(0.01)
            if at == 1000:
                await asyncio.to_thread(kafka.kill)
            if at == 2500:
                await asyncio.to_thread(kafka.start)
        await until(lambda: receipts.count == 4000)
        assert not receipts.bad
        await until(lambda: sum(len(some) for some in seen.values()) >= 4000 or reading.done())
        for key, got in seen.items():
            first = list(dict.fromkeys(got))
            assert first == list(range(int(key), 4000, 10))
        reading.cancel()
        await bed.close()


@pytest.mark.parametrize("debug", [False, True])
async def test_an_acknowledgement_says_where_the_record_is(bed, debug):
    receipts = Receipts()
    target = await bed.target(receipts, options={"debug_enabled": debug})
    made = [delivery(f"{bed.topic}/dev/1", b"payload"), delivery(bed.topic, b"x")]
    for each in made:
        each.wanted = Wanted("k:done", 50_000)
    silent = delivery(f"{bed.topic}/dev/1", b"silent")
    wanted = [each.wanted for each in made]
    target.write([*made, silent])
    await until(lambda: receipts.count == 3)
    assert not receipts.bad
    acks = [each.receipt() for each in wanted]
    if not debug:
        assert [(ack.status, ack.payload) for ack in acks] == [(204, ABSENT)] * 2
        return
    assert [ack.status for ack in acks] == [200, 200]
    keyed, bare = (ack.payload for ack in acks)
    assert keyed.keys() == {
        *("timestamp", "serializedKeySize", "serializedValueSize"),
        *("topic", "partition", "offset"),
    }
    assert (keyed["topic"], keyed["serializedKeySize"], keyed["serializedValueSize"]) == (
        bed.topic,
        len("dev/1"),
        len("payload"),
    )
    assert (bare["serializedKeySize"], bare["serializedValueSize"]) == (-1, 1)
    assert keyed["offset"] >= 0
    assert keyed["timestamp"] > 1_600_000_000_000
