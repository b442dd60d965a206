from datetime import datetime
from typing import final

from streamproc.errors import SignalError
from streamproc.kernels.signal import Signal
from streamproc.lang.plan import Plan

@final
class InboundMapping:
    @property
    def ignored(self) -> tuple[str, ...]: ...
    def __new__(cls, plans: dict[str, Plan]) -> InboundMapping: ...
    def apply(
        self,
        raw_headers: list[dict[str, str]],
        signals: list[Signal],
        now: datetime | None = None,
    ) -> list[SignalError | None]: ...

@final
class OutboundMapping:
    def __new__(cls, plans: dict[str, Plan]) -> OutboundMapping: ...
    def apply(
        self,
        message_headers: list[dict[str, str]],
        signals: list[Signal],
        now: datetime | None = None,
    ) -> list[dict[str, str] | SignalError]: ...
