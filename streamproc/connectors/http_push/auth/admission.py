"""Requests that need a token: those that wait for one, and those that go a second time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streamproc.connectors.base import Receipts
from streamproc.connectors.http_push.auth.tokens import Tokens
from streamproc.errors import RunnerError
from streamproc.kernels.delivery import Delivery


class Admission:
    """Stands before *receipts*: whose outcome is told may have its token renewed again."""

    def __init__(self, tokens: Tokens, receipts: Receipts) -> None:
        self._tokens = tokens
        self._receipts = receipts
        self._held: list[Delivery] = []  # until there is a token
        self._renewed: set[Delivery] = set()  # were answered 401, and go a second time

    @property
    def is_open(self) -> bool:
        """Whether there is a token."""
        return self._tokens.is_ready

    async def obtain(self) -> None:
        """Have a token. Raises NotConnected or Misconfigured."""
        await self._tokens.obtain()

    async def close(self) -> None:
        """Ask for no token any more."""
        await self._tokens.close()

    def hold(
        self, deliveries: Sequence[Delivery], go_on: Callable[[RunnerError | None], None]
    ) -> None:
        """Keep *deliveries*, as many as may be in flight at most, until *go_on* is called: with
        None when there is a token, or with what to tell those that wait.
        """
        if not self._held:
            self._tokens.ask(
                lambda error: go_on(None if error is None else self._tokens.failure(error))
            )
        self._held.extend(deliveries)

    def release(self) -> list[Delivery]:
        """Those that were held, in their order."""
        held, self._held = self._held, []
        return held

    def renews(self, delivery: Delivery, head: bytes) -> bool:
        """Whether *delivery*, whose request began with *head* and was answered 401, is to go a
        second time: once only.
        """
        if delivery in self._renewed or not self._tokens.refused(head):
            return False
        self._renewed.add(delivery)
        return True

    # Receipts.

    def delivered(self, deliveries: Sequence[Delivery]) -> None:
        self._renewed.difference_update(deliveries)
        self._receipts.delivered(deliveries)

    def failed(self, deliveries: Sequence[Delivery], error: RunnerError) -> None:
        self._renewed.difference_update(deliveries)
        self._receipts.failed(deliveries, error)

    def lost(self, error: RunnerError) -> None:
        self._receipts.lost(error)
