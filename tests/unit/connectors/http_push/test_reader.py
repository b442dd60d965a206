"""What an answer says is read from its own head, and from nowhere else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from streamproc.connectors.http_push.reader import Garbled, Reader

Cut = Callable[[bytes], list[bytes]]
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n"
MORE = b"Retry-After: 60\r\nContent-Type: text/other\r\n\r\n"


def fed(*pieces: bytes) -> Reader:
    reader = Reader()
    ends = [reader.feed(piece) for piece in pieces]
    assert ends == [False] * (len(pieces) - 1) + [True]
    return reader


def in_bytes(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


@pytest.mark.parametrize("pieces", [lambda data: [data], in_bytes], ids=["whole", "bytes"])
def test_trailers_say_nothing_about_the_answer(pieces: Cut) -> None:
    found = fed(*pieces(b"HTTP/1.1 429 -\r\nContent-Type: text/plain\r\n" + CHUNKED + MORE))
    assert (found.status, found.excerpt, found.content_type) == (429, b"ab", "text/plain")
    assert found.retry_after is None
    assert found.length == -1
    assert found.keep


def test_an_answer_that_nobody_asked_for_says_nothing_about_the_one_before() -> None:
    head = b"HTTP/1.1 429 -\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\n"
    found = fed(head + b"abc" + b"HTTP/1.1 500 -\r\nContent-Length: 2\r\n" + MORE)
    assert (found.status, found.excerpt, found.content_type) == (429, b"abc", "text/plain")
    assert found.retry_after is None
    assert found.length == 3
    assert not found.keep


@pytest.mark.parametrize("pieces", [lambda data: [data], in_bytes], ids=["whole", "bytes"])
def test_an_interim_answer_says_nothing_about_the_next(pieces: Cut) -> None:
    interim = b"HTTP/1.1 103 -\r\nRetry-After: 5\r\nContent-Type: text/other\r\n\r\n"
    head = b"HTTP/1.1 503 -\r\nRetry-After: 7\r\nContent-Length: 1\r\n\r\n"
    found = fed(*pieces(interim + head + b"x"))
    assert (found.status, found.excerpt, found.content_type) == (503, b"x", None)
    assert found.retry_after == b"7"
    assert found.length == 1


def test_a_reader_begins_anew() -> None:
    reader = fed(b"HTTP/1.1 429 -\r\n" + CHUNKED + MORE)
    reader.restart()
    assert reader.feed(b"HTTP/1.1 503 -\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n")
    assert (reader.status, reader.retry_after, reader.length) == (503, b"7", 0)


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 2\r\nContent-Length: 3\r\n",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 1_0\r\n",
        b"Content-Length: 0x1\r\n",
        b"Content-Length: " + b"9" * 30 + b"\r\n",
        b"Content-Length: 1, 1\r\n",
        b"Na me: x\r\n",
        b"Name : x\r\n",
        b"Name: \x00\r\n",
    ],
)
def test_a_head_with_two_meanings_is_refused(lines: bytes) -> None:
    with pytest.raises(Garbled, match=r"does not speak HTTP/1\.1"):
        Reader().feed(b"HTTP/1.1 200 -\r\n" + lines + b"\r\n2\r\nab\r\n0\r\n\r\n")
