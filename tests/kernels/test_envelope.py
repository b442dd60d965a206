"""The envelope kernel equals its reference: same signal, or same error, or same bytes."""

from __future__ import annotations

import itertools
import json
from typing import Any

import orjson
import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from streamproc.errors import SignalError
from streamproc.kernels import envelope as kernel
from streamproc.kernels.signal import ABSENT, Signal, Topic
from streamproc.protocol import headers as known
from streamproc.protocol import topic
from tests.reference import envelope as reference

LIMIT = 5 * 1024
both = pytest.mark.parametrize("implementation", [reference, kernel], ids=["reference", "kernel"])

texts = st.text(max_size=12)
segments = st.sampled_from(["a", "features", "b~0c", "ä", " ", "", "x" * 30])
good_topics = st.sampled_from(
    [
        "ns/n/things/twin/commands/modify",
        "ns/n/things/live/messages/a/b",
        "ns/n/policies/commands/create",
        "ns/n/things/twin/acks",
        "/n/things/twin/events/created",
    ]
)
any_topics = st.lists(
    st.one_of(segments, st.sampled_from(["things", "twin", "events"])), max_size=7
).map("/".join)
topics = st.integers(0, 5).flatmap(lambda n: good_topics if n else any_topics)
good_paths = st.sampled_from(["/", "/attributes/a", "/features/f/properties/p", "/a/"])
any_paths = st.one_of(
    st.sampled_from(["", "attributes", "//", "/a//b", "/a" * 64, "/a" * 65]),
    st.lists(segments, max_size=5).map(lambda parts: "/" + "/".join(parts)),
)
paths = st.integers(0, 3).flatmap(lambda n: good_paths if n else any_paths)
json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        texts,
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)
HEADER_NAMES = sorted(
    {"a", "x-Custom", "X-CUSTOM", "Ä", "İx", ""}
    | set(itertools.islice(sorted(known.REFUSED), 4))
    | {"ditto-origin", "Ditto-Originator", "condition"}
    | set(known.CHECKED)
    | known.JSON
    | known.NUMBERS
    | known.BOOLEANS
)
HEADER_TEXTS = ("true", "false", "", " ", "7", "5s", "abc", "live", "LIVE", "abc,def", "x" * 40)
ODD_TEXTS = ('["a:b","twin-persisted"]', "[1]", '"rev:1"', "*", "ä", "[", "{}", "\u00a0", " a", "~")
header_texts = st.sampled_from([*HEADER_TEXTS, *ODD_TEXTS])
header_dicts = st.dictionaries(
    st.sampled_from(HEADER_NAMES) | texts, header_texts | texts | json_values, max_size=4
)
# Mostly whole envelopes with one member spoilt, so that each check is reached.
good: dict[str, st.SearchStrategy[Any]] = {
    "topic": topics,
    "headers": header_dicts,
    "path": paths,
    "value": json_values,
    "extra": st.dictionaries(texts, json_values, max_size=2),
    "status": st.sampled_from([200, 204, 404, 99, 600, 100, 599]),
    "revision": st.integers(0, 2**64 - 1),
    "timestamp": st.just("2024-01-06T14:23:42Z"),
    "metadata": st.dictionaries(texts, json_values, max_size=2),
    "fields": st.just("attributes/a"),
}


@st.composite
def envelopes(draw: st.DrawFn) -> dict[str, Any]:
    chosen = draw(st.sets(st.sampled_from(sorted(good)), min_size=0, max_size=10))
    envelope = {name: draw(good[name]) for name in good if name in chosen}
    if draw(st.integers(0, 9)):  # nearly always whole
        envelope.setdefault("topic", "ns/n/things/twin/commands/modify")
        envelope.setdefault("path", "/attributes/a")
    if not draw(st.integers(0, 9)):
        envelope[draw(st.sampled_from(sorted(good)))] = draw(json_values)
    return envelope


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    """Mostly whole envelopes; also cut ones, other JSON, and noise."""
    whole = dumped(draw(envelopes()))
    match draw(st.integers(0, 11)):
        case 0:
            return dumped(draw(json_values))
        case 1:
            return draw(st.binary(max_size=20))
        case 2:
            return whole[: draw(st.integers(0, 400))]
        case _:
            return whole


def seen(result: Signal | SignalError) -> Any:
    """All that a caller can see of a result."""
    if isinstance(result, SignalError):
        return result.code, result.status, str(result), result.details
    assert result.topic is not None
    return (
        result.topic.full,
        result.path,
        list(result.headers.items()),
        None if result.value is ABSENT else (result.value,),
        result.extra,
        result.status,
        result.revision,
        result.timestamp,
        result.fields,
        result.metadata,
        result.subjects,
        result.entity_id,
    )


@given(batch=st.lists(payloads(), min_size=1, max_size=3), limit=st.sampled_from([LIMIT, 40]))
@settings(max_examples=700, deadline=None)
@example(batch=[b'{"topic":"a/b/things/twin/commands/modify","path":"/","status":204}'], limit=40)
def test_parses_as_the_reference(batch: list[bytes], limit: int) -> None:
    expected = [seen(result) for result in reference.parse(batch, limit)]
    for result in expected:
        event(result[0] if len(result) == 4 else "signal")
    assert [seen(result) for result in kernel.parse(batch, limit)] == expected


signals = st.builds(
    Signal,
    st.sampled_from(["ns/n/things/twin/events/modified", "_/_/things/twin/errors"]).map(
        topic.parse
    ),
    st.sampled_from(["/", "/attributes/a"]),
    st.dictionaries(st.sampled_from(HEADER_NAMES).map(str.lower) | texts, header_texts | texts),
    st.just(ABSENT) | json_values | st.just(2**70),
    st.none() | st.dictionaries(texts, json_values, max_size=2),
    st.none() | st.just(204),
    st.sampled_from([None, 0, 7]),
    st.none() | st.just("2024-01-06T14:23:42Z"),
    st.none() | st.just("attributes"),
    st.none() | st.just({"a": 1}),
)


@given(batch=st.lists(signals, max_size=3))
@settings(max_examples=400, deadline=None)
def test_encodes_as_the_reference(batch: list[Signal]) -> None:
    assert kernel.encode(batch) == reference.encode(batch)


@given(signal=signals)
@settings(max_examples=300, deadline=None)
def test_what_goes_out_and_comes_back_says_the_same(signal: Signal) -> None:
    """But for headers that one side must not see, and those that are malformed."""
    [back] = kernel.parse(kernel.encode([signal]), 1 << 20)
    if isinstance(back, SignalError):
        event(back.code)
        assert back.code in (
            "header.invalid",
            "timeout.invalid",
            "header.invalid",
        )
        return
    event("signal")
    assert back.topic == signal.topic
    assert (back.path, back.status, back.revision) == (signal.path, signal.status, signal.revision)
    assert (back.timestamp, back.fields, back.extra) == (
        signal.timestamp,
        signal.fields,
        signal.extra,
    )
    assert back.value == (float(2**70) if signal.value == 2**70 else signal.value)
    hidden = known.WITHHELD | known.REFUSED
    kept = {n.lower() for n in signal.headers if n not in hidden and n.lower() not in hidden}
    assert set(back.headers) == kept


def nested(levels: int) -> bytes:
    """An envelope of that many levels, its own included."""
    inner = b"[" * (levels - 1) + b"]" * (levels - 1)
    return b'{"topic":"a/b/things/twin/commands/modify","path":"/","value":' + inner + b"}"


CASES = [
    (b"", "connectivity:message.mapping.failed"),
    (b" ", "json.invalid"),
    (b"no json", "json.invalid"),
    (b"\xff\xfe", "json.invalid"),
    (b"\x00", "json.invalid"),
    (b"[]", "json.invalid"),
    (b"null", "json.invalid"),
    (b"{}", "json.field.missing"),
    (b'{"path":"/"}', "json.field.missing"),
    (b'{"topic":"a/b/things/twin/errors"}', "json.field.missing"),
    (b'{"topic":null,"path":"/"}', "json.field.missing"),
    (b'{"topic":1,"path":"/"}', "json.invalid"),
    (b'{"topic":"a","path":"/"}', "protocoladapter:unknown.topicpath"),
    (b'{"topic":"a/b/things/twin/errors","path":"/a//b"}', "json.pointer.invalid"),
    (b'{"topic":"a/b/things/twin/errors","path":"/","headers":[]}', "json.invalid"),
    (b'{"topic":"a/b/things/twin/errors","path":"/","status":"x"}', "json.invalid"),
    (b'{"topic":"a/b/things/twin/errors","path":"/","status":true}', "json.invalid"),
    (b'{"topic":"a/b/things/twin/errors","path":"/","value":"\\ud800"}', "json.invalid"),
    (b'{"topic":"a/b/things/twin/errors","path":"/","value":1e999}', "json.invalid"),
    (b"[" * 100_000, "json.invalid"),
    (b'{"a":' * 100_000, "json.invalid"),
    (nested(129), "json.invalid"),
    (nested(1000), "json.invalid"),
]


@both
@pytest.mark.parametrize(("payload", "code"), CASES, ids=[str(p[:40]) for p, _ in CASES])
def test_bad_messages_get_dittos_errors_and_cost_the_others_nothing(
    implementation: Any, payload: bytes, code: str
) -> None:
    fine = b'{"topic":"a/b/things/twin/commands/delete","path":"/"}'
    first, bad, last = implementation.parse([fine, payload, fine], LIMIT)
    assert isinstance(first, Signal)
    assert isinstance(last, Signal)
    assert isinstance(bad, SignalError)
    assert bad.code == code
    assert len(str(bad)) < 400


@both
def test_what_may_be_read_can_be_written(implementation: Any) -> None:
    [deep] = implementation.parse([nested(128)], LIMIT)
    assert isinstance(deep, Signal)
    [written] = implementation.encode([deep])
    assert orjson.loads(written)["value"] == deep.value


@both
def test_headers_become_text_with_names_in_lower_case(implementation: Any) -> None:
    payload = dumped(
        {
            "topic": "a/b/things/twin/commands/modify",
            "path": "/",
            "headers": {
                "Response-Required": False,
                "requested-acks": ["x:y", "twin-persisted"],
                "n": 1.50,
                "gone": None,
                "o": {"a": [1, None]},
                "A": "first",
                "a": "second",
            },
        }
    )
    [signal] = implementation.parse([payload], LIMIT)
    assert signal.headers == {
        "response-required": "false",
        "requested-acks": '["x:y","twin-persisted"]',
        "n": "1.5",
        "o": '{"a":[1,null]}',
        "a": "second",
    }


def test_every_known_header_is_checked_as_in_the_reference() -> None:
    about = {"topic": "a/b/things/twin/commands/modify", "path": "/"}
    for name in sorted({*known.CHECKED, *known.REFUSED, *known.READ_AND_WRITE}):
        for value in (*HEADER_TEXTS, *ODD_TEXTS, True, False, 7, ["a:b"], {"a": 1}):
            batch = [dumped(about | {"headers": {name: value}})]
            expected = [seen(result) for result in reference.parse(batch, LIMIT)]
            assert [seen(result) for result in kernel.parse(batch, LIMIT)] == expected


PATHS = [
    *("", "/", "//", "a", "/a", "/a/", "/a//", "/a//b", "//a", "/a/b/", "ä/ö/", "/😀", "/~0", "/~"),
    *("/a" * 64, "/a" * 65, "a" + "/a" * 63, "a" + "/a" * 64, "/" * 64, "/" * 65),
]


@pytest.mark.parametrize(
    "about",
    [
        *("a/b/things/live/messages/x", "a/b/things/twin/commands/modify"),
        *("a/b/things/live/events/modified", "a/b/policies/commands/modify"),
    ],
)
def test_every_form_of_path_is_read_as_in_the_reference(about: str) -> None:
    for path in PATHS:
        batch = [dumped({"topic": about, "path": path})]
        expected = [seen(result) for result in reference.parse(batch, LIMIT)]
        assert [seen(result) for result in kernel.parse(batch, LIMIT)] == expected


@both
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        *(
            ("", "/"),
            ("/", "/"),
            ("attributes/a", "/attributes/a"),
            ("/attributes/", "/attributes"),
        ),
        *(("/a~1b/~0", "/a~1b/~0"), ("/a" * 64, "/a" * 64)),
        *((("/a" * 65), None), ("//", None), ("/a//b", None), ("/a//", None)),
    ],
)
def test_a_path_is_a_pointer(implementation: Any, path: str, expected: str | None) -> None:
    payload = dumped({"topic": "a/b/things/twin/commands/modify", "path": path})
    [result] = implementation.parse([payload], LIMIT)
    if expected is None:
        assert isinstance(result, SignalError)
        assert result.code == "json.pointer.invalid"
    else:
        assert isinstance(result, Signal)
        assert result.path == expected


@both
def test_the_limit_of_headers_is_in_bytes_and_to_the_byte(implementation: Any) -> None:
    headers = {"n": "ä", "Ditto-Origin": "not counted", "ö": 10}
    payload = dumped({"topic": "a/b/things/twin/errors", "path": "/", "headers": headers})
    [fits] = implementation.parse([payload], 7)
    assert isinstance(fits, Signal)
    [over] = implementation.parse([payload], 6)
    assert isinstance(over, SignalError)
    assert (over.code, over.status) == ("headers.too.large", 431)
    assert "7 bytes, at most 6" in str(over)


@both
def test_nobody_speaks_for_us(implementation: Any) -> None:
    """Headers that are our word, or steer our insides, are not taken from a message."""
    refused = dict.fromkeys(known.REFUSED, "true")
    payload = dumped({"topic": "a/b/things/twin/errors", "path": "/", "headers": refused})
    [signal] = implementation.parse([payload], LIMIT)
    assert signal.headers == {}


@both
def test_a_signal_goes_out_in_dittos_order_with_json_headers(implementation: Any) -> None:
    signal = Signal(
        topic.parse("ns/n/things/twin/events/modified"),
        "/attributes/a",
        {
            "correlation-id": "c",
            "response-required": "false",
            "requested-acks": '["twin-persisted","x:y"]',
            "ditto-origin": "me",
            "condition": "eq(a,1)",
            "ditto-weak-ack": "maybe",
        },
        1,
        {"attributes": {"b": 2}},
        204,
        3,
        "2024-01-06T14:23:42Z",
        "attributes",
        {"m": 1},
    )
    [payload] = implementation.encode([signal])
    assert payload == (
        b'{"topic":"ns/n/things/twin/events/modified","headers":{"correlation-id":"c",'
        b'"response-required":false,"requested-acks":["x:y"],"ditto-weak-ack":"maybe"},'
        b'"path":"/attributes/a","value":1,"extra":{"attributes":{"b":2}},"status":204,'
        b'"revision":3,"timestamp":"2024-01-06T14:23:42Z","metadata":{"m":1},'
        b'"fields":"attributes"}'
    )
    assert signal.headers["ditto-origin"] == "me"  # only what goes out is changed


@both
def test_null_is_a_value_and_no_value_is_none(implementation: Any) -> None:
    about = topic.parse("ns/n/things/twin/events/deleted")
    absent, null = implementation.encode([Signal(about), Signal(about, value=None)])
    assert absent == b'{"topic":"ns/n/things/twin/events/deleted","headers":{},"path":"/"}'
    assert null.endswith(b'"path":"/","value":null}')
    parsed = implementation.parse([absent, null], LIMIT)
    assert parsed[0].value is ABSENT
    assert parsed[1].value is None


@both
def test_what_is_nothing_much_is_still_written(implementation: Any) -> None:
    signal = Signal(topic.parse("a/b/things/twin/events/modified"), "/", {}, 0, {}, 100, 0, "", "")
    signal.metadata = {}
    [payload] = implementation.encode([signal])
    assert payload.endswith(
        b'"value":0,"extra":{},"status":100,"revision":0,"timestamp":"","metadata":{},"fields":""}'
    )


@both
def test_what_orjson_will_not_write_is_written_all_the_same(implementation: Any) -> None:
    signal = Signal(Topic("a/b/things/twin/errors", "a", "b", "things", "twin", "errors"))
    signal.headers = {"x": "\ud800"}
    signal.value = 2**80
    [payload] = implementation.encode([signal])
    assert json.loads(payload)["headers"] == {"x": "\ud800"}
    assert json.loads(payload)["value"] == 2**80


@pytest.mark.parametrize("wrong", [None, 3, [object()], ["x"], (b"",)])
def test_wrong_types_are_a_type_error_not_a_crash(wrong: Any) -> None:
    with pytest.raises(TypeError):
        kernel.parse(wrong, LIMIT)
    with pytest.raises(TypeError):
        kernel.encode(wrong)


def test_limits_are_those_of_the_reference() -> None:
    assert (kernel.MAX_DEPTH, kernel.MAX_SEGMENTS) == (reference.MAX_DEPTH, reference.MAX_SEGMENTS)


@pytest.mark.parametrize("given", [None, "x", {}], ids=repr)
def test_what_is_no_signal_is_not_encoded(given: Any) -> None:
    with pytest.raises(TypeError):
        kernel.encode([given])


def test_a_signal_without_topic_is_not_encoded() -> None:
    with pytest.raises(ValueError, match="topic"):
        kernel.encode([Signal(None)])


@pytest.mark.parametrize("given", [None, "{}", {}], ids=repr)
def test_what_are_no_bytes_is_not_parsed(given: Any) -> None:
    with pytest.raises(TypeError):
        kernel.parse([given], LIMIT)
