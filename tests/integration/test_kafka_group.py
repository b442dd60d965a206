"""A consumer group over crashes: what comes again, who gets what, and lives of a topic."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from streamproc.connectors.base import Verdict
from streamproc.connectors.kafka import behind, intake
from streamproc.connectors.kafka.commits import EVERY_S
from streamproc.errors import Misconfigured, NotConnected, RunnerError
from tests.brokers.kafka_client import quiet
from tests.integration.kafka_bed import Bed, assigned, numbers, payloads, read, settle
from tests.integration.receipts import DEADLINE_S, until

ROOT = Path(__file__).parents[2]


# What is done beyond the committed offset.


async def crash(bed: Bed, count: int, stuck: str, *more: str) -> None:
    """A consumer settles all *count* messages but those of one key, commits, and is killed."""
    command = [sys.executable, "-m", "tests.integration.kafka_victim"]
    victim = await asyncio.create_subprocess_exec(
        *command, bed.bootstrap, bed.topic, str(count), stuck, *more, stdout=PIPE, cwd=ROOT
    )
    try:
        async with asyncio.timeout(DEADLINE_S):
            assert await victim.stdout.readline() == b"settled\n"
        # The offset does not show when the last commit is there; its metadata stops changing.
        before = None
        while (now := await bed.metadata()) != before or not any(now.values()):
            before = now
            await asyncio.sleep(10 * EVERY_S)
    finally:
        victim.kill()
        await victim.wait()


async def test_after_a_kill_only_the_unfinished_come_again(bed):
    """One message in a hundred is of a device that is stuck, and so is the first."""
    values = numbers(5000)
    for at in range(0, 5000, 100):
        await bed.publish(values[at], key=b"stuck")
        await bed.publish(*values[at + 1 : at + 100], key=b"moves")
    await crash(bed, 5000, "stuck")
    assert all(offset == 0 for offset in (await bed.committed()).values())
    source = await bed.source(index=1)
    again = await read(source, 50)
    await bed.publish(b"end")
    again += await read(source, 1)
    assert payloads(again) == [*values[::100], b"end"]
    settle(source, again)
    await until(lambda: again[0].origin.stored == 5001)
    await source.close()
    assert set((await bed.committed()).values()) == {5001}


async def test_what_was_done_is_known_over_a_second_end_soon_after_the_first(bed):
    """Before all that was done before the first end could be looked at."""
    for at in range(0, 3000, 300):
        await bed.publish(b"%d" % at, key=b"stuck")
        await bed.publish(*numbers(299, at + 1), key=b"moves")
    await crash(bed, 3000, "stuck")
    second = await bed.source(index=1, prefetch=2)
    batches = await read(second, 2)
    assert payloads(batches) == [b"0", b"300"]
    settle(second, batches)
    await second.close()
    await bed.publish(b"end")
    third = await bed.source(index=2)
    assert payloads(await read(third, 9)) == [b"%d" % at for at in range(600, 3000, 300)] + [b"end"]


async def test_after_a_kill_all_come_again_where_that_is_switched_off(bed):
    await bed.publish(b"0", key=b"stuck")
    await bed.publish(*numbers(99, 1), key=b"moves")
    await crash(bed, 100, "stuck")
    source = await bed.source(index=1, options={"skip_settled": False})
    assert payloads(await read(source, 100)) == numbers(100)


async def test_metadata_of_others_is_told_and_ignored(bed):
    await bed.publish(*numbers(20))
    (number,) = await asyncio.to_thread(bed.kafka.partitions, bed.topic)
    settings_ = quiet(bed.bootstrap, group_id=f"of-{bed.topic}", enable_auto_commit=False)
    other = Consumer(settings_)
    place = TopicPartition(bed.topic, number, 5, "made by something else")
    await asyncio.to_thread(other.commit, offsets=[place], asynchronous=False)
    await asyncio.to_thread(other.close)
    told: list[str] = []
    source = await bed.source(tell=told.append)
    assert payloads(await read(source, 15)) == numbers(15, 5)
    assert len(told) == 1
    assert f"{bed.topic}#{number} at 5 has metadata that is ignored: it is not ours" in told[0]


async def test_a_redelivery_does_not_repeat_what_was_settled_meanwhile(bed):
    await bed.publish(b"a0", b"a1", key=b"a")
    await bed.publish(b"b0", b"b1", key=b"b")
    await bed.publish(b"a2", key=b"a")
    source = await bed.source()
    batches = await read(source, 5)
    origin = batches[0].origin
    offsets = [token for batch in batches for token in batch.tokens]
    source.settle(origin, [offsets[0], offsets[2], offsets[4]], Verdict.ACCEPT, {})
    source.settle(origin, [offsets[1]], Verdict.REDELIVER, {})
    again = await read(source, 3)
    assert payloads(again) == [b"a1", b"b1", b"a2"]  # a2 came after a1, and does again
    settle(source, again)
    await source.close()
    assert 5 in (await bed.committed()).values()


# Membership.


async def test_a_static_member_that_was_killed_has_its_partitions_back_at_once(bed):
    """Its session outlasts the test: without its name the new one would wait for that."""
    if bed.kafka.mock:
        pytest.skip("the mock cluster knows no static members")
    await bed.publish(b"0", key=b"stuck")
    await bed.publish(*numbers(99, 1), key=b"moves")
    await crash(bed, 100, "stuck", "here")
    source = await bed.source(options={"group_instance_id": "here"})
    assert payloads(await read(source, 1)) == [b"0"]


async def test_two_members_of_one_name_need_a_person(bed):
    if bed.kafka.mock:
        pytest.skip("the mock cluster knows no static members")
    first = await bed.source(options={"group_instance_id": "twin"})
    await assigned(first)
    second = await bed.source(options={"group_instance_id": "twin"})
    await assigned(second)
    with pytest.raises(Misconfigured, match="fenced"):
        async with asyncio.timeout(DEADLINE_S):
            await first.read()


async def test_the_new_group_protocol_hands_over_without_loss_or_doubles(wide):
    if wide.kafka.mock:
        pytest.skip("the mock cluster knows the classic protocol only")
    new = {"options": {"group_protocol": "consumer"}}
    await wide.publish(*numbers(400), key=None)
    first = await wide.source(**new)
    batches = await read(first, 400)
    settle(first, batches)
    second = await wide.source(index=1, **new)
    await assigned(second)
    await until(lambda: any(batch.origin.gone for batch in batches))
    await wide.publish(*numbers(400, 400), key=None)
    seen: Counter[bytes] = Counter()

    async def consume(source) -> None:
        while True:
            batch = await source.read()
            seen.update(batch.payloads)
            settle(source, [batch])

    tasks = [asyncio.create_task(consume(one)) for one in (first, second)]
    await until(lambda: len(seen) == 400)
    assert seen == Counter(numbers(400, 400))
    for task in tasks:
        task.cancel()
    await asyncio.gather(first.close(), second.close())
    assert sum((await wide.committed()).values()) == 800


async def test_a_partition_that_was_taken_away_while_paused_is_read_when_it_is_back(
    wide, monkeypatch
):
    monkeypatch.setattr(intake, "PAUSE_AFTER_S", 0.0)
    wanted = numbers(200)
    await wide.publish(*wanted, key=None)
    first = await wide.source(prefetch=10)
    await until(lambda: len(first._intake._paused) == len(first._intake._partitions) > 0)
    second = await wide.source(index=1, prefetch=10)
    await assigned(second)
    await second.close()
    seen: set[bytes] = set()
    async with asyncio.timeout(DEADLINE_S):
        while len(seen) < len(wanted):
            batch = await first.read()
            seen.update(batch.payloads)
            settle(first, [batch])
    assert seen == set(wanted)


async def test_what_a_source_says_of_itself(wide, monkeypatch):
    monkeypatch.setattr(behind, "EVERY_S", 0.0)
    await wide.publish(*numbers(300), key=b"one")  # all in one partition, or the mock's
    await wide.publish(b"late", key=b"one", headers=[("creation-time", b"1"), ("ttl", b"1")])
    source = await wide.source()
    assert source.numbers()["expired"] == 0
    batches = await read(source, 300)
    await until(lambda: source.numbers()["lag"] == 301)
    assert source.numbers()["lag_most"] == 301
    assert source.numbers()["rebalances"] >= 1
    first, *rest = [(batch.origin, token) for batch in batches for token in batch.tokens]
    for origin, token in rest:
        source.settle(origin, [token], Verdict.ACCEPT, {})
    await until(lambda: source.numbers()["held_back"] >= 299)
    await until(lambda: source.numbers()["lag"] <= 2)
    source.settle(first[0], [first[1]], Verdict.ACCEPT, {})
    reading = asyncio.ensure_future(source.read())
    await until(lambda: source.numbers()["lag"] == 0)
    assert source.numbers()["held_back"] == 0
    assert source.numbers()["expired"] == 1
    reading.cancel()


async def test_how_far_it_is_behind_is_known_while_it_reads_nothing(wide, monkeypatch):
    monkeypatch.setattr(behind, "EVERY_S", 0.0)
    monkeypatch.setattr(intake, "PAUSE_AFTER_S", 0.0)
    await wide.publish(*numbers(50), key=b"one")
    source = await wide.source(prefetch=10)
    await until(lambda: source._intake._paused)
    await wide.publish(*numbers(1000), key=b"one")
    await until(lambda: source.numbers()["lag"] == 1050)


# Lives of a topic.


async def test_a_topic_that_is_made_again_is_read_from_its_beginning(bed):
    """Whether or not the consumer notices that it was gone."""
    if bed.kafka.mock:
        pytest.skip("the mock cluster deletes no topics")
    await bed.publish(*numbers(50))
    source = await bed.source()
    settle(source, await read(source, 50))
    await asyncio.to_thread(bed.kafka.delete_topic, bed.topic)
    await asyncio.to_thread(bed.kafka.create_topic, bed.topic, 1)
    await bed.publish(*numbers(20, 100))
    seen: list[bytes] = []
    async with asyncio.timeout(DEADLINE_S):
        while len(seen) < 20:
            try:
                batch = await source.read()
            except (NotConnected, Misconfigured):
                await source.close()
                await _open_again(source)
                continue
            seen += batch.payloads
            settle(source, [batch])
    assert seen == numbers(20, 100)
    await source.close()
    assert await bed.committed() == {0: 20}


async def _open_again(source) -> None:
    while True:
        try:
            return await source.open()
        except RunnerError:
            await asyncio.sleep(0.1)
