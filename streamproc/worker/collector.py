"""How often a worker looks for cyclic garbage: seldom, and once a minute for certain.

Messages are freed by reference counts; no cycle goes through them. But each is a few
containers, and the collector counts those that live: at Python's own thresholds it walks
through every message in flight for each few hundred that come, at up to a fifth of the CPU.
"""

from __future__ import annotations

import asyncio
import gc

# Containers made and still alive, before the youngest are looked at: some 10 MiB of messages.
YOUNG = 50_000
MIDDLE = 20
OLD = 50
COLLECT_S = 60.0


def collect_seldom() -> None:
    """Call once, when everything is imported: what is there now is never looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)


def collect_regularly() -> None:
    """From now on, on the running loop: a cycle may hold a socket or a thread of a link that
    is gone. With a full window of messages it takes some 10 ms.
    """
    gc.collect()
    asyncio.get_running_loop().call_later(COLLECT_S, collect_regularly)
