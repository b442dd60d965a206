from typing import Any, final

from streamproc.protocol.acks import Wanted

@final
class Delivery:
    @property
    def target(self) -> int: ...
    @property
    def key(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def headers(self) -> dict[str, str]: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def size(self) -> int: ...
    @property
    def place(self) -> int: ...
    owner: Any
    wanted: Wanted | None
    attempts: int
    born: float
    def __new__(
        cls,
        target: int,
        key: str,
        address: str,
        headers: dict[str, str],
        payload: bytes,
        owner: Any = None,
    ) -> Delivery: ...
