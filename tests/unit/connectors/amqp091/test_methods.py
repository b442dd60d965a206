"""Methods are written as pamqp reads them and read as pamqp writes them."""

from __future__ import annotations

import contextlib

import pamqp.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands

from streamproc.connectors.amqp091 import methods
from streamproc.connectors.amqp091.methods import Malformed
from tests.reference.amqp091 import unmarshalled

ABOUT = {"product": "p", "n": -7, "capabilities": {"a": True, "b": False}}


def read(data: bytes):
    """The one frame in *data*, as pamqp has it, and its channel."""
    (found,) = unmarshalled(data)
    return found


@pytest.mark.parametrize(
    ("method", "arguments", "expected"),
    [
        (
            methods.CONNECTION_START_OK,
            (ABOUT, "PLAIN", "\0u\0p", "en_US"),
            commands.Connection.StartOk(ABOUT, "PLAIN", "\0u\0p", "en_US"),
        ),
        (
            methods.CONNECTION_TUNE_OK,
            (2047, 131_072, 60),
            commands.Connection.TuneOk(2047, 131_072, 60),
        ),
        (methods.CONNECTION_OPEN, ("ü/v", "", False), commands.Connection.Open("ü/v")),
        (
            methods.CONNECTION_CLOSE,
            (200, "closed", 0, 0),
            commands.Connection.Close(200, "closed", 0, 0),
        ),
        (methods.CONNECTION_CLOSE_OK, (), commands.Connection.CloseOk()),
        (methods.CHANNEL_FLOW_OK, (True,), commands.Channel.FlowOk(True)),
        (methods.CHANNEL_CLOSE_OK, (), commands.Channel.CloseOk()),
        (
            methods.EXCHANGE_DECLARE,
            (0, "ex", "", True, False, False, False, False, {}),
            commands.Exchange.Declare(0, "ex", "", True),
        ),
        (
            methods.QUEUE_DECLARE,
            (0, "q", True, False, False, False, False, {}),
            commands.Queue.Declare(0, "q", True),
        ),
        (methods.BASIC_QOS, (0, 1000, False), commands.Basic.Qos(0, 1000, False)),
        (
            methods.BASIC_CONSUME,
            (0, "q", "0", False, True, False, True, {}),
            commands.Basic.Consume(0, "q", "0", False, True, False, True),
        ),
        (methods.BASIC_CANCEL, ("0", True), commands.Basic.Cancel("0", True)),
        (methods.CONFIRM_SELECT, (False,), commands.Confirm.Select()),
    ],
)
def test_a_method_is_written_as_pamqp_writes_it(method, arguments, expected):
    channel, frame = read(methods.frame(3, method, *arguments))
    assert channel == 3
    assert frame.name == expected.name
    assert dict(frame) == dict(expected)


@pytest.mark.parametrize(
    ("method", "sent", "expected"),
    [
        (
            methods.CONNECTION_START,
            commands.Connection.Start(0, 9, {"x": 1}, "PLAIN EXTERNAL", "en_US"),
            [0, 9, {"x": 1}, "PLAIN EXTERNAL", "en_US"],
        ),
        (methods.CONNECTION_TUNE, commands.Connection.Tune(7, 8, 9), [7, 8, 9]),
        (
            methods.CHANNEL_CLOSE,
            commands.Channel.Close(404, "NOT_FOUND - ü", 50, 10),
            [404, "NOT_FOUND - ü", 50, 10],
        ),
        (methods.CHANNEL_FLOW, commands.Channel.Flow(False), [False]),
        (methods.QUEUE_DECLARE_OK, commands.Queue.DeclareOk("q", 1, 2), ["q", 1, 2]),
        (methods.BASIC_CANCEL, commands.Basic.Cancel("0", True), ["0", True]),
        (
            methods.BASIC_RETURN,
            commands.Basic.Return(312, "NO_ROUTE", "e", "k"),
            [312, "NO_ROUTE", "e", "k"],
        ),
        (methods.CONNECTION_OPEN_OK, commands.Connection.OpenOk(), [""]),
    ],
)
def test_a_method_is_read_as_pamqp_writes_it(method, sent, expected):
    data = pamqp.frame.marshal(sent, 1)
    assert int.from_bytes(data[7:11]) == method.id
    assert methods.arguments(method, data[11:-1]) == expected
    for size in range(len(data) - 12):
        with pytest.raises(Malformed):
            methods.arguments(method, data[11 : 11 + size])


def test_bits_that_follow_each_other_share_a_byte():
    method = methods.Method(0, "????????B?")
    bits = [True, False, True, True, False, False, True, True]
    data = methods.frame(1, method, *bits, 7, True)[11:-1]
    assert data == b"\xcd\x07\x01"
    assert methods.arguments(method, data) == [*bits, 7, True]


every = [value for value in vars(methods).values() if isinstance(value, methods.Method)]


@given(method=st.sampled_from(every), data=st.binary(max_size=40))
def test_no_bytes_do_harm(method, data):
    with contextlib.suppress(Malformed):
        assert len(methods.arguments(method, data)) == len(method.fields)


@given(tags=st.lists(st.integers(1, 2**63 - 1), max_size=5), requeue=st.booleans())
def test_settlement_is_read_by_pamqp(tags, requeue):
    found = list(unmarshalled(methods.nack(1, tags, requeue=requeue)))
    assert [(channel, dict(frame)) for channel, frame in found] == [
        (1, dict(commands.Basic.Nack(tag, False, requeue))) for tag in tags
    ]
    for tag in tags:
        channel, frame = read(methods.ack(2, tag, multiple=requeue))
        assert (channel, dict(frame)) == (2, dict(commands.Basic.Ack(tag, requeue)))


def test_what_is_published_must_reach_a_queue_and_fit():
    channel, frame = read(methods.publish(1, "ex", "a/ü"))
    assert channel == 1
    assert dict(frame) == dict(commands.Basic.Publish(0, "ex", "a/ü", True))
    for exchange, key, words in (
        ("e" * 256, "k", "exchange has 256 bytes"),
        ("e", "ü" * 128, "routing key has 256 bytes"),
        ("e", "\ud800", "surrogates"),
    ):
        with pytest.raises(ValueError, match=words):
            methods.publish(1, exchange, key)


def test_a_text_that_is_too_long_is_not_written():
    with pytest.raises(ValueError, match="has 300 bytes, at most 255"):
        methods.frame(0, methods.CONNECTION_OPEN, "v" * 300, "", False)
