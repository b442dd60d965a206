"""A name for a delivery by which a receiver knows that it comes again.

It holds for the retries of a delivery in this process. Where repeats after a restart must be
known too, the connection maps the header ``webhook-id`` itself.
"""

from __future__ import annotations

import os
import struct
from hashlib import blake2b

from streamproc.kernels.delivery import Delivery

_PROCESS = os.urandom(16)
_PACKED = struct.Struct("=dQ").pack


def message_id(delivery: Delivery) -> str:
    """``msg_`` and 32 hex digits."""
    if delivery.born == 0.0:  # was never in a lane: nothing tells two of them apart for sure
        return f"msg_{os.urandom(16).hex()}"
    # Those of one birth are alive together, so their addresses in memory differ.
    name = _PACKED(delivery.born, id(delivery))
    return f"msg_{blake2b(name, digest_size=16, key=_PROCESS).hexdigest()}"
