"""What ``kernels/request.pyx`` does, to be read."""

from __future__ import annotations

from streamproc.kernels.delivery import Delivery

MOST_LINES = 48


def written(
    starts: dict[str, bytes],
    untyped: bytes,
    most_bytes: int,
    join_bytes: int,
    head: bytes,
    delivery: Delivery,
) -> bytes | tuple[bytes, bytes] | None:
    """Head, headers, length and payload; None where anything needs care."""
    headers = delivery.headers
    if len(headers) > MOST_LINES:
        return None
    for name, value in headers.items():
        if name not in starts or not (value.isascii() and value.isprintable()):
            return None
        head += starts[name] + value.encode("ascii")
    if "content-type" not in map(str.lower, headers):
        head += untyped
    if len(head) > most_bytes:
        return None
    head += f"\r\nContent-Length: {len(delivery.payload)}\r\n\r\n".encode("ascii")
    if len(delivery.payload) < join_bytes:
        return head + delivery.payload
    return head, delivery.payload
