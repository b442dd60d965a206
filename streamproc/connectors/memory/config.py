"""Options of the memory connector. Imports nothing but msgspec."""

from __future__ import annotations

from streamproc.config.section import Section


class MemoryOptions(Section, frozen=True, kw_only=True):
    """Queues inside one worker process, named by the addresses. For tests."""
