"""What signals say of their things: the kernel equals its reference, and changes no signal."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import event, given

from streamproc.kernels.rql import Filter, thing_of
from streamproc.kernels.signal import ABSENT, Signal, Topic
from streamproc.lang import rql
from tests.kernels.filters import again, copied, event_topic, many, signals
from tests.reference import rql as reference


def same(left: Any, right: Any) -> bool:
    """Equal, NaN to NaN too, and true is not 1."""
    return repr(_sorted(left)) == repr(_sorted(right))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return sorted((key, _sorted(each)) for key, each in value.items())
    return [_sorted(each) for each in value] if isinstance(value, list) else value


@given(signal=signals())
@many
def test_a_signal_says_of_its_thing_what_the_reference_says_and_stays_as_it_was(
    signal: Signal,
) -> None:
    expected = reference.thing_of(again(signal))
    before = [copied(signal.value), copied(signal.extra)]
    event(f"{signal.topic and signal.topic.action}, fields: {min(len(expected), 5)}")
    thing_of([signal])
    assert same(signal.thing, expected)
    _scribble(signal.thing)
    assert same([signal.value, signal.extra], before)


def _scribble(thing: dict[str, Any] | None) -> None:
    """What a caller may do to the top of the cached thing without touching the signal."""
    assert thing is not None
    thing.clear()
    thing["scribbled"] = True


KNOWN = {"thingId": "ns:a", "_namespace": "ns", "_revision": 4, "_modified": "2024"}


@pytest.mark.parametrize(
    ("action", "path", "value", "extra", "expected"),
    [
        ("created", "/", {"policyId": "p", "_revision": 1}, None, {"policyId": "p"}),
        ("modified", "/", {"thingId": "x:y"}, None, {}),
        ("modified", "/", None, None, {}),
        ("modified", "/policyId", "ns:p", None, {"policyId": "ns:p"}),
        ("modified", "/attributes", {"a": 1}, None, {"attributes": {"a": 1}}),
        ("created", "/attributes/a/b", None, None, {"attributes": {"a": {"b": None}}}),
        ("modified", "/attributes/x~0y/", 1, None, {"attributes": {"x~y": 1}}),
        (
            "modified",
            "/features/f/definition",
            ["d"],
            None,
            {"features": {"f": {"definition": ["d"]}}},
        ),
        ("modified", "/attributes//a", 1, None, {}),
        ("deleted", "/attributes/a", ABSENT, None, {}),
        ("deleted", "/attributes/a", 1, None, {}),
        ("modified", "/attributes/a", ABSENT, None, {}),
        ("merged", "/attributes/a", None, None, {"attributes": {"a": {}}}),
        ("merged", "/", None, None, {}),
        (
            "merged",
            "/attributes",
            {"a": None, "b": {"c": None, "d": [None, {"e": None}]}, "f": 1},
            None,
            {"attributes": {"b": {"d": [None, {"e": None}]}, "f": 1}},
        ),
        (
            "modified",
            "/attributes/a",
            {"x": 1},
            {"thingId": "other:id", "attributes": {"a": {"x": 2, "y": 3}, "b": 4}, "_policy": {}},
            {"attributes": {"a": {"x": 1, "y": 3}, "b": 4}, "_policy": {}},
        ),
    ],
)
def test_what_an_event_says_of_its_thing(
    action: str, path: str, value: Any, extra: Any, expected: dict[str, Any]
) -> None:
    signal = Signal(event_topic(action), path, None, value, extra, None, 4, "2024")
    thing_of([signal])
    assert signal.thing == {**expected, **KNOWN}


def test_other_signals_say_only_what_was_enriched() -> None:
    command = Topic("ns/a/things/live/commands/modify", "ns", "a", "things", "live", "commands")
    policy = Topic("ns/a/policies/events/modified", "ns", "a", "policies", "none", "events")
    for topic in (command, policy, None):
        bare, enriched = Signal(topic, value={"a": 1}), Signal(topic, extra={"attributes": {}})
        thing_of([bare, enriched])
        assert (bare.thing, enriched.thing) == ({}, {"attributes": {}})
        assert enriched.thing is not enriched.extra


def test_the_thing_of_a_signal_is_computed_once() -> None:
    topic = event_topic("modified")
    signal = Signal(topic, "/attributes/a", value=1)
    thing_of([signal])
    kept = signal.thing
    assert kept == {"attributes": {"a": 1}, "thingId": "ns:a", "_namespace": "ns"}
    thing_of([signal])
    Filter(rql.parse("eq(attributes/a,1)")).matches([signal])
    assert signal.thing is kept


def test_objects_too_deep_to_copy_end_the_copy_not_the_process() -> None:
    topic = event_topic("merged")
    deep: Any = {"x": None}
    for _ in range(100_000):
        deep = {"d": deep}
    signal = Signal(topic, "/attributes", value=deep, extra={"attributes": deep})
    assert Filter(rql.parse("exists(attributes/d/d/d)")).matches([signal]) == [True]
