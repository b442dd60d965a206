"""When the next messages are due: a rate kept without drift, whatever the timers do."""

from __future__ import annotations

CATCH_UP_S = 1.0
"""What a pause may cost: so much of it is made up for, the rest is let go."""


class Pace:
    """Message *n* is due at ``start + n / rate``; a rate of 0 means always."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._start: float | None = None
        self._sent = 0

    @property
    def limited(self) -> bool:
        """Whether there is a rate at all."""
        return self._rate > 0

    def wait_s(self, now: float) -> float:
        """Seconds until one is due."""
        if not self._rate:
            return 0.0
        self._settle(now)
        assert self._start is not None
        return max(0.0, self._start + self._sent / self._rate - now)

    def due(self, now: float) -> int:
        """How many are due."""
        if not self._rate:
            return 1 << 30
        self._settle(now)
        assert self._start is not None
        return max(0, int((now - self._start) * self._rate) + 1 - self._sent)

    def sent(self, count: int) -> None:
        """*count* more were sent."""
        self._sent += count

    def _settle(self, now: float) -> None:
        if self._start is None:
            self._start = now
        late = now - (self._start + self._sent / self._rate)
        if late > CATCH_UP_S:
            self._start += late - CATCH_UP_S
