from collections.abc import Sequence
from datetime import datetime
from typing import final

from streamproc.errors import SignalError
from streamproc.kernels.signal import Signal
from streamproc.lang.plan import Plan

@final
class Template:
    @property
    def plan(self) -> Plan: ...
    @property
    def constant(self) -> str | None: ...
    def __new__(cls, plan: Plan) -> Template: ...
    def first(
        self,
        headers: list[dict[str, str]],
        signals: list[Signal] | None = None,
        now: datetime | None = None,
    ) -> list[str | SignalError | None]: ...
    def all(
        self,
        headers: list[dict[str, str]],
        signals: list[Signal] | None = None,
        now: datetime | None = None,
    ) -> list[tuple[str, ...] | SignalError | None]: ...

@final
class Subjects:
    @property
    def constant(self) -> tuple[str, ...] | None: ...
    def __new__(cls, plans: Sequence[Plan], limit: int) -> Subjects: ...
    def expand(self, headers: list[dict[str, str]]) -> list[tuple[str, ...] | SignalError]: ...
