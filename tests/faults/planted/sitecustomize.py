"""Imported by workers that a test starts with this folder on PYTHONPATH: plants a way to die.

The product knows nothing of it. A payload with ``die:<way>`` ends the process that works it
out, or, with ``die-writing:<way>``, the one that writes it to its target.
"""

import ctypes
import os
import sys
import time
from collections.abc import Callable, Iterable

WAYS: dict[str, Callable[[], object]] = {
    "abort": os.abort,  # as a failed assertion in C does
    "segv": lambda: ctypes.string_at(0),
    "exit": lambda: os._exit(70),
    "hang": lambda: time.sleep(900),  # with the loop: silence, and the master kills it
}


def meet(payloads: Iterable[bytes], words: bytes) -> None:
    """Die if one of them says so."""
    for payload in payloads:
        at = payload.find(words)
        if at >= 0:
            way = payload[at + len(words) :].partition(b'"')[0]
            WAYS[way.decode()]()


if "streamproc.worker" in sys.orig_argv:
    from streamproc.connectors.http_push.target import HttpPushTarget
    from streamproc.worker.flow import Flow

    call, write = Flow.__call__, HttpPushTarget.write

    def deadly_call(self, batch, entries, window):
        meet(batch.payloads, b"die:")
        return call(self, batch, entries, window)

    def deadly_write(self, deliveries):
        meet((delivery.payload for delivery in deliveries), b"die-writing:")
        return write(self, deliveries)

    Flow.__call__ = deadly_call
    HttpPushTarget.write = deadly_write
