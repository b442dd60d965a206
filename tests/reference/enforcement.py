"""What ``streamproc.kernels.enforcement`` computes, slowly and obviously."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamproc.errors import SignalError
from streamproc.kernels.signal import Signal
from streamproc.lang.plan import Plan
from tests.reference import sources
from tests.reference.template import Template

FAILED = "connectivity:connection.id.enforcement.failed"
UNRESOLVED = "placeholder:unresolved"


class Enforcement:
    def __init__(self, input_plan: Plan, filter_plans: Sequence[Plan]) -> None:
        self.input = Template(input_plan)
        self.filters = [Template(plan) for plan in filter_plans]

    def inputs(self, headers: Sequence[Mapping[str, str]]) -> list[Any]:
        return [
            SignalError(UNRESOLVED, "") if value is None else value
            for value in self.input.first(headers)
        ]

    def check(self, inputs: Sequence[Any], signals: Sequence[Signal]) -> list[SignalError | None]:
        return [self._check(*pair) for pair in zip(inputs, signals, strict=True)]

    def _check(self, proven: Any, signal: Signal) -> SignalError | None:
        if isinstance(proven, SignalError):
            return proven
        if sources.entity_id(signal) is None:
            return SignalError(FAILED, "")
        outcomes = [template.all([{}], [signal])[0] for template in self.filters]
        if any(isinstance(values, tuple) and proven in values for values in outcomes):
            return None
        errors = [outcome for outcome in outcomes if isinstance(outcome, SignalError)]
        if errors:
            return errors[-1]
        return SignalError(FAILED if any(outcomes) or not outcomes else UNRESOLVED, "")
