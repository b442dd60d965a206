"""A command becomes its event; what needs a stored thing is refused with a reason."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.errors import SignalError
from streamproc.kernels.signal import ABSENT, Signal
from streamproc.protocol import headers as known
from streamproc.protocol import topic
from streamproc.twin.resource import check_thing_id, resource
from streamproc.twin.stateless import to_events

NOW = "2024-01-06T14:23:42.123Z"
TWIN = "org.acme/sensor-1/things/twin/commands/"
LIVE = "org.acme/sensor-1/things/live/"


def command(action: str, path: str = "/attributes/x", value: Any = 1, **headers: str) -> Signal:
    message = Signal(
        topic.parse(TWIN + action),
        path,
        {name.replace("_", "-"): text for name, text in headers.items()},
        value,
    )
    message.subjects = ("a:1", "b:2")
    return message


def outcome(message: Signal) -> Signal | SignalError | None:
    [result] = to_events([message], NOW)
    return result


def event(message: Signal) -> Signal:
    result = outcome(message)
    assert isinstance(result, Signal), result
    return result


def error(message: Signal) -> SignalError:
    result = outcome(message)
    assert isinstance(result, SignalError), result
    return result


@pytest.mark.parametrize(
    ("action", "path", "expected"),
    [
        ("create", "/", "created"),
        ("modify", "/attributes/x", "modified"),
        ("merge", "/attributes/x", "merged"),
        ("delete", "/attributes/x", "deleted"),
    ],
)
def test_a_command_becomes_its_event(action: str, path: str, expected: str) -> None:
    value = {"thingId": "org.acme:sensor-1", "attributes": {}} if path == "/" else 1
    message = command(action, path, value, correlation_id="c")
    result = event(message)
    assert result.topic == topic.parse(f"org.acme/sensor-1/things/twin/events/{expected}")
    assert result.path == path
    assert result.value == (ABSENT if expected == "deleted" else value)
    assert result.timestamp == NOW
    assert result.revision is None
    assert result.subjects == ("a:1", "b:2")
    assert result.entity_id == "org.acme:sensor-1"
    assert result.headers == {
        "correlation-id": "c",
        "response-required": "false",
        "ditto-originator": "a:1",
    }


def test_what_only_a_command_says_does_not_reach_its_event() -> None:
    message = command("modify", response_required="true")
    message.revision = 3
    message.fields = "thingId"
    message.extra = message.metadata = {"x": 1}
    message.thing = {"x": 1}
    message.policy_id = message.resource_type = "x"
    result = event(message)
    assert (result.revision, result.fields, result.extra, result.metadata) == (None,) * 4
    assert (result.thing, result.policy_id, result.resource_type) == (None,) * 3


def test_headers_that_steer_a_command_do_not_reach_its_event() -> None:
    steering = dict.fromkeys(known.READ_ONLY, "x")
    for name in ("condition", "if-match", "if-none-match", "merge-thing-patch-conditions"):
        del steering[name]
    message = command("modify")
    message.headers = steering | {"x-mine": "1", "ditto-origin": "conn", "dry-run": "false"}
    assert event(message).headers == {
        "x-mine": "1",
        "ditto-origin": "conn",
        "response-required": "false",
        "ditto-originator": "a:1",
    }


def test_a_command_may_not_bring_what_only_the_twin_knows() -> None:
    message = command("modify")
    message.extra = {"attributes": {"owner": "me"}}
    message.revision = 7
    message.timestamp = "1999-01-01T00:00:00Z"
    message.metadata = {"a": 1}
    result = event(message)
    assert (result.extra, result.revision, result.metadata) == (None, None, None)
    assert result.timestamp == NOW


def test_a_whole_thing_says_its_id_and_nothing_that_is_not_its_own() -> None:
    value = {
        "attributes": {"x": 1},
        "policyId": "org.acme:p",
        "_policy": {"entries": {}},
        "_revision": 3,
        "other": 4,
    }
    result = event(command("modify", "/", value))
    assert result.value == {
        "thingId": "org.acme:sensor-1",
        "attributes": {"x": 1},
        "policyId": "org.acme:p",
    }
    assert "thingId" not in value
    patch = event(command("merge", "/", {"attributes": None, "_policy": {}})).value
    assert patch == {"attributes": None}


@pytest.mark.parametrize("action", ["create", "modify", "merge"])
def test_a_value_may_not_be_another_thing(action: str) -> None:
    found = error(command(action, "/", {"thingId": "org.acme:sensor-2"}))
    assert found.code == "things:id.notsettable"


def test_a_dry_run_has_no_event_but_is_checked() -> None:
    assert outcome(command("modify", dry_run="true")) is None
    assert error(command("modify", "/nowhere", dry_run="true")).code == (
        "protocoladapter:unknown.path"
    )


@pytest.mark.parametrize("name", ["condition", "if-match", "if-none-match"])
def test_what_asks_about_the_stored_thing_is_refused(name: str) -> None:
    message = command("modify")
    message.headers[name] = "*"
    found = error(message)
    assert found.code == "protocoladapter:unknown.command"
    assert name in str(found)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (TWIN + "retrieve", "protocoladapter:unknown.command"),
        (TWIN + "migrate", "protocoladapter:unknown.command"),
        (TWIN + "modified", "protocoladapter:unknown.command"),
        ("a/b/policies/commands/create", "protocoladapter:unknown.command"),
        ("_/c/connections/announcements", "protocoladapter:unknown.command"),
        ("a/b/things/twin/events/modified", "protocoladapter:unknown.signal"),
        ("a/b/things/twin/search/subscribe", "protocoladapter:unknown.signal"),
        ("a/b/things/twin/acks/x", "protocoladapter:unknown.signal"),
        ("a/b/things/twin/errors", "protocoladapter:unknown.signal"),
        (LIVE + "acks/x", "protocoladapter:unknown.signal"),
        (LIVE + "errors", "protocoladapter:unknown.signal"),
        ("1a/b/things/twin/commands/modify", "things:id.invalid"),
        ("a/_/things/twin/commands/modify", "things:id.invalid"),
        ("_/_/things/twin/commands/modify", "things:id.invalid"),
        ("a/b\x01/things/twin/commands/modify", "things:id.invalid"),
        (f"a/{'b' * 255}/things/twin/commands/modify", "things:id.invalid"),
        ("1a/b/things/live/commands/modify", "things:id.invalid"),
        (LIVE + "messages/", "messages:subject.invalid"),
    ],
)
def test_what_a_stateless_twin_cannot_take_is_refused(text: str, code: str) -> None:
    for _ in range(2):  # refused each time, cached or not
        found = error(Signal(topic.parse(text), "/attributes/x", {}, 1))
        assert found.code == code
        assert len(str(found)) > 20


def test_a_response_is_not_a_command() -> None:
    for text in (TWIN + "modify", LIVE + "commands/modify"):
        message = Signal(topic.parse(text), "/attributes/x", {}, 1, status=204)
        assert error(message).code.startswith("protocoladapter:unknown.")


@pytest.mark.parametrize(
    ("rest", "path"),
    [
        ("commands/modify", "/attributes/x"),
        ("commands/retrieve", "/"),
        ("events/modified", "/features/f/properties/p"),
        ("messages/ask", "/inbox/messages/ask"),
        ("messages/a/b", "/features/f/outbox/messages/a/b"),
    ],
)
def test_live_signals_pass_unchanged(rest: str, path: str) -> None:
    message = Signal(topic.parse(LIVE + rest), path, {"x": "1", "condition": "y"}, 1)
    assert outcome(message) is message


def test_a_live_signal_may_not_bring_enriched_fields() -> None:
    message = Signal(topic.parse(LIVE + "events/modified"), "/attributes/x", {"x": "1"}, 1)
    message.extra = {"attributes": {"owner": "me"}}
    message.subjects = ("a:1",)
    result = event(message)
    assert result.extra is None
    assert (result.topic, result.path, result.headers, result.value) == (
        message.topic,
        message.path,
        message.headers,
        message.value,
    )
    assert result.subjects == ("a:1",)


@pytest.mark.parametrize(
    ("rest", "path"),
    [
        ("commands/modify", "/nowhere"),
        ("events/modified", "/features/f/nothing"),
        ("messages/ask", "/"),
        ("messages/ask", "/inbox/messages/"),
        ("messages/ask", "/attributes/x"),
        ("messages/ask", "/features/f/x/inbox/messages/ask"),
    ],
)
def test_live_paths_are_checked(rest: str, path: str) -> None:
    assert error(Signal(topic.parse(LIVE + rest), path, {}, 1)).code == (
        "protocoladapter:unknown.path"
    )


GOOD_PATHS = [
    ("/", {}),
    ("/policyId", "org.acme:p"),
    ("/definition", "org.acme:m:1.0.0"),
    ("/definition", None),
    ("/attributes", {"a": 1}),
    ("/attributes", None),
    ("/attributes/a/b", [1]),
    ("/features", {}),
    ("/features/f", {"properties": {}}),
    ("/features/f/definition", ["org.acme:f:1.0.0"]),
    ("/features/f/properties", {}),
    ("/features/f/properties/p/q", None),
    ("/features/f/desiredProperties", {}),
    ("/features/f/desiredProperties/p", True),
]


@pytest.mark.parametrize(("path", "value"), GOOD_PATHS)
def test_each_part_of_a_thing_can_be_changed(path: str, value: Any) -> None:
    for action in ("modify", "merge"):
        result = event(command(action, path, value))
        if path != "/":
            assert result.value is value
    if path != "/policyId":
        assert event(command("delete", path, value)).value is ABSENT


@pytest.mark.parametrize(
    "path",
    [
        "/thingId",
        "/_policy",
        "/policyId/x",
        "/definition/x",
        "/features/f/x",
        "/features/f/definition/x",
        "/Attributes",
        "/attributes//x",
        "/inbox/messages/x",
    ],
)
def test_other_paths_are_unknown(path: str) -> None:
    for _ in range(2):
        assert error(command("modify", path)).code == "protocoladapter:unknown.path"


@pytest.mark.parametrize(("action", "path"), [("create", "/attributes"), ("delete", "/policyId")])
def test_not_every_command_suits_every_path(action: str, path: str) -> None:
    assert error(command(action, path, {})).code == "protocoladapter:unknown.path"


@pytest.mark.parametrize(
    ("action", "path", "value"),
    [
        ("modify", "/", 3),
        ("modify", "/", None),
        ("merge", "/", None),
        ("create", "/", {"attributes": 3}),
        ("create", "/", {"features": []}),
        ("modify", "/", {"policyId": None}),
        ("modify", "/attributes", []),
        ("modify", "/features", "x"),
        ("modify", "/features/f", 1),
        ("modify", "/features/f/properties", 1),
        ("modify", "/features/f/definition", "x"),
        ("modify", "/definition", 3),
        ("modify", "/policyId", None),
        ("merge", "/attributes", []),
    ],
)
def test_values_must_suit_their_place(action: str, path: str, value: Any) -> None:
    assert error(command(action, path, value)).code == "json.invalid"


@pytest.mark.parametrize("action", ["create", "modify", "merge"])
def test_a_change_needs_a_value(action: str) -> None:
    assert error(command(action, "/", ABSENT)).code == "json.field.missing"


def test_one_bad_command_costs_the_others_nothing() -> None:
    bad = command("modify", "/nowhere")
    results = to_events([command("modify"), bad, command("modify")], NOW)
    assert [type(result) for result in results] == [Signal, SignalError, Signal]


@pytest.mark.parametrize(
    "thing", ["a:b", ":b", "org.acme:b", "org.ac-me.x_1:b c:d", "a:Ω…", f"a:{'b' * 254}", "a:b%2F"]
)
def test_good_ids(thing: str) -> None:
    namespace, _, name = thing.partition(":")
    check_thing_id(namespace, name)


@pytest.mark.parametrize(
    ("namespace", "name"),
    [
        *(("1a", "b"), ("a.", "b"), ("a..b", "c"), ("a.1", "b"), ("-a", "b"), ("ä", "b")),
        *(("a", ""), ("a", "b/c"), ("a", "b\n"), ("a\n", "b"), ("a", "_"), ("a b", "c")),
        *(("a", "b" * 255), ("a", "ä")),  # Ditto leaves out U+007F to U+00FF
    ],
)
def test_bad_ids(namespace: str, name: str) -> None:
    with pytest.raises(SignalError) as caught:
        check_thing_id(namespace, name)
    assert caught.value.code == "things:id.invalid"


@given(path=st.lists(st.text(max_size=3), max_size=6).map(lambda parts: "/" + "/".join(parts)))
@settings(max_examples=300, deadline=None)
def test_any_path_is_a_resource_or_an_error(path: str) -> None:
    def outcome() -> object:
        try:
            return resource(path)
        except SignalError as found:
            return found.code

    first = outcome()
    assert first == "protocoladapter:unknown.path" or first is outcome()
