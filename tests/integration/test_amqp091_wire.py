"""What the wire agrees with a real RabbitMQ: frames, heartbeats, certificates, odd messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from streamproc.connectors.base import Verdict
from streamproc.errors import DeliveryRefused, Misconfigured, NotConnected
from tests.brokers.ports import Port
from tests.integration.amqp091_bed import Bed, delivery, numbers, payloads, read, settle, tokens
from tests.integration.receipts import DEADLINE_S, Receipts, until

CERTIFICATES = Path(__file__).parents[1] / "unit" / "connectors" / "http_push" / "certificates"


@pytest.fixture
async def bed(rabbitmq, fresh_name) -> AsyncIterator[Bed]:
    await asyncio.to_thread(rabbitmq.declare_queue, fresh_name)
    made = Bed(rabbitmq, fresh_name)
    yield made
    await made.close()


# Frames.


async def test_small_frames_carry_large_bodies_both_ways(bed):
    options = {"requested_frame_max": 4096}
    receipts = Receipts()
    target = await bed.target(receipts, options=options)
    source = await bed.source(options=options)
    bodies = [bytes([n]) * size for n, size in enumerate([0, 1, 4087, 4088, 4089, 8176, 300_000])]
    target.write([delivery(bed.address, body, {"h": "v" * 3000}) for body in bodies])
    batches = await read(source, len(bodies))
    assert payloads(batches) == bodies
    await until(lambda: receipts.count == len(bodies))
    assert target._outlet.link.frame_max == 4096
    large = delivery(bed.address, b"", {"h": "v" * 4096})
    target.write([large, delivery(bed.address, b"end")])
    await until(lambda: receipts.count == len(bodies) + 2)
    ((refused, error),) = receipts.bad
    assert refused is large
    assert isinstance(error, DeliveryRefused)
    assert "the broker's frames at most 4096" in str(error)


async def test_too_few_channels_are_misconfigured(bed):
    target = bed.make_target(Receipts(), options={"requested_channel_max": 1})
    with pytest.raises(Misconfigured, match="at most 1 channels, and 2 are needed"):
        await target.open()


async def test_of_a_body_over_the_limit_one_byte_too_many_is_kept(bed):
    await bed.publish(b"x" * 100, b"x" * 101, b"x" * 500_000, b"end")
    source = await bed.source(max_message_bytes=100)
    batches = await read(source, 4)
    assert [len(payload) for payload in payloads(batches)] == [100, 101, 101, 3]
    settle(source, batches)
    await source.close()
    assert await bed.depth() == 0


async def test_headers_that_cannot_be_read_cost_their_message_alone(bed, rabbitmq, fresh_name):
    dead, live = f"dead-{fresh_name}", f"live-{fresh_name}"
    await asyncio.to_thread(rabbitmq.declare_queue, dead)
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    await asyncio.to_thread(lambda: rabbitmq.declare_queue(live, arguments=arguments))
    nested: Any = "deep"
    for _ in range(17):
        nested = [nested]
    sent = [(b"0", {}), (b"1", {"h": nested}), (b"2", {})]
    await asyncio.to_thread(rabbitmq.publish, live, sent)
    told: list[str] = []
    source = await bed.source(queues=[live], tell=told.append)
    batches = await read(source, 2)
    assert payloads(batches) == [b"0", b"2"]
    settle(source, batches)
    await source.close()
    assert len(told) == 1
    assert "headers cannot be read: tables within tables" in told[0]
    assert await asyncio.to_thread(rabbitmq.depth, live) == 0
    assert [body for body, _ in await asyncio.to_thread(rabbitmq.get, dead, 9)] == [b"1"]


# Places.


async def test_two_targets_on_one_exchange(bed, rabbitmq, fresh_name):
    exchange, other = f"ex-{fresh_name}", f"other-{fresh_name}"
    await asyncio.to_thread(rabbitmq.declare_exchange, exchange)
    await asyncio.to_thread(rabbitmq.declare_queue, other)
    for queue in (bed.queue, other):
        await asyncio.to_thread(rabbitmq.bind, queue, exchange, queue)
    receipts = Receipts()
    target = await bed.target(receipts)
    queues = (bed.queue, other)
    target.write([delivery(f"{exchange}/{queues[n % 2]}", b"%d" % n) for n in range(100)])
    await until(lambda: receipts.count == 100)
    assert not receipts.bad
    for number, queue in enumerate(queues):
        found = await asyncio.to_thread(rabbitmq.get, queue, 100)
        assert [body for body, _ in found] == numbers(100)[number::2]


async def test_a_quorum_queue_is_settled_in_any_order(bed, rabbitmq, fresh_name):
    quorum, count = f"quorum-{fresh_name}", 200
    kind = {"x-queue-type": "quorum"}
    await asyncio.to_thread(lambda: rabbitmq.declare_queue(quorum, arguments=kind))
    receipts = Receipts()
    target, source = await bed.target(receipts), await bed.source(queues=[quorum])
    target.write([delivery(f"amq.default/{quorum}", body) for body in numbers(count)])
    batches = await read(source, count)
    assert payloads(batches) == numbers(count)
    await until(lambda: receipts.count == count)
    assert not receipts.bad
    origin, tags = batches[0].origin, tokens(batches)
    order = [tags[(n * 37) % count] for n in range(count)]
    source.settle(origin, order[:1], Verdict.REDELIVER, {})
    for at in range(1, count, 9):
        source.settle(origin, order[at : at + 9], Verdict.ACCEPT, {})
    again = await read(source, 1)
    assert payloads(again) == [b"0"]
    await source.close()
    await until_depth(bed, quorum, 1)


async def until_depth(bed: Bed, queue: str, depth: int) -> None:
    """A quorum queue counts a little later than it confirms."""
    async with asyncio.timeout(DEADLINE_S):
        while await asyncio.to_thread(bed.rabbitmq.depth, queue) != depth:
            await asyncio.sleep(0.1)


# Time.


async def test_what_is_unsettled_for_too_long_comes_again_and_its_verdict_is_late(bed):
    told: list[str] = []
    await bed.publish(*numbers(6))
    source = await bed.source(options={"unsettled_timeout": 2_000}, tell=told.append)
    first = await read(source, 6)
    origin, tags = first[0].origin, tokens(first)
    source.settle(origin, tags[2:4], Verdict.ACCEPT, {})
    again = await read(source, 4)
    assert payloads(again) == [b"0", b"1", b"4", b"5"]
    assert told == [
        "gave 4 messages back to their queue, unsettled for 2 s: they may be delivered twice"
    ]
    for verdict in Verdict:  # late: these tags are nobody's
        source.settle(origin, [tags[0], tags[1], *tags[4:]], verdict, {})
    settle(source, again)
    await bed.publish(b"more")
    more = await read(source, 1)  # the channel lives
    assert payloads(more) == [b"more"]
    settle(source, more)
    await source.close()
    assert await bed.depth() == 0


async def test_what_nobody_reads_goes_back_in_time_too(bed):
    told: list[str] = []
    await bed.publish(*numbers(3))
    source = await bed.source(options={"unsettled_timeout": 500}, tell=told.append)
    await until(lambda: told)
    batches = await read(source, 3)
    assert payloads(batches) == numbers(3)
    assert min(tokens(batches)) > 3
    settle(source, batches)
    await source.close()
    assert await bed.depth() == 0


async def test_an_idle_link_lives_by_its_heartbeats(bed):
    receipts = Receipts()
    options = {"requested_heartbeat": 1}
    target, source = await bed.target(receipts, options=options), await bed.source(options=options)
    await asyncio.sleep(5)  # the broker would end it after two or three
    target.write([delivery(bed.address)])
    assert payloads(await read(source, 1)) == [b"x"]
    assert not receipts.losses


async def test_a_broker_that_says_nothing_is_given_up(real_rabbitmq, fresh_name):
    with real_rabbitmq() as rabbitmq:
        rabbitmq.declare_queue(fresh_name)
        bed, receipts = Bed(rabbitmq, fresh_name), Receipts()
        options = {"requested_heartbeat": 1, "shutdown_timeout": 100}
        target, source = (
            await bed.target(receipts, options=options),
            await bed.source(options=options),
        )
        rabbitmq.freeze()
        target.write([delivery(bed.address)])
        with pytest.raises(NotConnected, match="has said nothing for 2 s"):
            await asyncio.wait_for(source.read(), DEADLINE_S)
        await until(lambda: receipts.losses)
        assert [type(error) for _, error in receipts.bad] == [NotConnected]
        rabbitmq.thaw()
        await bed.close()


# Certificates.


def pem(name: str) -> str:
    return (CERTIFICATES / f"{name}.pem").read_text()


async def test_certificates_are_checked_and_log_in(real_rabbitmq, fresh_name):
    port, file = Port(), str(CERTIFICATES / "server.pem")
    config = {
        "listeners.ssl.1": f"127.0.0.1:{int(port)}",
        "ssl_options.cacertfile": str(CERTIFICATES / "ca.pem"),
        "ssl_options.certfile": file,
        "ssl_options.keyfile": file,
        "ssl_options.verify": "verify_peer",
        "ssl_options.fail_if_no_peer_cert": "false",
        "auth_mechanisms.1": "PLAIN",
        "auth_mechanisms.2": "EXTERNAL",
        "ssl_cert_login_from": "common_name",
    }
    with real_rabbitmq(config, ["rabbitmq_auth_mechanism_ssl"]) as rabbitmq:
        port.release()
        rabbitmq.declare_queue(fresh_name)
        key, _, rest = pem("client").partition("-----BEGIN CERT")
        credentials = {"type": "client-cert", "cert": "-----BEGIN CERT" + rest, "key": key}
        place = f"localhost:{int(port)}"

        async def moves(uri: str, **link: Any) -> None:
            bed, receipts = Bed(rabbitmq, fresh_name, uri, **link), Receipts()
            target, source = await bed.target(receipts), await bed.source()
            target.write([delivery(bed.address, b"x" * 100_000)])
            batches = await read(source, 1)
            assert payloads(batches) == [b"x" * 100_000]
            settle(source, batches)
            await bed.close()

        await moves(f"amqps://guest:guest@{place}", ca=pem("ca"))
        await moves(f"amqps://guest:guest@{place}", validate_certificates=False)
        with pytest.raises(Misconfigured, match="certificate verify failed"):
            await moves(f"amqps://guest:guest@{place}")
        with pytest.raises(Misconfigured, match="ACCESS_REFUSED"):
            await moves(f"amqps://{place}", ca=pem("ca"), credentials=credentials)
        await asyncio.to_thread(rabbitmq.ctl, "add_user", "client", "unused")
        everything = ("client", ".*", ".*", ".*")
        await asyncio.to_thread(rabbitmq.ctl, "set_permissions", *everything)
        await moves(f"amqps://{place}", ca=pem("ca"), credentials=credentials)
