"""The circuit breaker of one endpoint: stops asking one that fails, and asks again for ever.

closed: requests go. Too many of them fail within the window: open. open: none goes, until a
wait is over that doubles with each time in a row. probing: one request goes, then two, up to
``probes`` at once; as many successes close it, a failure opens it again.
"""

from __future__ import annotations

from typing import Literal

from streamproc.config.service import Breaker as Rules

State = Literal["closed", "open", "probing"]


class Breaker:
    """Knows no clock: *now* is in seconds and never goes back; *jitter* in [0, 1)."""

    def __init__(self, rules: Rules, now: float) -> None:
        self._rules = rules
        self.state: State = "closed"
        self.until = 0.0
        """When an open breaker lets a probe go."""
        self.why = ""
        self._in_a_row = 0  # openings since it was closed last
        self._probed = 0  # successes while probing
        self._good = self._bad = 0  # in this half of the window
        self._good_before = self._bad_before = 0  # in the half before
        self.roll_at = now + rules.window_s / 2

    @property
    def allowed(self) -> int:
        """Most requests in flight while it is probing."""
        return min(self._rules.probes, self._probed + 1)

    def look(self, now: float) -> None:
        """Time has passed."""
        if self.state == "open" and now >= self.until:
            self.state = "probing"
            self._probed = 0

    def good(self, count: int, now: float) -> None:
        """*count* requests were answered."""
        if self.state == "closed":
            if now >= self.roll_at:
                self._roll(now)
            self._good += count
        elif self.state == "probing":
            self._probed += count
            if self._probed >= self._rules.probes:
                self._close(now)

    def bad(self, count: int, why: str, now: float, jitter: float) -> None:
        """*count* requests failed in a way that speaks against the endpoint."""
        if self.state == "probing":
            self._open(f"a probe failed: {why}", now, jitter)
        elif self.state == "closed":
            if now >= self.roll_at:
                self._roll(now)
            self._bad += count
            failed = self._bad + self._bad_before
            total = failed + self._good + self._good_before
            rules = self._rules
            if total >= rules.min_requests and failed >= rules.failure_ratio * total:
                text = f"{failed} of {total} deliveries failed within {rules.window_s:g} s"
                self._open(f"{text}, at last: {why}", now, jitter)

    def _open(self, why: str, now: float, jitter: float) -> None:
        rules = self._rules
        longest = min(rules.max_open_s, rules.first_open_s * 2.0 ** min(self._in_a_row, 32))
        self.until = now + longest * (0.5 + 0.5 * jitter)
        self.why = why
        self.state = "open"
        self._in_a_row += 1

    def _close(self, now: float) -> None:
        self.state = "closed"
        self.why = ""
        self._in_a_row = 0
        self._good = self._bad = self._good_before = self._bad_before = 0
        self.roll_at = now + self._rules.window_s / 2

    def _roll(self, now: float) -> None:
        """What is older than the window is forgotten, by halves."""
        half_s = self._rules.window_s / 2
        recent = now < self.roll_at + half_s
        self._good_before = self._good if recent else 0
        self._bad_before = self._bad if recent else 0
        self._good = self._bad = 0
        self.roll_at = now + half_s
