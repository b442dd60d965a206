"""A link agrees, keeps pace, and is lost with a reason: against a broker made of frames."""

from __future__ import annotations

import asyncio
from typing import Any

import pamqp.frame
import pytest
from pamqp import commands
from pamqp.heartbeat import Heartbeat

from streamproc.connectors.amqp091 import link as module
from streamproc.connectors.amqp091 import methods
from streamproc.connectors.amqp091.channel import Channel
from streamproc.connectors.amqp091.link import Link
from streamproc.connectors.amqp091.settings import LinkSettings
from streamproc.errors import Misconfigured, NotConnected
from tests.reference.amqp091 import unmarshalled

SETTINGS = LinkSettings(
    host="h",
    port=1,
    user="u",
    password="p",
    name="factory#0 target",
    vhost="v",
    tls=None,
    has_certificate=False,
    connect_s=30.0,
    answer_s=30.0,
    close_s=30.0,
    heartbeat_s=60,
    frame_max=0,
    channel_max=2047,
)


class Broker:
    """A transport whose far end answers at once, as long as it has an answer."""

    def __init__(self, settings: LinkSettings = SETTINGS) -> None:
        self.link = Link(settings)
        self.heard: list[Any] = []
        self.state = "open"
        self.reading = True
        self.tune: Any = commands.Connection.Tune(2047, 131_072, 60)
        self.answers: dict[str, Any] = {
            "Connection.Open": commands.Connection.OpenOk(),
            "Connection.Close": commands.Connection.CloseOk(),
            "Channel.Open": commands.Channel.OpenOk(),
        }
        self.mechanisms = "PLAIN AMQPLAIN"
        self.link.connection_made(self)

    def say(self, frame: Any, channel: int = 0) -> None:
        self.link.data_received(pamqp.frame.marshal(frame, channel))

    async def opened(self) -> None:
        """Shake hands."""
        await asyncio.wait_for(self.link._shake_hands(), 30)

    # What a link does with its transport.

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def write(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        if data == methods.PROTOCOL:
            start = commands.Connection.Start(0, 9, {"product": "x"}, self.mechanisms, "en_US")
            loop.call_soon(self.say, start)
            return
        for channel, frame in unmarshalled(data):
            self.heard.append(frame)
            is_start = isinstance(frame, commands.Connection.StartOk)
            answer = self.tune if is_start else self.answers.get(frame.name)
            if answer is not None:
                loop.call_soon(self.say, answer, channel)

    def close(self) -> None:
        self._end("closed")

    def abort(self) -> None:
        self._end("aborted")

    def _end(self, state: str) -> None:
        if self.state == "open":
            self.state = state
            asyncio.get_running_loop().call_soon(self.link.connection_lost, None)


class Listener(Channel):
    """Notes what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.ready = 0
        self.closed: list[Exception] = []

    def on_ready(self) -> None:
        self.ready += 1

    def on_close(self, error) -> None:
        self.closed.append(error)


async def listening(broker: Broker) -> Listener:
    await broker.opened()
    listener = Listener()
    await broker.link.channel(1, listener)
    return listener


async def test_the_broker_is_told_who_comes_and_what_is_understood():
    broker = Broker()
    await broker.opened()
    start, tune, open_ = broker.heard
    assert (start.mechanism, start.response) == ("PLAIN", "\0u\0p")
    assert start.client_properties["connection_name"] == "factory#0 target"
    assert start.client_properties["capabilities"]["basic.nack"] is True
    assert (tune.channel_max, tune.frame_max, tune.heartbeat) == (2047, 131_072, 60)
    assert open_.virtual_host == "v"
    await broker.link.close()
    assert isinstance(broker.heard[-1], commands.Connection.Close)
    assert broker.state == "aborted"


@pytest.mark.parametrize(
    ("offered", "wanted", "agreed"),
    [
        ((2047, 131_072, 60), (2047, 0, 60), (2047, 131_072, 60)),
        ((10, 65_536, 30), (2047, 131_072, 60), (10, 65_536, 30)),
        ((0, 0, 0), (0, 0, 60), (0, 1 << 20, 60)),
        ((0, 0, 0), (65_535, 1 << 40, 65_535), (65_535, 1 << 20, 65_535)),
        ((0, 0, 60), (7, 8192, 0), (7, 8192, 0)),
        ((2047, 131_072, 60), (2047, 100, 10), (2047, 4096, 10)),
    ],
)
async def test_limits_are_agreed(offered, wanted, agreed):
    channel_max, frame_max, heartbeat_s = wanted
    broker = Broker(
        SETTINGS._replace(channel_max=channel_max, frame_max=frame_max, heartbeat_s=heartbeat_s)
    )
    broker.tune = commands.Connection.Tune(*offered)
    await broker.opened()
    tune = broker.heard[1]
    assert (tune.channel_max, tune.frame_max, tune.heartbeat) == agreed
    assert broker.link.frame_max == agreed[1]
    assert (broker.link._timer is not None) == (agreed[2] > 0)
    await broker.link.close()


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (commands.Connection.Secure("who?"), Misconfigured, "more than user and password"),
        (commands.Connection.Close(403, "ACCESS_REFUSED", 0, 0), Misconfigured, "ACCESS_REFUSED"),
        (commands.Connection.Close(320, "CONNECTION_FORCED", 0, 0), NotConnected, "FORCED"),
        (commands.Connection.OpenOk(), NotConnected, "method 10.41 in the place of an answer"),
    ],
)
async def test_a_handshake_that_fails_says_why(answer, error, words):
    broker = Broker()
    broker.tune = answer
    with pytest.raises(error, match=words):
        await broker.opened()


async def test_a_name_that_is_too_long_is_misconfigured():
    broker = Broker(SETTINGS._replace(vhost="v" * 256))
    with pytest.raises(Misconfigured, match="has 256 bytes, at most 255"):
        await broker.opened()


async def test_a_broker_without_a_way_to_log_in_is_misconfigured():
    broker = Broker()
    broker.mechanisms = "GSSAPI"
    with pytest.raises(Misconfigured, match="offers GSSAPI to log in with, and not PLAIN"):
        await broker.opened()


async def test_a_peer_that_speaks_something_else_is_not_connected():
    broker = Broker()
    opening = asyncio.ensure_future(broker.link._shake_hands())
    await asyncio.sleep(0)
    broker.link.data_received(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(NotConnected, match="what the broker sends cannot be read: a frame of"):
        await opening
    assert broker.state == "aborted"


async def test_what_cannot_be_read_loses_the_link_and_every_channel_hears_it_once():
    broker = Broker()
    listener = await listening(broker)
    call = asyncio.ensure_future(
        listener.call(methods.BASIC_QOS_OK, methods.BASIC_QOS, 0, 1, False)
    )
    await asyncio.sleep(0)
    broker.link.data_received(b"\x01\x00\x01\x00\x00\x00\x04\x00\x14\x00\x28\xce")  # no arguments
    with pytest.raises(NotConnected, match=r"the arguments of 20\.40"):
        await call
    broker.link.data_received(b"more")
    broker.link.lose(NotConnected("again"))
    assert [str(error) for error in listener.closed] == [str(broker.link.error)]
    with pytest.raises(NotConnected):
        await listener.call(methods.BASIC_QOS_OK, methods.BASIC_QOS, 0, 1, False)
    await broker.link.close()


async def test_a_channel_that_the_broker_closes_leaves_the_others_alone():
    broker = Broker()
    listener, other = await listening(broker), Listener()
    await broker.link.channel(2, other)
    broker.say(commands.Channel.Close(404, "NOT_FOUND", 0, 0), 1)
    assert isinstance(broker.heard[-1], commands.Channel.CloseOk)
    (error,) = listener.closed
    assert isinstance(error, Misconfigured)
    assert str(error) == "NOT_FOUND (404)"
    assert not other.closed
    assert broker.link.error is None
    await broker.link.close()
    assert not other.closed  # we close: nobody is told


async def test_senders_wait_while_the_broker_or_the_socket_takes_nothing():
    broker = Broker()
    listener = await listening(broker)
    link = broker.link
    assert link.is_ready
    broker.say(commands.Connection.Blocked("low on memory"))
    assert not link.is_ready
    link.pause_writing()
    broker.say(commands.Connection.Unblocked())
    assert not link.is_ready
    assert listener.ready == 0
    link.resume_writing()
    assert link.is_ready
    assert listener.ready == 1
    broker.say(commands.Channel.Flow(False), 1)
    assert not listener.flows
    assert broker.heard[-1].active is False
    broker.say(commands.Channel.Flow(True), 1)
    assert listener.flows
    await link.close()


async def test_reading_is_held_up_and_goes_on():
    broker = Broker()
    await broker.opened()
    broker.link.read(False)
    assert not broker.reading
    for _ in range(3 * module.MISSED):  # nothing is heard, and nobody is to blame
        broker.link._beat(1e9)
    assert broker.link.error is None
    await broker.link.close()
    assert broker.reading  # else its goodbye would not be heard


async def test_heartbeats_are_sent_when_nothing_else_was_and_looked_for():
    broker = Broker()
    await broker.opened()
    link = broker.link
    link._beat(30.0)  # something was sent: the handshake
    assert not isinstance(broker.heard[-1], Heartbeat)
    for _ in range(10):
        broker.heard.clear()
        link._beat(30.0)
        assert [type(frame) for frame in broker.heard] == [Heartbeat]
        broker.say(Heartbeat())
    assert link.error is None
    for _ in range(module.MISSED):
        link._beat(30.0)
    assert link.error is None
    link._beat(30.0)
    assert str(link.error) == "the broker has said nothing for 120 s"
    assert broker.state == "aborted"


async def test_the_end_of_the_connection_is_a_loss():
    broker = Broker()
    listener = await listening(broker)
    broker.link.connection_lost(ConnectionResetError("reset by peer"))
    assert str(listener.closed[0]) == "the connection was lost: reset by peer"
    await broker.link.close()


async def test_a_goodbye_that_is_not_answered_ends_all_the_same():
    broker = Broker(SETTINGS._replace(close_s=0.01))
    await broker.opened()
    del broker.answers["Connection.Close"]
    await asyncio.wait_for(broker.link.close(), 30)
    assert broker.state == "aborted"


async def test_an_answer_that_does_not_come_is_not_connected():
    broker = Broker(SETTINGS._replace(answer_s=0.01))
    listener = await listening(broker)
    with pytest.raises(NotConnected, match=r"no answer within 0\.01 s"):
        await listener.call(methods.BASIC_QOS_OK, methods.BASIC_QOS, 0, 1, False)
    broker.say(commands.Basic.QosOk(), 1)  # late: nobody waits
    assert broker.link.error is None
    await broker.link.close()
