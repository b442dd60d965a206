"""One AMQP connection and its channels, for either end of the connector.

A protocol on the event loop: what is read is taken apart by a kernel, all frames at once, and
handed to the channels; what is sent goes out in the order of the calls. A connection that is
lost stays lost; the runner opens a new one.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from streamproc.connectors.amqp091 import methods
from streamproc.connectors.amqp091 import settings as of_link
from streamproc.connectors.amqp091.channel import Channel, reply_error
from streamproc.connectors.amqp091.methods import Malformed
from streamproc.connectors.amqp091.settings import LinkSettings
from streamproc.errors import Misconfigured, NotConnected, RunnerError
from streamproc.kernels.amqp091 import Decoder

FIRST_FRAME_MAX = 131_072  # bytes, until it is agreed
LEAST_FRAME_MAX = 4_096  # bytes; the protocol's
MOST_FRAME_MAX = 1 << 20  # bytes, whatever the broker would take
WRITE_AHEAD_BYTES = 512 * 1024  # in the socket's buffer, before senders are asked to wait
CHANNELS = 2  # beside channel 0
BEATS = 2  # heartbeats sent, and looked for, in the time agreed
LET_GO_S = 2.0
MISSED = 2 * BEATS  # looks without a byte from the broker until it is taken for gone


class Link(asyncio.Protocol):
    """``most_body``: bytes of a message that are kept (``kernels.amqp091.Decoder``)."""

    def __init__(self, settings: LinkSettings, most_body: int = 0) -> None:
        self.error: RunnerError | None = None  # why it is of no use
        self.frame_max = LEAST_FRAME_MAX
        self.is_blocked = False  # the broker has said that it takes no messages now
        self._settings = settings
        self._decoder = Decoder(FIRST_FRAME_MAX, most_body)
        self._loop = asyncio.get_running_loop()
        self._root = _Root(self)
        self._channels: dict[int, Channel] = {0: self._root}
        self._transport: asyncio.Transport | None = None
        self._gone = asyncio.Event()
        self._is_full = False
        self._is_reading = True
        self._has_sent = False
        self._silent = 0  # looks in a row at which nothing had come
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    async def open(cls, settings: LinkSettings, most_body: int = 0) -> Link:
        """Raises NotConnected or Misconfigured; has then let everything go."""
        context = await asyncio.to_thread(of_link.tls, settings)
        link = cls(settings, most_body)
        try:
            async with asyncio.timeout(settings.connect_s):
                await link._loop.create_connection(
                    lambda: link, settings.host, settings.port, ssl=context
                )
                await link._shake_hands()
        except BaseException as error:
            link._drop(NotConnected("given up"))
            if not isinstance(error, asyncio.CancelledError):
                await link._let_go()
            if isinstance(error, TimeoutError):
                raise NotConnected(f"no connection within {settings.connect_s:g} s") from error
            if isinstance(error, (OSError, ValueError)):
                raise connect_error(error) from error
            raise
        return link

    async def channel(self, number: int, listener: Channel) -> None:
        """Open *listener* as channel *number*; it then gets what the broker sends there."""
        listener.bind(self, number)
        self._channels[number] = listener
        await listener.call(methods.CHANNEL_OPEN_OK, methods.CHANNEL_OPEN, "")

    def forget(self, number: int) -> None:
        """The channel is closed on both sides."""
        self._channels.pop(number, None)

    def send(self, data: bytes) -> None:
        """On its way, behind all that was sent before. Quiet when the link is lost."""
        if data and self._transport is not None and self.error is None:
            self._has_sent = True
            self._transport.write(data)

    @property
    def is_ready(self) -> bool:
        """Whether messages should be sent: ``Channel.on_ready`` says when that may change."""
        return not self.is_blocked and not self._is_full and self.error is None

    def block(self, is_blocked: bool) -> None:
        """The broker takes no messages, or takes them again."""
        self.is_blocked = is_blocked
        self._tell_ready()

    def read(self, go_on: bool) -> None:
        """Hold up what the broker sends, all of it, or let it come again."""
        if self._transport is None or self.error is not None or go_on == self._is_reading:
            return
        self._is_reading = go_on
        if go_on:
            self._silent = 0
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    @property
    def answer_s(self) -> float:
        return self._settings.answer_s

    @property
    def close_s(self) -> float:
        return self._settings.close_s

    async def close(self) -> None:
        """Say goodbye, behind all that was sent. Bounded in time; never raises."""
        self._channels = {0: self._root}
        self.read(True)
        try:
            async with asyncio.timeout(self._settings.close_s):
                if self.error is None:
                    goodbye = (200, "closed", 0, 0)
                    close = methods.CONNECTION_CLOSE
                    await self._root.call(methods.CONNECTION_CLOSE_OK, close, *goodbye)
        except (TimeoutError, RunnerError):
            pass  # it is gone either way
        finally:
            if self.error is None:
                self._drop(NotConnected("closed"))
        await self._let_go()

    async def _let_go(self) -> None:
        """Wait for the socket to be closed, for a short time."""
        if self._transport is None:
            return
        try:
            async with asyncio.timeout(LET_GO_S):
                await self._gone.wait()
        except TimeoutError:
            self._transport.abort()  # the peer takes nothing

    def lose(self, error: RunnerError, *, at_once: bool = True) -> None:
        """It is over: all channels hear why. What was sent may still go out unless *at_once*."""
        if self.error is not None:
            return
        self._drop(error, at_once=at_once)
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            channel.finish(error)

    def _drop(self, error: RunnerError, *, at_once: bool = True) -> None:
        self.error = self.error or error
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            if at_once:
                self._transport.abort()
            else:
                self._transport.close()

    # The handshake.

    async def _shake_hands(self) -> None:
        root, wanted = self._root, self._settings
        self.send(methods.PROTOCOL)
        _, _, _, mechanisms, _ = await root.call(methods.CONNECTION_START)
        mechanism, response = of_link.login(wanted, mechanisms.split())
        most_channels, frame_max, heartbeat = await root.call(
            methods.CONNECTION_TUNE,
            *(methods.CONNECTION_START_OK, of_link.about(wanted), mechanism, response, "en_US"),
        )
        most_channels = of_link.least(most_channels, wanted.channel_max)
        if 0 < most_channels < CHANNELS:
            raise Misconfigured(f"at most {most_channels} channels, and {CHANNELS} are needed")
        frame_max = of_link.least(frame_max, wanted.frame_max) or MOST_FRAME_MAX
        frame_max = min(max(frame_max, LEAST_FRAME_MAX), MOST_FRAME_MAX)
        self.frame_max = self._decoder.frame_max = frame_max
        every_s = of_link.least(heartbeat, wanted.heartbeat_s) if wanted.heartbeat_s else 0
        tuned = (most_channels, self.frame_max, every_s)
        self.send(methods.frame(0, methods.CONNECTION_TUNE_OK, *tuned))
        await root.call(
            methods.CONNECTION_OPEN_OK, methods.CONNECTION_OPEN, wanted.vhost, "", False
        )
        if every_s:
            self._timer = self._loop.call_later(every_s / BEATS, self._beat, every_s / BEATS)

    def _beat(self, every_s: float) -> None:
        """Say that we are here, and see whether the broker is.

        Looks are counted, not seconds: while this process hangs, the broker is not to blame.
        """
        self._timer = self._loop.call_later(every_s, self._beat, every_s)
        if not self._has_sent:
            self.send(methods.HEARTBEAT)
        self._has_sent = False
        if self._is_reading:
            self._silent += 1
        if self._silent > MISSED:
            waited = MISSED * every_s
            self.lose(NotConnected(f"the broker has said nothing for {waited:g} s"))

    def _tell_ready(self) -> None:
        if self.is_ready:
            for channel in list(self._channels.values()):
                channel.on_ready()

    # Called by the event loop.

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_AHEAD_BYTES)

    def data_received(self, data: bytes) -> None:
        self._silent = 0
        try:
            events = self._decoder.feed(data)
        except ValueError as error:
            self.lose(NotConnected(f"what the broker sends cannot be read: {error}"))
            return
        for number, method, content in events:
            channel = self._channels.get(number)
            if channel is not None:  # else it is closed, or we are closing
                try:
                    channel.take(method, content)
                except Malformed as error:
                    self.lose(NotConnected(f"what the broker sends cannot be read: {error}"))

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._tell_ready()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone.set()
        said = "the broker closed it" if exc is None else words(exc)
        self.lose(NotConnected(f"the connection was lost: {said}"))


class _Root(Channel):
    """Channel 0: what concerns the connection, all of it."""

    def __init__(self, connection: Link) -> None:
        super().__init__()
        self.bind(connection, 0)
        self._connection = connection

    def take(self, method: int, content: Any) -> None:
        if method == methods.CONNECTION_BLOCKED.id:
            self._connection.block(True)
        elif method == methods.CONNECTION_UNBLOCKED.id:
            self._connection.block(False)
        elif method == methods.CONNECTION_SECURE.id:
            self.fail(Misconfigured("the broker wants more than user and password to log in"))
        elif method == methods.CONNECTION_CLOSE.id:
            code, text, *_ = methods.arguments(methods.CONNECTION_CLOSE, content)
            self.link.send(methods.frame(0, methods.CONNECTION_CLOSE_OK))
            self._connection.lose(reply_error(code, text), at_once=False)
        else:
            self._answer(method, content)


def connect_error(error: OSError | ValueError) -> RunnerError:
    """Why a connection could not be made."""
    if isinstance(error, (ssl.SSLCertVerificationError, UnicodeError)):  # or no name of a host
        return Misconfigured(words(error))
    return NotConnected(words(error))


def words(error: BaseException) -> str:
    """What an exception says."""
    return str(error) or type(error).__name__
