"""Brings deliveries to one endpoint, and says what became of each.

The requests travel on the connections of a pool; what the endpoint answers is judged here, and
receipts are given once per iteration of the event loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from streamproc.config.endpoint import EndpointOptions
from streamproc.connectors.base import Receipts
from streamproc.connectors.http_push.answer import Answers, of_the_endpoint, unsent
from streamproc.connectors.http_push.auth.admission import Admission
from streamproc.connectors.http_push.auth.echo import without_proof
from streamproc.connectors.http_push.auth.tokens import Tokens
from streamproc.connectors.http_push.endpoint import Endpoint
from streamproc.connectors.http_push.outcomes import Outcomes
from streamproc.connectors.http_push.pool import Pool
from streamproc.connectors.http_push.request import Request, Requests
from streamproc.connectors.http_push.success import Successes
from streamproc.connectors.http_push.wire import Wire
from streamproc.errors import DeliveryRefused, NotConnected, RunnerError
from streamproc.kernels.delivery import Delivery

CLOSED = "connection closed before the answer"


class Client:
    """``write``, and what wires and their pool report, are all that moves it.

    ``size``, ``deadline_s`` and ``idle_s`` are the pool's. ``tokens``: without one no request
    leaves; those that have to wait for one are held.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        requests: Requests,
        receipts: Receipts,
        *,
        size: int,
        deadline_s: float,
        idle_s: float | None = None,
        tokens: Tokens | None = None,
        answers: Answers | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._render = requests.render
        self._answers = answers or Answers(EndpointOptions())
        self._successes = Successes(self._answers.success)
        self._admission = None if tokens is None else Admission(tokens, receipts)
        self._outcomes = Outcomes(self._admission or receipts)
        self._pool = Pool(self, self._connect, size=size, deadline_s=deadline_s, idle_s=idle_s)
        self._silence: RunnerError | None = None  # the endpoint wants nothing now; until a write
        self._lost: RunnerError | None = None  # why, until the next ``open``

    async def open(self) -> None:
        """Make the first connection, as proof that it can be made."""
        self._lost = None
        if self._admission is not None:
            await self._admission.obtain()
        await self._pool.open()

    def write(self, deliveries: Sequence[Delivery]) -> None:
        """Send each on an idle connection, or on the next there is."""
        if not self._pool.is_open:
            error = self._lost or NotConnected("the endpoint is not connected")
            self.failed(deliveries, NotConnected(str(error)))
            return
        if self._admission is not None and not self._admission.is_open:
            self._admission.hold(deliveries, self._go_on)
            return
        if self._silence is not None:
            if self._outcomes.is_telling:  # the lanes have not heard of it yet
                self._fail_unsent(deliveries, self._silence)
                return
            self._silence = None
        render, send = self._render, self._pool.send
        for delivery in deliveries:
            try:
                request = render(delivery)
            except DeliveryRefused as error:
                self.failed((delivery,), error)
            else:
                send(delivery, request)
        self._pool.serve()

    async def close(self) -> None:
        """Fail what is open with NotConnected, and let every connection go."""
        self._shut(NotConnected("the connection was closed"))
        await self._pool.give_up_connecting()
        if self._admission is not None:
            await self._admission.close()
        self._outcomes.tell()
        await self._pool.closed()

    # What wires report.

    def accepted(self, delivery: Delivery, wire: Wire, keep: bool) -> None:
        """A success: the endpoint has it."""
        self._outcomes.delivered(delivery)
        self._pool.free(wire, keep)

    def answered(
        self,
        delivery: Delivery,
        wire: Wire,
        keep: bool,
        status: int,
        retry_after: bytes | None,
        excerpt: bytes,
    ) -> None:
        """Any other status."""
        admission = self._admission
        if status == 401 and admission is not None and admission.renews(delivery, wire.head):
            self._pool.free(wire, keep)
            self.write((delivery,))
            return
        said = without_proof(excerpt, wire.head)
        error = self._answers.judge(status, retry_after, said, datetime.now(UTC))
        self.failed((delivery,), error)
        if of_the_endpoint(error):
            self._be_silent(error)
        self._pool.free(wire, keep)

    def broken(self, delivery: Delivery, why: str) -> None:
        """Whether the endpoint has it is not known."""
        self.failed((delivery,), self._answers.unanswered(delivery, why))

    def unread(self, delivery: Delivery, request: Request, since: int) -> None:
        """A connection used before was closed without a byte of an answer.

        The endpoint had let it go before our request came, so the request goes once more, and
        nobody hears of it.
        """
        if self._silence is not None or not self._answers.may_repeat(delivery):
            self.broken(delivery, CLOSED)
        else:
            self._pool.send_again(delivery, request, since)

    def gone(self, wire: Wire) -> None:
        """Its connection is closed."""
        self._pool.gone(wire)

    # What the pool reports, beside ``broken``.

    def failed(self, deliveries: Sequence[Delivery], error: RunnerError) -> None:
        """The endpoint has none of them."""
        self._outcomes.failed(deliveries, error)

    def unreachable(self, error: RunnerError) -> None:
        """The link is lost."""
        self._lost = error
        self._shut(NotConnected(str(error)))
        self._outcomes.lost(error)

    async def _connect(self, deadline_s: float) -> Wire:
        return await self._endpoint.connect(lambda: Wire(self, self._successes), deadline_s)

    def _shut(self, error: NotConnected) -> None:
        held = [] if self._admission is None else self._admission.release()
        self.failed([*held, *self._pool.shut()], error)

    def _go_on(self, error: RunnerError | None) -> None:
        """There is a token, or none for those that waited for one."""
        assert self._admission is not None
        held = self._admission.release()
        if error is None:
            self.write(held)
        else:
            self.failed(held, error)

    # The endpoint wants nothing now.

    def _be_silent(self, error: RunnerError) -> None:
        """Until the lanes, which are told, write again."""
        self._silence = error
        waiting = self._pool.take_waiting()
        self._fail_unsent([entry.delivery for entry in waiting if not entry.again], error)
        for entry in waiting:
            if entry.again:
                self.broken(entry.delivery, CLOSED)

    def _fail_unsent(self, deliveries: Sequence[Delivery], silence: RunnerError) -> None:
        """These did not go, and this try of theirs counts not."""
        for delivery in deliveries:
            delivery.attempts -= 1
        self.failed(deliveries, unsent(silence))
