"""The generator says the same on every run, keeps its rate, and knows its intruders."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, defaultdict
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.config.connection import Connection, Source
from streamproc.connectors.base import Identity, SourceSpec, Verdict
from streamproc.connectors.generator.config import GeneratorOptions
from streamproc.connectors.generator.devices import Devices
from streamproc.connectors.generator.pace import CATCH_UP_S, Pace
from streamproc.connectors.generator.source import BATCH_MESSAGES, GeneratorSource
from streamproc.errors import EndOfStream


def source(
    *, client: int = 0, clients: int = 1, consumer: int = 0, consumers: int = 1, **options: Any
) -> GeneratorSource:
    spec = Source(addresses=["devices"], consumer_count=consumers)
    return GeneratorSource(
        SourceSpec(
            identity=Identity(connection_id="c", client_index=client, client_count=clients),
            connection=Connection(id="c", connection_type="generator", sources=[spec]),
            options=GeneratorOptions(**options),
            source=spec,
            consumer_index=consumer,
        )
    )


async def everything(made: GeneratorSource) -> list[dict[str, Any]]:
    """Read to the end. Each message's value, with its thing and its headers."""
    await made.open()
    found: list[dict[str, Any]] = []
    while True:
        try:
            batch = await made.read()
        except EndOfStream:
            return found
        assert 1 <= len(batch.payloads) <= BATCH_MESSAGES
        for payload, headers in zip(batch.payloads, batch.headers, strict=True):
            message = orjson.loads(payload)
            namespace, name, *rest = message["topic"].split("/")
            assert rest == ["things", "twin", "commands", "modify"]
            found.append(
                {
                    **message["value"],
                    "thing": f"{namespace}:{name}",
                    "headers": headers,
                    "path": message["path"],
                    "size": len(payload),
                }
            )


async def test_the_same_seed_says_the_same_and_another_does_not() -> None:
    options = {"devices": 7, "intruders": 0.2, "zipf": 1.0, "count": 500}
    first, again, other = [await everything(source(seed=s, **options)) for s in (1, 1, 2)]
    assert first == again
    assert first != other


@given(st.lists(st.integers(1, 50), min_size=1, max_size=10), st.floats(0, 1), st.floats(0, 4))
def test_what_is_said_does_not_depend_on_how_it_is_asked_for(
    steps: list[int], intruders: float, zipf: float
) -> None:
    options = GeneratorOptions(devices=5, intruders=intruders, zipf=zipf)
    one, other = Devices(options, part=0, parts=2), Devices(options, part=0, parts=2)
    whole = one.speak(sum(steps), 1 << 30)
    pieces = [other.speak(step, 1 << 30) for step in steps]
    assert whole[0] == list(itertools.chain.from_iterable(p for p, _ in pieces))
    assert whole[1] == list(itertools.chain.from_iterable(h for _, h in pieces))


async def test_devices_count_without_gaps_and_ids_are_unique() -> None:
    said = await everything(source(devices=9, intruders=0.3, count=2000))
    assert len({message["id"] for message in said}) == 2000
    seqs: dict[str, list[int]] = defaultdict(list)
    for message in said:
        if not message.get("intruder"):
            seqs[message["device"]].append(message["seq"])
            assert message["thing"] == message["device"]
    assert len(seqs) == 9
    for found in seqs.values():
        assert found == list(range(len(found)))
    paths = Counter(message["path"] for message in said)
    assert paths == {"/attributes/reading": 1000, "/features/meter/properties": 1000}


async def test_an_intruder_claims_the_thing_of_another_under_its_own_identity() -> None:
    said = await everything(source(devices=9, intruders=0.3, count=2000))
    intruders = [message for message in said if message.get("intruder")]
    assert 450 < len(intruders) < 750
    for message in intruders:
        assert message["headers"]["device_id"] == message["device"] != message["thing"]
    for message in said:
        assert message["headers"]["device_id"] == message["device"]
    assert not [m for m in await everything(source(count=100)) if m.get("intruder")]


async def test_no_two_consumers_of_no_two_clients_speak_for_the_same_device() -> None:
    owners: dict[str, tuple[int, int]] = {}
    ids: set[str] = set()
    for client, consumer in itertools.product(range(3), range(2)):
        made = source(
            client=client, clients=3, consumer=consumer, consumers=2, devices=20, count=300
        )
        for message in await everything(made):
            assert owners.setdefault(message["device"], (client, consumer)) == (client, consumer)
            assert message["id"] not in ids
            ids.add(message["id"])
    assert len(owners) == 20


async def test_more_consumers_than_devices_leaves_some_silent() -> None:
    made = [source(client=n, clients=3, devices=2, count=5) for n in range(3)]
    assert [len(await everything(each)) for each in made] == [5, 5, 0]


async def test_popularity_follows_zipf() -> None:
    said = await everything(source(devices=100, zipf=1.2, count=5000))
    counts = [n for _, n in Counter(message["device"] for message in said).most_common()]
    assert counts[0] > 10 * counts[20]


async def test_payloads_are_padded() -> None:
    assert {m["size"] for m in await everything(source(payload_bytes=1000, count=50))} == {1000}
    assert max(m["size"] for m in await everything(source(payload_bytes=1, count=50))) < 300


@pytest.mark.parametrize("rate", [0.0, 1000.0])
async def test_it_ends_after_its_count(rate: float) -> None:
    made = source(count=250, rate=rate)
    assert len(await everything(made)) == 250
    with pytest.raises(EndOfStream):
        await made.read()


async def test_verdicts_are_counted_and_nothing_comes_again() -> None:
    made = source(count=10)
    batch = await made.read()
    made.settle(batch.origin, batch.tokens[:3], Verdict.REDELIVER, {})
    made.settle(batch.origin, batch.tokens[3:], Verdict.ACCEPT, {})
    assert made.verdicts == {Verdict.ACCEPT: 7, Verdict.REDELIVER: 3, Verdict.REJECT: 0}
    with pytest.raises(EndOfStream):
        await made.read()


async def test_others_run_while_it_speaks_without_limit() -> None:
    made = source()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(count())
    for _ in range(50):
        await made.read()
    assert turns >= 40
    task.cancel()


def simulate(rate: float, moments: list[float]) -> int:
    """Messages sent by a pace that is looked at at each of *moments*."""
    pace, sent = Pace(rate), 0
    for now in moments:
        due = pace.due(now)
        pace.sent(due)
        sent += due
    return sent


@given(
    rate=st.floats(1, 50_000),
    gaps=st.lists(st.floats(0.0001, CATCH_UP_S * 0.9), min_size=5, max_size=60),
)
def test_a_rate_is_kept_without_drift_however_late_the_timers_are(
    rate: float, gaps: list[float]
) -> None:
    moments = list(itertools.accumulate(gaps, initial=100.0))
    expected = (moments[-1] - moments[0]) * rate
    assert expected - 1 <= simulate(rate, moments) <= expected + 2


def test_a_long_pause_is_not_made_up_for() -> None:
    sent = simulate(100.0, [0.0, 1.0, 3600.0])
    assert 200 <= sent <= 210


@given(rate=st.floats(1, 50_000), now=st.floats(0, 1000))
def test_after_its_wait_one_is_due(rate: float, now: float) -> None:
    pace = Pace(rate)
    pace.sent(pace.due(now))
    later = now + pace.wait_s(now)
    assert pace.wait_s(now) > 0
    assert pace.due(later + 1e-6) >= 1
