"""How many deliveries may be on their way to one endpoint now, and when to look again.

Pure: it knows no clock and acts on nothing. It is told what became of deliveries, by the
batch, and asked ``look`` before deliveries are taken from the lanes. In good times, when no
limit is set, it has nothing to say (``steady``) and costs one addition a batch of receipts.

Six rules, each of which only ever lowers the limit: stopped until a person acts; asked to
wait (Retry-After); the circuit breaker; a slow start after each of these; adaptive concurrency;
a rate limit. Beside them a budget for retries. Whatever happens short of a stop, there is a
moment at which a request goes again.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from streamproc.config.endpoint import EndpointOptions, EndpointRules
from streamproc.config.section import Section
from streamproc.config.service import Breaker as BreakerRules
from streamproc.config.service import Retry, Service
from streamproc.worker.adaptive import Adaptive
from streamproc.worker.breaker import Breaker
from streamproc.worker.tokens import Tokens

RATE_BURST_S = 0.05
"""A rate limit lets what it would allow in this time go at once: fewer, larger batches."""

ROUNDING = 1e-6
"""Of a token: what is missing of it by the arithmetic of floats alone."""

BUDGET_BURST_S = 10.0
"""Retries that a budget saves up, in seconds of its floor."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is in force for one client."""

    retry: Retry
    breaker: BreakerRules | None = None
    max_rate: float | None = None  # deliveries a second
    adaptive: bool = False
    budget: bool = False

    @classmethod
    def of(cls, service: Service, options: Section, clients: int) -> Rules:
        """Those of one of *clients* of a connection; targets that are no endpoints know best
        themselves.
        """
        if not isinstance(options, EndpointOptions):
            return cls(retry=service.retry)
        found = EndpointRules.of(service, options)
        return cls(
            retry=found.retry,
            breaker=found.breaker if found.breaker.mode == "on" else None,
            max_rate=None if found.max_rate is None else found.max_rate / clients,
            adaptive=found.adaptive,
            budget=True,
        )


State = Literal["well", "recovering", "waiting", "broken", "stopped"]
STANDINGS: tuple[State, ...] = ("well", "recovering", "waiting", "broken", "stopped")
"""By how bad they are: what the metric shows."""


class Trouble(enum.Enum):
    """What a failure says about the endpoint."""

    ILL = "ill"  # it failed, or did not answer
    BUSY = "busy"  # it is well, and has no room now
    AWAY = "away"  # there is no link, which is opened again by others


class Allowance(NamedTuple):
    """*limit*: most in flight. *again_at*: when to look again if nothing happens before."""

    limit: int
    again_at: float | None


class Standing(NamedTuple):
    """For people and metrics. *until*: on the gate's clock."""

    state: State
    why: str = ""
    until: float | None = None


class Gate:
    """Times are in seconds, never go back, and mean the same clock in all calls."""

    def __init__(self, rules: Rules, capacity: int, now: float) -> None:
        self._rules = rules
        self._capacity = capacity
        self._breaker = None if rules.breaker is None else Breaker(rules.breaker, now)
        self._adaptive = Adaptive(capacity, now) if rules.adaptive else None
        rate = rules.max_rate
        self._rate = Tokens(rate, max(1.0, rate * RATE_BURST_S), now) if rate else None
        floor = rules.retry.budget_per_s
        self._budget = Tokens(floor, floor * BUDGET_BURST_S, now) if rules.budget else None
        self._retries = 0  # lanes released for a retry whose outcome is not known
        self._stopped = ""  # why
        self._asked_until: float | None = None
        self._asked_why = ""
        self._slow_start: int | None = None  # the limit, while it grows
        self._untold = 0  # deliveries that the endpoint took, and that no rule knows of yet
        self._untold_at = now  # when the last of them was taken
        self._tell_at = math.inf if self._breaker is None else self._breaker.roll_at
        self.steady = False
        self._settle()

    @property
    def is_adaptive(self) -> bool:
        """Whether it wants to know latencies."""
        return self._adaptive is not None

    # What happens.

    def answered(self, count: int, now: float) -> None:
        """The endpoint took, or refused for good, *count* deliveries."""
        if self.steady and now < self._tell_at:
            self._untold += count
            self._untold_at = now
            return
        self._tell()
        self._untold = count
        self._untold_at = now
        self._tell()
        if self._slow_start is not None and not self.is_shut(now):
            self._slow_start += count
            if self._slow_start >= self._capacity:
                self._slow_start = None
        if not self.steady:
            self._settle()

    def latency(self, seconds: float, in_flight: int, now: float) -> None:
        """One of them took so long, while *in_flight* were open."""
        if self._adaptive is not None:
            self._adaptive.sample(seconds, in_flight, now)

    def failed(self, count: int, trouble: Trouble, why: str, now: float, jitter: float) -> None:
        """*count* deliveries failed, and are to be tried again."""
        if trouble is Trouble.AWAY:
            return
        self._tell()
        if self._adaptive is not None:
            self._adaptive.overloaded(now)
        if self._slow_start is not None:
            self._slow_start = max(1, self._slow_start // 2)
        if self._breaker is not None and trouble is Trouble.ILL:
            before = self._breaker.state
            self._breaker.bad(count, why, now, jitter)
            if self._breaker.state == "open" and before != "open":
                self._slow_start = 1
        self._settle()

    def asked_to_wait(self, seconds: float, why: str, now: float, jitter: float) -> None:
        """Retry-After: not before *seconds* are over, for anything to this endpoint."""
        retry = self._rules.retry
        until = now + min(seconds, retry.max_retry_after_s) + retry.first_delay_s * jitter
        if self._asked_until is None or until > self._asked_until:
            self._asked_until, self._asked_why = until, why
        self._slow_start = 1
        self._settle()

    def stop(self, why: str) -> None:
        """No request, until ``resume``."""
        self._stopped = self._stopped or why
        self._settle()

    def resume(self) -> None:
        """A person has acted."""
        if self._stopped:
            self._stopped = ""
            self._slow_start = 1
            self._settle()

    def reopened(self) -> None:
        """The link was lost and is back: what answers now may not bear all at once."""
        if self._breaker is not None:
            self._slow_start = 1
            self._settle()

    # What may be done.

    def look(self, in_flight: int, stale: int, now: float) -> Allowance:
        """*stale*: deliveries in flight since before the endpoint was last shut."""
        if self._stopped:
            return Allowance(0, None)
        shut_until = self._shut_until(now)
        if shut_until is not None:
            return Allowance(0, shut_until)
        bound = self._capacity
        if self._slow_start is not None:
            bound = min(bound, stale + self._slow_start)
        if self._breaker is not None and self._breaker.state == "probing":
            bound = min(bound, stale + self._breaker.allowed)
        if self._adaptive is not None:
            bound = min(bound, self._adaptive.limit)
        again_at = None
        if self._rate is not None and in_flight < bound:
            tokens = max(0, int(self._rate.count(now) + ROUNDING))
            if in_flight + tokens < bound:
                bound = in_flight + tokens
                again_at = self._rate.when(tokens + 1, now)
        self._settle()
        return Allowance(bound, again_at)

    def took(self, count: int, now: float) -> None:
        """*count* deliveries are on their way."""
        if self._rate is not None:
            self._rate.add(-count, now)

    def retry_at(self, now: float) -> float:
        """When one more lane may be released for a retry."""
        self._tell()
        return now if self._budget is None else self._budget.when(1.0, now)

    def retried(self, now: float) -> None:
        """A lane was released for a retry."""
        if self._budget is not None:
            self._budget.add(-1.0, now)
            self._retries += 1

    @property
    def has_retries(self) -> bool:
        """Whether it wants to know what became of retries."""
        return self._retries > 0

    def retries_ended(self, succeeded: int, failed: int, now: float) -> None:
        """Retries that succeed cost the budget nothing."""
        succeeded = min(succeeded, self._retries)
        self._retries = max(0, self._retries - succeeded - failed)
        if self._budget is not None:
            self._budget.add(float(succeeded), now)

    # What can be seen.

    @property
    def is_ill(self) -> bool:
        """Whether its breaker is not closed."""
        return self._breaker is not None and self._breaker.state != "closed"

    def is_shut(self, now: float) -> bool:
        """Whether nothing goes."""
        return bool(self._stopped) or self._shut_until(now) is not None

    def standing(self, now: float) -> Standing:
        """In one word, why, and until when."""
        if self._stopped:
            return Standing("stopped", self._stopped)
        breaker = self._breaker
        asked = self._asked_until if self._asked_until is not None else now
        if breaker is not None and breaker.state == "open" and breaker.until > max(now, asked):
            return Standing("broken", breaker.why, breaker.until)
        if asked > now:
            return Standing("waiting", self._asked_why, asked)
        if breaker is not None and breaker.state != "closed":
            return Standing("recovering", breaker.why)
        return Standing("well" if self._slow_start is None else "recovering")

    def _tell(self) -> None:
        """Let breaker and budget know what was taken."""
        count, self._untold = self._untold, 0
        if count and self._budget is not None:
            self._budget.add(self._rules.retry.budget_ratio * count, self._untold_at)
        if self._breaker is not None:
            if count:
                self._breaker.good(count, self._untold_at)
            self._tell_at = self._breaker.roll_at

    def _shut_until(self, now: float) -> float | None:
        """The moment before which nothing goes; None when that is over."""
        until = None
        if self._asked_until is not None:
            if now < self._asked_until:
                until = self._asked_until
            else:
                self._asked_until = None
        if self._breaker is not None:
            self._breaker.look(now)
            if self._breaker.state == "open":
                until = max(self._breaker.until, until or 0.0)
        return until

    def _settle(self) -> None:
        self.steady = (
            self._rate is None
            and self._adaptive is None
            and self._slow_start is None
            and self._asked_until is None
            and not self._stopped
            and (self._breaker is None or self._breaker.state == "closed")
        )
