"""The live line: how fast it goes now."""

from __future__ import annotations

from typing import TextIO

from streamproc.demo.books import Service

CLEAR = "\r\x1b[K"


class View:
    """Shows figures: one line that is redrawn on a terminal, a line each elsewhere."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._redraws = out.isatty()
        self._before: tuple[float, Service] | None = None

    @property
    def every_s(self) -> float:
        """Seconds between lines."""
        return 0.5 if self._redraws else 1.0

    def say(self, text: str) -> None:
        """A line that stays."""
        start = CLEAR if self._redraws else ""
        self._out.write(f"{start}{text}\n")
        self._out.flush()

    def show(self, now: float, figures: Service) -> None:
        """The figures at *now*, in seconds, against those before."""
        then, before = self._before or (now - self.every_s, figures)
        self._before = (now, figures)
        seconds = max(now - then, 0.001)
        line = (
            f"received {(figures.received - before.received) / seconds:8,.0f}/s   "
            f"delivered {(figures.delivered - before.delivered) / seconds:8,.0f}/s   "
            f"in flight {figures.in_flight:6,d}   parked {figures.parked:,d}"
        )
        if self._redraws:
            self._out.write(CLEAR + line)
        else:
            self._out.write(line + "\n")
        self._out.flush()
