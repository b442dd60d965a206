from collections.abc import Sequence
from typing import final

from streamproc.errors import SignalError
from streamproc.kernels.signal import Signal
from streamproc.lang.plan import Plan

@final
class Enforcement:
    def __new__(cls, input_plan: Plan, filter_plans: list[Plan]) -> Enforcement: ...
    def inputs(self, headers: list[dict[str, str]]) -> list[str | SignalError]: ...
    def check(
        self, inputs: Sequence[str | SignalError], signals: list[Signal]
    ) -> list[SignalError | None]: ...
