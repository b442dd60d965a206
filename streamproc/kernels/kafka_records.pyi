from collections.abc import Iterable
from typing import Any, final

TRANSPORT: tuple[str, str, str]

def runs(records: list[Any]) -> list[tuple[str, int, int, int]]: ...

@final
class RecordReader:
    def __new__(cls, ids: Iterable[str]) -> RecordReader: ...
    def read(
        self, records: list[Any], topic: str
    ) -> tuple[list[bytes], list[dict[str, str]], list[int], bool]: ...
