"""Parked deliveries: an append-only file of JSON lines, bounded in size.

What a target refuses for good is kept here with its reason, so that nothing vanishes. When
the file is full the delivery stays in its lane instead: back-pressure, never a drop.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Sequence
from pathlib import Path

import orjson

from streamproc.errors import RunnerError
from streamproc.kernels.delivery import Delivery


class ParkingFile:
    """``parked-<worker>.ndjson``. One line a delivery: time, connection, target, reason,
    address, key, headers, attempts, payload (text, or base64 where it is not UTF-8).
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.max_bytes = max_bytes
        self.used_bytes = os.fstat(self._descriptor).st_size

    def park(self, connection_id: str, deliveries: Sequence[Delivery], error: RunnerError) -> int:
        """Write the first of *deliveries* that fit, whole lines only. -> how many."""
        taken = 0
        lines: list[bytes] = []
        room = self.max_bytes - self.used_bytes
        for delivery in deliveries:
            line = _line(connection_id, delivery, error)
            if len(line) > room:
                break
            room -= len(line)
            lines.append(line)
            taken += 1
        if not lines:
            return 0
        data = b"".join(lines)
        try:
            written = os.write(self._descriptor, data)
        except OSError:  # disk full and the like: the lane keeps them
            return 0
        if written != len(data):
            os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
            return 0
        self.used_bytes += written
        return taken

    def close(self) -> None:
        os.close(self._descriptor)


def _line(connection_id: str, delivery: Delivery, error: RunnerError) -> bytes:
    try:
        payload = {"payload": delivery.payload.decode()}
    except UnicodeDecodeError:
        payload = {"payloadBase64": base64.b64encode(delivery.payload).decode()}
    return orjson.dumps(
        {
            "time": time.time(),
            "connection": connection_id,
            "target": delivery.target,
            "reason": error.code,
            "message": str(error),
            "attempts": delivery.attempts,
            "address": delivery.address,
            "key": delivery.key,
            "headers": delivery.headers,
            **payload,
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )
