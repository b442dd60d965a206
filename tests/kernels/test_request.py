"""A request that is written at once is what the reference writes, and what care would write."""

from __future__ import annotations

import gc
import tracemalloc

import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from streamproc.config.connection import Connection
from streamproc.connectors.http_push.endpoint import Endpoint
from streamproc.connectors.http_push.request import Requests
from streamproc.kernels.delivery import Delivery
from streamproc.kernels.request import RequestWriter
from tests.reference.request import MOST_LINES, written

HEAD = b"POST /a HTTP/1.1\r\nHost: h"
NAMES = ("content-type", "CONTENT-Type", "content-typf", "x-a", "X-B", "")
UNTYPED = b"\r\nContent-Type: u/v"
STARTS = {name: f"\r\n{name}: ".encode() for name in NAMES}
MOST_BYTES, JOIN_BYTES = 120, 40

plain = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)
odd = st.sampled_from(
    ["\x00", "\x1f", "\x7f", "\x80", "a\r\nB: c", "é", "€", "\ud800", "𝄞", "tab\t"]
)
values = plain | st.builds("{}{}{}".format, plain, odd, plain)
headers = st.dictionaries(st.sampled_from([*NAMES, "unknown"]), values, max_size=5)
payloads = st.binary(max_size=2 * JOIN_BYTES)


@given(headers, payloads, st.booleans())
@example({"content-type": "a" * 77}, b"", True)
@example({"content-type": "a" * 80}, b"", True)
def test_writes_what_the_reference_writes(
    headers: dict[str, str], payload: bytes, typed: bool
) -> None:
    if typed:
        headers = {"content-type": "a/b", **headers}
    delivery = Delivery(0, "k", "POST:/a", headers, payload)
    expected = written(STARTS, UNTYPED, MOST_BYTES, JOIN_BYTES, HEAD, delivery)
    event("left to care" if expected is None else type(expected).__name__)
    assert RequestWriter(STARTS, UNTYPED, MOST_BYTES, JOIN_BYTES).write(HEAD, delivery) == expected


@pytest.mark.parametrize("place", [0, 1, 15, 16, 31, 32, 63])
def test_each_character_is_looked_at(place: int) -> None:
    writer = RequestWriter(STARTS, UNTYPED, 1000, JOIN_BYTES)
    for code in (*range(0x180), 0x2028, 0xD800, 0x1F600):
        text = "v" * place + chr(code) + "v" * (63 - place)
        delivery = Delivery(0, "k", "POST:/a", {"content-type": text}, b"")
        found = writer.write(HEAD, delivery)
        assert found == written(STARTS, UNTYPED, 1000, JOIN_BYTES, HEAD, delivery)
        assert (found is not None) == (0x20 <= code <= 0x7E), hex(code)


def test_wide_characters_whose_bytes_are_plain_are_none_the_less_odd() -> None:
    delivery = Delivery(0, "k", "POST:/a", {"content-type": "\u2041" * 64}, b"")
    assert RequestWriter(STARTS, UNTYPED, 1000, JOIN_BYTES).write(HEAD, delivery) is None


@pytest.mark.parametrize("size", [0, 1, 9, 10, 99, 100, 39, 40, 41, 65_535, 1_000_000])
def test_the_length_is_written_in_full(size: int) -> None:
    delivery = Delivery(0, "k", "POST:/a", {"content-type": "a/b"}, b"x" * size)
    expected = written(STARTS, UNTYPED, MOST_BYTES, JOIN_BYTES, HEAD, delivery)
    assert RequestWriter(STARTS, UNTYPED, MOST_BYTES, JOIN_BYTES).write(HEAD, delivery) == expected


@pytest.mark.parametrize("extra", [-1, 0, 1, 100])
@pytest.mark.parametrize("first", ["content-type", "x-a"])
def test_many_headers_are_left_to_care(extra: int, first: str) -> None:
    names = [first, *(f"n{i}" for i in range(MOST_LINES + extra - 1))]
    starts = {name: f"\r\n{name}: ".encode() for name in names}
    delivery = Delivery(0, "k", "POST:/a", dict.fromkeys(names, "v"), b"x")
    found = RequestWriter(starts, UNTYPED, 1 << 20, JOIN_BYTES).write(HEAD, delivery)
    assert found == written(starts, UNTYPED, 1 << 20, JOIN_BYTES, HEAD, delivery)
    assert (found is None) == (extra > 0)


class Text(str):
    """One whose comparison is nobody's business."""

    def __eq__(self, other: object) -> bool:
        raise AssertionError("code of others was run")

    __hash__ = str.__hash__


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "a", Text("x-a"): "1"},
        {"content-type": "a", "x-a": Text("1")},
        {"content-type": "a", "x-a": 1},
        {"content-type": "a", "x-a": None},
        {"content-type": "a", 7: "1"},
        {"content-type": "a", "x-none": "1"},
    ],
)
def test_what_is_no_text_is_left_to_care(headers: dict[str, str]) -> None:
    starts = {**STARTS, "x-none": None}
    writer = RequestWriter(starts, UNTYPED, MOST_BYTES, JOIN_BYTES)  # type: ignore[arg-type]
    assert writer.write(HEAD, Delivery(0, "k", "POST:/a", headers, b"")) is None


def test_names_may_be_learnt_and_forgotten_later() -> None:
    starts = dict(STARTS)
    writer = RequestWriter(starts, UNTYPED, MOST_BYTES, JOIN_BYTES)
    delivery = Delivery(0, "k", "POST:/a", {"content-type": "a", "new": "1"}, b"")
    assert writer.write(HEAD, delivery) is None
    starts["new"] = b"\r\nnew: "
    assert writer.write(HEAD, delivery) is not None
    del starts["new"]
    assert writer.write(HEAD, delivery) is None


@pytest.mark.parametrize("arguments", [(None, b"", 1, 1), ({}, None, 1, 1), ({}, "", 1, 1), ({},)])
def test_wrong_arguments_are_refused(arguments: tuple[object, ...]) -> None:
    with pytest.raises(TypeError):
        RequestWriter(*arguments)  # type: ignore[arg-type]


@given(
    st.dictionaries(
        st.sampled_from(
            ["content-type", "Content-Type", "content-typE", "x-a", "X-a", "host", "user-agent"]
        ),
        plain,
        max_size=4,
    ),
    payloads,
)
def test_is_what_care_writes(headers: dict[str, str], payload: bytes) -> None:
    endpoint = Endpoint(Connection(id="c", connection_type="http-push", uri="http://u:p@h/base"))
    made = Requests(endpoint, frozenset())
    delivery = Delivery(0, "k", "POST:/a", headers, payload)
    careful = made.render(delivery)  # nothing is known yet
    assert made.render(delivery) == careful
    assert made.render(delivery) == careful


@pytest.mark.parametrize("headers", [{}, {"x-a": "1"}, {"Content-Type": "a/b", "x-a": "1"}])
def test_a_message_needs_no_content_type_to_be_written_at_once(headers: dict[str, str]) -> None:
    delivery = Delivery(0, "k", "POST:/a", headers, b"x")
    writer = RequestWriter(
        {**STARTS, "Content-Type": b"\r\nContent-Type: "}, UNTYPED, MOST_BYTES, JOIN_BYTES
    )
    found = writer.write(HEAD, delivery)
    assert isinstance(found, bytes)
    assert found.lower().count(b"content-type:") == 1


def test_nothing_is_left_behind() -> None:
    writer = RequestWriter(STARTS, UNTYPED, MOST_BYTES, JOIN_BYTES)
    plain = {"content-type": "a/b", "x-a": "1"}
    deliveries = [
        Delivery(0, "k", "POST:/a", headers, b"x" * size)
        for headers in (plain, {**plain, "unknown": "1"}, {**plain, "X-B": "é"})
        for size in (0, 10, 1000)
    ]

    def run() -> None:
        for _ in range(200):
            for delivery in deliveries:
                writer.write(HEAD, delivery)

    tracemalloc.start()
    try:
        run()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        run()
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 2_000
    finally:
        tracemalloc.stop()
