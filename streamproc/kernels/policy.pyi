from collections.abc import Callable
from typing import Protocol, TypeVar

from streamproc.kernels.signal import Signal

class _Rule(Protocol):
    @property
    def everywhere(self) -> bool | None: ...

_R = TypeVar("_R", bound=_Rule)

def decide(
    signals: list[Signal],
    subjects: tuple[str, ...] | None,
    write: bool,
    find: Callable[[str, tuple[str, ...], str, str], _R],
    verdict: Callable[[_R, str], bool],
) -> list[bool]: ...
