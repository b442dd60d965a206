from typing import final

from streamproc.kernels.delivery import Delivery

@final
class RequestWriter:
    def __new__(
        cls, starts: dict[str, bytes], untyped: bytes, most_bytes: int, join_bytes: int
    ) -> RequestWriter: ...
    def write(self, head: bytes, delivery: Delivery) -> bytes | tuple[bytes, bytes] | None: ...
