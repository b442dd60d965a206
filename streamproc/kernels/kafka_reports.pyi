from collections.abc import Callable, Iterable
from typing import Any, final

from streamproc.kernels.delivery import Delivery

@final
class Reports:
    @property
    def open(self) -> dict[Delivery, None]: ...
    failed: list[tuple[Delivery, Any]]
    placed: Callable[[Delivery, Any], None] | None
    def __new__(cls) -> Reports: ...
    def write(
        self,
        deliveries: Iterable[Delivery],
        produce: Callable[..., None],
        places: dict[str, Any],
        find: Callable[[str], Any],
        mark: tuple[str, str],
        why: Callable[[Exception], Any],
    ) -> None: ...
    def report(self, delivery: Delivery) -> Callable[[Any, Any], None]: ...
    def take_delivered(self) -> list[Delivery]: ...
    def take_failed(self) -> list[tuple[Delivery, Any]]: ...
    def close(self, delivery: Delivery) -> None: ...
