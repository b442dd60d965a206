"""The everyday commands, which the kernel turns into events itself, become what the rule says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.errors import SignalError
from streamproc.kernels import events
from streamproc.kernels.signal import ABSENT, Signal
from streamproc.kernels.thing import thing_of
from streamproc.protocol import topic
from streamproc.twin import stateless
from streamproc.twin.resource import known
from streamproc.twin.stateless import to_events

NOW = "2024-01-06T14:23:42.123Z"

values = st.sampled_from(
    [
        *(ABSENT, None, 1, 2.5, True, "text", "a:b:1.0.0", [], ["a:b:1"], {}, {"x": 1}),
        {"thingId": "org.acme:one", "attributes": {"x": 1}},
        {"thingId": "org.acme:one", "attributes": None},
        {"thingId": "org.acme:one", "features": {}, "policyId": "a:p", "definition": "a:b:1.0.0"},
        {"thingId": "org.acme:other", "attributes": {}},
        {"thingId": 7},
        {"thingId": "org.acme:one", "_revision": 7},
        {"thingId": "org.acme:one", "_policy": {}, "attributes": {}},
        {"attributes": {"x": 1}},
        {"policyId": 4, "thingId": "org.acme:one"},
    ]
)
paths = st.sampled_from(
    [
        *("/", "/attributes", "/attributes/x", "/attributes/x/y", "/features", "/policyId"),
        *("/features/f", "/features/f/properties", "/features/f/properties/p", "/definition"),
        *("/features/f/definition", "/features/f/desiredProperties/p", "/features/f/none"),
        *("/nowhere", "/_policy"),
    ]
)
topics = st.sampled_from(
    [
        *(f"org.acme/one/things/twin/commands/{action}" for action in ("modify", "merge")),
        *(f"org.acme/one/things/twin/commands/{action}" for action in ("create", "delete")),
        "org.acme/one/things/twin/commands/retrieve",
        "org.acme/one/things/twin/events/modified",
        "org.acme/one/things/live/commands/modify",
        "org.acme/one/things/live/messages/hello",
        "org.acme/one/policies/commands/modify",
        "bad namespace/one/things/twin/commands/modify",
        "_/_/things/twin/commands/modify",
    ]
)
headers = st.dictionaries(
    st.sampled_from(
        ["correlation-id", "response-required", "x", "if-match", "condition", "dry-run", "accept"]
    ),
    st.sampled_from(["true", "false", "1"]),
    max_size=3,
)
signals = st.builds(
    Signal,
    st.builds(topic.parse, topics),
    paths,
    headers,
    values,
    extra=st.sampled_from([None, {"attributes": {}}]),
    status=st.sampled_from([None, None, None, 204]),
    revision=st.sampled_from([None, 3]),
    timestamp=st.sampled_from([None, "2020-01-01T00:00:00Z"]),
)


FIELDS = (
    *("extra", "status", "revision", "timestamp", "fields", "metadata", "subjects"),
    *("entity_id", "policy_id", "resource_type", "thing"),
)


def said(outcome: Any) -> object:
    """All that can be seen of *outcome*."""
    if isinstance(outcome, Signal):
        topic = outcome.topic
        assert topic is not None
        thing_of([outcome])  # of a command it was another
        own = tuple(repr(getattr(outcome, name)) for name in FIELDS)
        return topic.full, outcome.path, dict(outcome.headers), repr(outcome.value), own
    if isinstance(outcome, SignalError):
        return outcome.code, str(outcome)
    return outcome


def by_rule(signal: Signal) -> Any:
    try:
        return stateless.outcome(signal, NOW)
    except SignalError as error:
        return error


@given(st.lists(signals, max_size=8), st.sampled_from([(), ("a:1",), ("a:1", "b:2")]))
@settings(max_examples=600)
def test_the_kernel_says_what_the_rule_says(batch: list[Signal], who: tuple[str, ...]) -> None:
    for signal in batch:
        signal.subjects = who
        thing_of([signal])
    # Topics and paths are known from now on, as in a service that runs.
    expected = [said(by_rule(signal)) for signal in batch]
    assert [said(one) for one in to_events(batch, NOW)] == expected


def asked(batch: list[Signal]) -> list[Signal]:
    """Those of *batch* about which the kernel asks the rule."""
    found: list[Signal] = []

    def rule(signal: Signal, now: str) -> Signal | None:
        found.append(signal)
        return None

    events.to_events(batch, NOW, rule, known, frozenset({"if-match"}))
    return found


def command(action: str, path: str, value: object, **own: str) -> Signal:
    made = Signal(
        topic.parse(f"org.acme/one/things/twin/commands/{action}"),
        path,
        {name.replace("_", "-"): text for name, text in own.items()},
        value,
    )
    by_rule(made)
    return made


@pytest.mark.parametrize(
    ("action", "path", "value"),
    [
        ("modify", "/attributes/x", 1),
        ("modify", "/features/f/properties/p", {"a": 1}),
        ("modify", "/features/f/properties", {"a": 1}),
        ("modify", "/", {"thingId": "org.acme:one", "attributes": {}}),
        ("merge", "/attributes/x", None),
    ],
)
def test_the_rule_is_not_asked_about_the_everyday(action: str, path: str, value: object) -> None:
    assert asked([command(action, path, value)]) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: command("modify", "/attributes/x", 1, if_match="*"),
        lambda: command("modify", "/", {"thingId": "org.acme:other"}),
        lambda: command("modify", "/", {"attributes": {}}),
        lambda: command("modify", "/attributes/x", ABSENT),
        lambda: command("modify", "/attributes", 1),
        lambda: command("delete", "/attributes/x", ABSENT),
        lambda: command("retrieve", "/", ABSENT),
    ],
)
def test_the_rule_is_asked_about_all_else(make: Callable[[], Signal]) -> None:
    signal = make()
    assert asked([signal]) == [signal]


def test_what_is_no_signal_is_refused() -> None:
    with pytest.raises(TypeError):
        to_events([None], NOW)  # type: ignore[list-item]
