"""How often a worker looks for cyclic garbage: seldom.

Messages are freed by reference counts; no cycle goes through them. But each is a few
containers, and the collector counts those that live: at Python's own thresholds it walks
through every message in flight for each few hundred that come, at up to a fifth of the CPU.
"""

from __future__ import annotations

import gc

# Containers made and still alive, before the youngest are looked at: some 10 MiB of messages.
YOUNG = 50_000
MIDDLE = 20
OLD = 50


def collect_seldom() -> None:
    """Call once, when everything is imported: what is there now is never looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
