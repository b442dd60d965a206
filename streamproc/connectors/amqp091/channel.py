"""One channel: asks the broker, and hears what it says. Subclasses listen."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from streamproc.connectors.amqp091 import methods
from streamproc.connectors.amqp091.methods import Method
from streamproc.errors import Misconfigured, NotConnected, RunnerError
from streamproc.kernels.amqp091 import ACK, DELIVER, NACK, RETURN, Delivered

_CANCEL, _CLOSE, _FLOW = (
    methods.BASIC_CANCEL.id,
    methods.CHANNEL_CLOSE.id,
    methods.CHANNEL_FLOW.id,
)

# Replies of the broker that only a person can change: access refused, not found, locked,
# precondition failed, not allowed, not implemented.
_FINAL = frozenset({403, 404, 405, 406, 530, 540})


class Carrier(Protocol):
    """A link, as its channels know it."""

    error: RunnerError | None  # why it is of no use
    is_blocked: bool  # the broker has said that it takes no messages now

    @property
    def is_ready(self) -> bool:
        """Whether messages should be sent now."""

    @property
    def answer_s(self) -> float:
        """Longest wait for an answer of the broker."""

    def send(self, data: bytes) -> None:
        """On its way, behind all that was sent before."""

    def read(self, go_on: bool) -> None:
        """Hold up what the broker sends, or let it come again."""

    def forget(self, number: int) -> None:
        """The channel is closed on both sides."""

    async def close(self) -> None:
        """Say goodbye. Bounded in time; never raises."""


class Channel:
    """Not open until ``Link.channel`` has opened it; of no use once it is closed."""

    def __init__(self) -> None:
        self.number = 0
        self.flows = True  # False: the broker takes no messages on it now
        self._link: Carrier | None = None
        self._reply: asyncio.Future[list[Any]] | None = None
        self._expected: Method | None = None

    def bind(self, link: Carrier, number: int) -> None:
        self._link = link
        self.number = number

    @property
    def link(self) -> Carrier:
        assert self._link is not None
        return self._link

    # What subclasses listen to.

    def on_delivered(self, delivered: Delivered) -> None:
        """Messages for its consumers."""

    def on_return(self, code: int, text: str, place: str, message_id: str) -> None:
        """A message found no queue."""

    def on_confirm(self, tag: int, *, multiple: bool, is_taken: bool) -> None:
        """The broker has a message, or has refused it."""

    def on_cancel(self, consumer_tag: str) -> None:
        """The broker ended a consumer."""

    def on_ready(self) -> None:
        """There may be room to send again."""

    def on_close(self, error: RunnerError) -> None:
        """The broker closed the channel, or the link is lost. Called once."""

    # Asking.

    async def call(self, expected: Method, *asked: Any) -> list[Any]:
        """Send a method and its arguments; return those of the answer, *expected*.

        Raises what the broker says against it, and Misconfigured where the method cannot be
        written: a name is too long. One call at a time.
        """
        link = self.link
        if link.error is not None:
            raise link.error
        try:
            data = methods.frame(self.number, asked[0], *asked[1:]) if asked else b""
        except ValueError as error:
            raise Misconfigured(str(error)) from error
        reply = self._reply = asyncio.get_running_loop().create_future()
        self._expected = expected
        try:
            link.send(data)
            async with asyncio.timeout(link.answer_s):
                answer: list[Any] = await reply
                return answer
        except TimeoutError as error:
            raise NotConnected(f"no answer within {link.answer_s:g} s") from error
        finally:
            self._reply = None

    def fail(self, error: RunnerError) -> None:
        """Whoever waits for an answer gets *error*."""
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error)

    def take(self, method: int, content: Any) -> None:
        """Called by the link for what comes on this channel. Raises Malformed."""
        if method == DELIVER:
            self.on_delivered(content)
        elif method in (ACK, NACK):
            tag, multiple = content
            self.on_confirm(tag, multiple=multiple, is_taken=method == ACK)
        elif method == RETURN:
            code, text, exchange, key = methods.arguments(methods.BASIC_RETURN, content[0])
            place = f"{exchange or 'the default exchange'}/{key}"
            self.on_return(code, text, place, content[1] or "")
        elif method == _CANCEL:
            self.on_cancel(methods.arguments(methods.BASIC_CANCEL, content)[0])
        elif method == _CLOSE:
            code, text, *_ = methods.arguments(methods.CHANNEL_CLOSE, content)
            self.link.send(methods.frame(self.number, methods.CHANNEL_CLOSE_OK))
            self.link.forget(self.number)
            self.finish(reply_error(code, text))
        elif method == _FLOW:
            (self.flows,) = methods.arguments(methods.CHANNEL_FLOW, content)
            self.link.send(methods.frame(self.number, methods.CHANNEL_FLOW_OK, self.flows))
            self.on_ready()
        else:
            self._answer(method, content)

    def finish(self, error: RunnerError) -> None:
        """There is no more to come."""
        self.fail(error)
        self.on_close(error)

    def _answer(self, method: int, content: bytes) -> None:
        if self._reply is None or self._reply.done() or self._expected is None:
            return  # to a call that was given up
        if method != self._expected.id:
            said = f"method {method >> 16}.{method & 0xFFFF} in the place of an answer"
            self.fail(NotConnected(f"the broker sent {said}"))
            return
        self._reply.set_result(methods.arguments(self._expected, content))


def reply_error(code: int, text: str) -> RunnerError:
    """What the broker says when it closes a channel or connection."""
    said = f"{text or 'no reason given'} ({code})"
    return Misconfigured(said) if code in _FINAL else NotConnected(said)
