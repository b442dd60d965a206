"""Durations as Ditto writes them: ``60s``, ``500ms``, ``1m``; a bare number is seconds."""

from __future__ import annotations

import re

_DURATION = re.compile(r"(\+?[0-9]{1,15}|-0{1,15})(ms|mo|s|m|h|d|w|y)?\Z")
_SECONDS = {
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 604800.0,
    "mo": 2592000.0,
    "y": 31536000.0,
}


def seconds(text: str) -> float | None:
    """The length of a duration, or None where *text* is none."""
    match = _DURATION.match(text.strip())
    return float(match[1]) * _SECONDS[match[2] or "s"] if match else None
