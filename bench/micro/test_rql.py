"""RQL filters, per message in a batch of 100, beside the reference in the same run."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from streamproc.kernels import rql as fast
from streamproc.kernels.signal import Signal
from streamproc.kernels.wildcard import Wildcard
from streamproc.lang.rql import parse
from streamproc.protocol.topic import parse as parse_topic
from tests.reference import rql as slow

BATCH = 100
BOTH = pytest.mark.parametrize("implementation", ["reference", "kernel"])
FILTERS = {
    "one comparison": "gt(attributes/count,-1)",
    "two comparisons": 'and(ge(attributes/count,0),ne(attributes/name,"none"))',
    "two comparisons, one of the topic": 'and(ge(attributes/count,0),eq(topic:action,"modified"))',
    "two comparisons, one in a feature": (
        "and(ge(attributes/count,0),lt(features/f/properties/p,1000.5))"
    ),
    "like, in, exists": (
        'and(like(attributes/name,"dev-*"),in(attributes/count,1,2,3,500),exists(features/f))'
    ),
    "or of three": 'or(like(attributes/name,"*v-5*"),eq(attributes/tags,"z"),exists(features/g))',
    "ilike with ?": 'ilike(attributes/name,"DEV-?7")',
    "number in a text": "gt(attributes/text,50)",
    "time": "gt(_modified,time:now-1d)",
    "empty": "empty(attributes/tags)",
}


def whole_things() -> list[Signal]:
    topic = parse_topic("ns/n/things/twin/events/modified")
    values = [
        {
            "attributes": {
                "count": i,
                "name": f"dev-{i}",
                "text": str(i),
                "tags": ["a", "b"],
            },
            "features": {"f": {"properties": {"p": i * 1.5}}},
        }
        for i in range(BATCH)
    ]
    return [
        Signal(
            topic,
            "/",
            value=orjson.loads(orjson.dumps(value)),
            revision=4,
            timestamp="2024-01-06T14:23:42.123Z",
        )
        for value in values
    ]


@BOTH
@pytest.mark.parametrize("name", FILTERS)
def test_filter(benchmark: Any, implementation: str, name: str) -> None:
    """The thing of each signal is there already, as after the first filter of a batch."""
    benchmark.group = f"rql: {name}"
    benchmark.extra_info["messages"] = BATCH
    plan = parse(FILTERS[name])
    signals = whole_things()
    fast.thing_of(signals)
    if implementation == "kernel":
        outcomes = benchmark(fast.Filter(plan).matches, signals)
    else:
        outcomes = benchmark(slow.matches, plan, signals)
    assert outcomes == slow.matches(plan, signals)


@BOTH
def test_pre_filter(benchmark: Any, implementation: str) -> None:
    benchmark.group = "rql: three-valued, two comparisons"
    benchmark.extra_info["messages"] = BATCH
    plan = parse(FILTERS["two comparisons"])
    signals = whole_things()
    fast.thing_of(signals)
    covered = ("/attributes/name",)
    if implementation == "kernel":
        outcomes = benchmark(fast.Filter(plan).may_match, signals, covered)
    else:
        outcomes = benchmark(slow.may_match, plan, signals, covered)
    assert outcomes == [2] * BATCH


EVENTS: dict[str, tuple[str, Any]] = {
    "attribute": ("/attributes/count", 5),
    "feature property": ("/features/f/properties/p", 5),
    "features": ("/features", {"f": {"properties": {"p": 5}}}),
    "thing": ("/", {"attributes": {"count": 5}, "features": {"f": {"properties": {"p": 5}}}}),
}


@BOTH
@pytest.mark.parametrize("name", EVENTS)
def test_thing_of(benchmark: Any, implementation: str, name: str) -> None:
    benchmark.group = f"thing of an event: {name}"
    benchmark.extra_info["messages"] = BATCH
    path, value = EVENTS[name]
    topic = parse_topic("ns/n/things/twin/events/modified")

    def fresh() -> tuple[tuple[list[Signal]], dict[str, Any]]:
        time = "2024-01-06T14:23:42.123Z"
        made = [Signal(topic, path, None, value, None, None, 4, time) for _ in range(BATCH)]
        return (made,), {}

    def reference(signals: list[Signal]) -> None:
        for signal in signals:
            signal.thing = slow.thing_of(signal)

    run = fast.thing_of if implementation == "kernel" else reference
    benchmark.pedantic(run, setup=fresh, rounds=300)


WILDCARDS = {"prefix*": "dev-*", "*middle*": "*ice-5*", "*mi?dle*": "*i?e-5*", "exact": "device-50"}


@BOTH
@pytest.mark.parametrize("name", WILDCARDS)
def test_wildcard(benchmark: Any, implementation: str, name: str) -> None:
    benchmark.group = f"wildcard: {name}"
    benchmark.extra_info["messages"] = BATCH
    pattern = WILDCARDS[name]
    texts = [f"device-{i}" for i in range(BATCH)]
    if implementation == "kernel":
        outcomes = benchmark(Wildcard(pattern).matches, texts)
    else:
        outcomes = benchmark(lambda: [slow.wildcard(pattern, text, False) for text in texts])
    assert outcomes == [slow.wildcard(pattern, text, False) for text in texts]
