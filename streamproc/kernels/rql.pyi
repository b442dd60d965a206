from datetime import datetime
from typing import Any, final

from streamproc.kernels.signal import Signal
from streamproc.kernels.thing import thing_of as thing_of
from streamproc.lang.rql_plan import Explanation, Plan

__all__ = ["Filter", "thing_of"]

@final
class Filter:
    @property
    def plan(self) -> Plan: ...
    def __new__(cls, plan: Plan) -> Filter: ...
    def matches(self, signals: list[Signal], now: datetime | None = None) -> list[bool]: ...
    def may_match(
        self, signals: list[Signal], covered: tuple[str, ...], now: datetime | None = None
    ) -> list[int]: ...
    def matches_things(
        self, things: list[dict[str, Any]], now: datetime | None = None
    ) -> list[bool]: ...
    def explain(self, signal: Signal, now: datetime | None = None) -> Explanation: ...
