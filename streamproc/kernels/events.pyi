from collections.abc import Callable
from typing import Protocol

from streamproc.errors import SignalError
from streamproc.kernels.signal import Signal

class _Resource(Protocol):
    @property
    def types(self) -> tuple[type, ...]: ...

def to_events(
    signals: list[Signal],
    now: str,
    rule: Callable[[Signal, str], Signal | None],
    known: Callable[[str], _Resource | None],
    steering: frozenset[str],
) -> list[Signal | SignalError | None]: ...
