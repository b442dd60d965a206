"""A bucket of tokens that fills with time: what rate limits and retry budgets count with."""

from __future__ import annotations


class Tokens:
    """*rate* tokens a second come in, up to *most*. Starts full; may be drawn below zero."""

    def __init__(self, rate: float, most: float, now: float) -> None:
        self._rate = rate
        self._most = most
        self._count = most
        self._at = now

    def count(self, now: float) -> float:
        """What is there."""
        if now > self._at:
            self._count = min(self._most, self._count + self._rate * (now - self._at))
            self._at = now
        return self._count

    def add(self, tokens: float, now: float) -> None:
        """Put in, or with a negative number take out."""
        self._count = min(self._most, self.count(now) + tokens)

    def when(self, tokens: float, now: float) -> float:
        """The moment at which there are *tokens*, if none is taken until then."""
        missing = min(tokens, self._most) - self.count(now)
        return now if missing <= 0 else now + missing / self._rate
