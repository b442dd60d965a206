"""One AMQP connection and its channels, for either end of the connector.

aiormq makes the connection, keeps its heartbeats and takes frames apart. Its channels are not
used: they cost a task for each delivery and each publish. A connection that is lost stays
lost; the runner opens a new one.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Any

import aiormq
from aiormq.abc import ChannelFrame
from pamqp import commands
from pamqp.base import Frame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from streamproc.connectors.amqp091 import settings as of_link
from streamproc.connectors.amqp091.settings import LinkSettings
from streamproc.errors import Misconfigured, NotConnected, RunnerError

# Connectors log nothing: what aiormq has to say comes as an error too.
_log = logging.getLogger("aiormq")
_log.addHandler(logging.NullHandler())
_log.propagate = False

# Replies of the broker that only a person can change: access refused, not found, locked,
# precondition failed, not allowed, not implemented.
_FINAL = frozenset({403, 404, 405, 406, 530, 540})


class _Listening:
    """Gives the broker's words when it closes the connection in place of an answer."""

    def __init__(self, receiver: Any) -> None:
        self._receiver = receiver

    async def get_frame(self) -> Any:
        received = await self._receiver.get_frame()
        frame = received[2]
        if isinstance(frame, commands.Connection.Close):
            raise reply_error(frame.reply_code, frame.reply_text)
        return received


class _Connection(aiormq.Connection):
    @staticmethod
    async def _rpc(
        request: Frame, writer: Any, frame_receiver: Any, wait_response: bool = True
    ) -> Any:
        listening: Any = _Listening(frame_receiver)
        return await aiormq.Connection._rpc(request, writer, listening, wait_response)


class Link:
    """``lost`` is called once, when the connection ends by itself."""

    def __init__(self, connection: aiormq.Connection, settings: LinkSettings) -> None:
        self._connection = connection
        self._settings = settings
        self._ends = connection.closing
        self._lost: Callable[[RunnerError], None] | None = None
        tuned = connection.connection_tune.frame_max or 131_072
        self.frame_max = min(tuned, settings.frame_max or tuned)
        self._ends.add_done_callback(self._ended)

    @classmethod
    async def open(cls, settings: LinkSettings) -> Link:
        """Raises NotConnected or Misconfigured; has then let everything go."""
        context = await asyncio.to_thread(of_link.tls, settings)
        connection = _Connection(settings.url, context=context)
        connection.vhost = settings.vhost
        try:
            async with asyncio.timeout(settings.connect_s):
                await connection.connect()
        except TimeoutError as error:
            raise NotConnected(f"no connection within {settings.connect_s:g} s") from error
        except (aiormq.exceptions.AMQPError, OSError, ValueError) as error:
            raise connect_error(error) from error
        return cls(connection, settings)

    def when_lost(self, lost: Callable[[RunnerError], None]) -> None:
        self._lost = lost
        if self._ends.done():
            self._ended(self._ends)

    async def channel(self, number: int, listener: Channel) -> None:
        """Open *listener* as channel *number*; it then gets what the broker sends there."""
        self._connection.channels[number] = listener  # type: ignore[assignment]
        listener.bind(self, number)
        await listener.call(commands.Channel.Open())

    async def send(self, data: bytes) -> None:
        """Return when the socket has taken it, to keep pace with the broker."""
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self._connection.write_queue.put(ChannelFrame(data, False, taken))
        await taken

    async def send_method(self, number: int, method: Frame) -> None:
        await self._connection.write_queue.put(ChannelFrame.marshall(number, [method]))

    def is_blocked(self) -> bool:
        """Whether the broker has said that it takes no messages now."""
        ready = self._connection.ready()
        try:
            ready.send(None)
        except StopIteration:
            return False
        ready.close()
        return True

    async def unblocked(self) -> None:
        """Wait until the broker takes messages."""
        await self._connection.ready()

    @property
    def answer_s(self) -> float:
        return self._settings.answer_s

    @property
    def close_s(self) -> float:
        return self._settings.close_s

    async def close(self) -> None:
        """Say goodbye. Bounded in time; never raises."""
        self._lost = None
        try:
            async with asyncio.timeout(self._settings.close_s):
                await self._connection.close()
        except (TimeoutError, OSError, aiormq.exceptions.AMQPError):
            return  # it is gone either way

    def _ended(self, closing: asyncio.Future[Any]) -> None:
        error = None if closing.cancelled() else closing.exception()
        lost, self._lost = self._lost, None
        if lost is not None:
            lost(NotConnected(f"the connection was lost: {words(error)}"))


class Channel:
    """Takes frames of one channel, in aiormq's place of a channel. Subclasses listen."""

    def __init__(self) -> None:
        self.frames = self  # aiormq: await channel.frames.put((weight, frame))
        self.number = 0
        self._link: Link | None = None
        self._reply: asyncio.Future[Any] | None = None
        self._method: commands.Basic.Deliver | commands.Basic.Return | None = None
        self._header: ContentHeader | None = None
        self._body: list[bytes] = []
        self._missing = 0  # bytes of the body

    def bind(self, link: Link, number: int) -> None:
        self._link = link
        self.number = number

    @property
    def link(self) -> Link:
        assert self._link is not None
        return self._link

    # What subclasses listen to.

    def on_deliver(
        self, method: commands.Basic.Deliver, header: ContentHeader, body: bytes
    ) -> None:
        """A message for a consumer."""

    def on_return(self, method: commands.Basic.Return, header: ContentHeader) -> None:
        """A message that found no queue."""

    def on_confirm(self, tag: int, *, multiple: bool, is_taken: bool) -> None:
        """The broker has a message, or has refused it."""

    def on_cancel(self, consumer_tag: str) -> None:
        """The broker ended a consumer."""

    def on_close(self, error: RunnerError) -> None:
        """The broker closed the channel."""

    async def has_room(self) -> None:
        """Wait here to hold up the connection."""

    async def call(self, method: Frame) -> Frame:
        """Send *method* and return the answer. Raises what the broker says against it."""
        link = self.link
        reply = self._reply = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(link.answer_s):
                await link.send_method(self.number, method)
                answer: Frame = await reply
                return answer
        except TimeoutError as error:
            raise NotConnected(f"no answer within {link.answer_s:g} s") from error
        finally:
            self._reply = None

    def fail(self, error: RunnerError) -> None:
        """Whoever waits for an answer gets *error*."""
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error)

    # Called by aiormq for every frame of this channel, in order.

    async def put(self, item: tuple[int, Any]) -> None:
        frame = item[1]
        match frame:
            case ContentBody():
                self._body.append(frame.value)
                self._missing -= len(frame.value)
                if self._missing <= 0:
                    await self._complete()
            case ContentHeader():
                self._header = frame
                self._missing = frame.body_size
                if not self._missing:
                    await self._complete()
            case commands.Basic.Deliver() | commands.Basic.Return():
                self._method = frame
            case commands.Basic.Ack():
                self.on_confirm(frame.delivery_tag, multiple=frame.multiple, is_taken=True)
            case commands.Basic.Nack():
                self.on_confirm(frame.delivery_tag, multiple=frame.multiple, is_taken=False)
            case commands.Basic.Cancel():
                self.on_cancel(frame.consumer_tag or "")
            case commands.Channel.Close():
                await self.link.send_method(self.number, commands.Channel.CloseOk())
                error = reply_error(frame.reply_code, frame.reply_text)
                self.fail(error)
                self.on_close(error)
            case _:
                if self._reply is not None and not self._reply.done():
                    self._reply.set_result(frame)

    async def _complete(self) -> None:
        method, header, body = self._method, self._header, self._body
        self._method, self._header, self._body = None, None, []
        if header is None:
            return
        if isinstance(method, commands.Basic.Deliver):
            self.on_deliver(method, header, body[0] if len(body) == 1 else b"".join(body))
            await self.has_room()
        elif isinstance(method, commands.Basic.Return):
            self.on_return(method, header)


def reply_error(code: int | None, text: str | None) -> RunnerError:
    """What the broker says when it closes a channel or connection."""
    said = f"{text or 'no reason given'} ({code})"
    return Misconfigured(said) if code in _FINAL else NotConnected(said)


def connect_error(error: BaseException) -> RunnerError:
    """Why a connection could not be made."""
    if isinstance(error, aiormq.exceptions.AuthenticationError):
        return Misconfigured("the broker offers no way to log in that is known here")
    causes = (error, error.__cause__)
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return Misconfigured(words(error))
    return NotConnected(words(error))


def words(error: BaseException | None) -> str:
    """What an exception of aiormq says."""
    if error is None:
        return "closed"
    said = ", ".join(str(one) for one in error.args if one not in (None, ""))
    return said or type(error).__name__
