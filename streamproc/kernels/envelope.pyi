from typing import Final

from streamproc.errors import SignalError
from streamproc.kernels.signal import Signal

MAX_DEPTH: Final[int]
MAX_SEGMENTS: Final[int]

def parse(payloads: list[bytes], max_header_bytes: int) -> list[Signal | SignalError]: ...
def encode(signals: list[Signal]) -> list[bytes]: ...
