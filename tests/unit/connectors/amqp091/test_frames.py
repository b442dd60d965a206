"""Frames are what pamqp reads back: it is the oracle."""

from __future__ import annotations

import pamqp.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from streamproc.connectors.amqp091 import frames

names = st.text(max_size=20)
values = st.text(max_size=300)
short = st.text(max_size=60)  # at most 240 bytes
tables = st.dictionaries(names, values, max_size=8)


def read(data: bytes, channel: int) -> list:
    """Every frame in *data*."""
    found = []
    while data:
        taken, number, frame = pamqp.frame.unmarshal(data)
        assert number == channel
        found.append(frame)
        data = data[taken:]
    return found


def text(value) -> str:
    return value.decode() if isinstance(value, bytes) else value


@given(
    channel=st.integers(0, 65_535),
    tag=st.integers(0, (1 << 63) - 1),
    multiple=st.booleans(),
    requeue=st.booleans(),
)
def test_acks_and_nacks(channel, tag, multiple, requeue):
    (ack,) = read(frames.ack(channel, tag, multiple=multiple), channel)
    assert isinstance(ack, commands.Basic.Ack)
    assert (ack.delivery_tag, ack.multiple) == (tag, multiple)
    (nack,) = read(frames.nack(channel, tag, requeue=requeue), channel)
    assert isinstance(nack, commands.Basic.Nack)
    assert (nack.delivery_tag, nack.multiple, nack.requeue) == (tag, False, requeue)


def test_cancel():
    (cancel,) = read(frames.cancel(3, "tag"), 3)
    assert isinstance(cancel, commands.Basic.Cancel)
    assert (cancel.consumer_tag, cancel.nowait) == ("tag", True)


@given(
    exchange=short,
    key=short,
    headers=tables,
    content_type=st.none() | short,
    correlation_id=st.none() | short,
    body=st.binary(max_size=300),
    frame_max=st.sampled_from([4096, 131_072]),
)
def test_publish(exchange, key, headers, content_type, correlation_id, body, frame_max):
    body = body * 50
    if content_type is not None:
        headers["content-type"] = content_type
    if correlation_id is not None:
        headers["correlation-id"] = correlation_id
    try:
        data = frames.publish(7, exchange, key, headers, "id-1", body, frame_max)
    except ValueError as error:
        assert "take" in str(error) or any(  # noqa: PT017
            len(headers.get(name, "").encode()) > 255 for name in ("content-type", "correlation-id")
        )
        return
    method, header, *bodies = read(data, 7)
    assert isinstance(method, commands.Basic.Publish)
    assert (method.exchange, method.routing_key) == (exchange, key)
    assert (method.mandatory, method.immediate) == (True, False)
    assert isinstance(header, ContentHeader)
    properties = header.properties
    assert header.body_size == len(body)
    assert properties.content_type == headers.get("content-type")
    assert properties.correlation_id == headers.get("correlation-id")
    assert properties.delivery_mode == 2
    assert properties.message_id == "id-1"
    assert properties.reply_to is None
    assert {text(k): text(v) for k, v in (properties.headers or {}).items()} == headers
    assert all(isinstance(one, ContentBody) for one in bodies)
    assert all(len(one.value) + frames.OVERHEAD <= frame_max for one in bodies)
    assert b"".join(one.value for one in bodies) == body


@pytest.mark.parametrize(
    ("what", "arguments"),
    [
        ("exchange", ("e" * 256, "k", {})),
        ("routing key", ("e", "ü" * 128, {})),
        ("header name", ("e", "k", {"n" * 256: "v"})),
        ("content-type", ("e", "k", {"content-type": "c" * 256})),
        ("correlation-id", ("e", "k", {"correlation-id": "c" * 256})),
        ("headers take", ("e", "k", {"n": "v" * 5000})),
    ],
)
def test_what_does_not_fit_is_said(what, arguments):
    with pytest.raises(ValueError, match=what):
        frames.publish(1, *arguments, "id", b"", 4096)


def test_what_is_no_text_is_an_error():
    with pytest.raises(ValueError, match="surrogates"):
        frames.publish(1, "e", "k", {"n": "\ud800"}, "id", b"", 4096)
