"""An answer is known again only where reading it once more would say the same."""

from __future__ import annotations

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from streamproc.connectors.http_push.reader import Garbled, Reader
from streamproc.connectors.http_push.success import KNOWN_HEADS, SAME_BYTES, Successes

OK = frozenset({200, 204})


def read(data: bytes) -> Reader | None:
    """The answer, if *data* is a whole one and no more."""
    reader = Reader()
    try:
        whole = reader.feed(data)
    except Garbled:
        return None
    return reader if whole and reader.keep else None


def answer(status: int, body: bytes, *lines: str) -> bytes:
    head = [f"HTTP/1.1 {status} -", *lines, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(head).encode() + body


def taught(*answers: bytes) -> Successes:
    made = Successes(OK)
    for data in answers:
        found = read(data)
        assert found is not None
        made.learn(found, data)
    return made


def test_a_head_is_known_whatever_the_body_says() -> None:
    made = taught(answer(200, b"abc"))
    assert made.knows(answer(200, b"xyz"))
    assert made.last == answer(200, b"xyz")
    assert not made.knows(answer(200, b"abcd"))
    assert not made.knows(answer(200, b"abc") + b"H")
    assert not made.knows(answer(200, b"abc")[:-1])
    assert made.last == answer(200, b"xyz")


def test_nothing_is_known_before_it_was_read() -> None:
    made = Successes(OK)
    assert not made.knows(answer(200, b""))
    assert made.last == b""


@pytest.mark.parametrize("status", [201, 301, 404, 429, 503])
def test_only_successes_are_known(status: int) -> None:
    made = taught(answer(status, b"abc"))
    assert not made.knows(answer(status, b"abc"))


def test_a_body_in_chunks_is_read_each_time() -> None:
    data = b"HTTP/1.1 200 -\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
    assert not taught(data).knows(data)


@pytest.mark.parametrize(
    "interim", [b"HTTP/1.1 100 -\r\n\r\n", b"HTTP/1.1 103 -\r\nLink: a\r\n\r\n"]
)
def test_an_interim_answer_is_not_taken_for_what_follows_it(interim: bytes) -> None:
    made = taught(interim + b"HTTP/1.1 204 -\r\n\r\n", interim + answer(200, b"a"))
    assert not made.knows(interim + b"HTTP/1.1 503 -\r\n\r\n")
    assert not made.knows(interim + answer(503, b"a"))


def test_large_answers_are_known_but_not_kept() -> None:
    data = answer(200, b"x" * SAME_BYTES)
    made = taught(data)
    assert made.knows(data)
    assert made.last == b""


def test_heads_are_bounded() -> None:
    made = taught(*(answer(200, b"", f"X-N: {n}") for n in range(10 * KNOWN_HEADS)))
    known = [n for n in range(10 * KNOWN_HEADS) if made.knows(answer(200, b"", f"X-N: {n}"))]
    assert 0 < len(known) <= KNOWN_HEADS


pieces = st.sampled_from(
    [
        b"HTTP/1.1 200 -\r\n",
        b"HTTP/1.1 100 -\r\n",
        b"HTTP/1.1 204 -\r\n",
        b"HTTP/1.0 200 -\r\n",
        b"HTTP/1.1 500 -\r\n",
        b"Content-Length: 0\r\n",
        b"Content-Length: 2\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"\r\n",
        b"ab",
        b"0\r\n\r\n",
    ]
)
heard = st.lists(pieces, min_size=2, max_size=7).map(b"".join)


@given(st.lists(heard, min_size=1, max_size=4), heard)
def test_what_is_known_reads_as_a_success_that_keeps_the_connection(
    before: list[bytes], data: bytes
) -> None:
    made = Successes(OK)
    for each in [*before, data]:
        found = read(each)
        if found is not None:
            made.learn(found, each)
    for each in [data, data + b"ab", data + data, *before]:
        if made.knows(each):
            found = read(each)
            event("known")
            assert found is not None
            assert found.status in OK
