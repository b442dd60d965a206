"""How log lines look, and how many there may be. What they say is in ``events.py``.

JSON lines on standard error, pretty on a terminal. Each event of each connection has so many
lines a minute; what is beyond is counted and told in one line when the minute is over. No
line shows a secret.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable
from typing import TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from streamproc.config.service import Log
from streamproc.telemetry.redact import Text, mask, text_filter

WINDOW_S = 60.0
MAX_KEYS = 10_000  # (event, connection) pairs told apart
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

Key = tuple[str, str]


class Budget:
    """How many lines of a key may still be told in its minute. Pure but for what it keeps."""

    def __init__(self, per_window: int) -> None:
        self._per_window = per_window
        self._windows: dict[Key, list[float]] = {}  # key -> [end, lines, lines held back, count]

    def allows(self, key: Key, count: float, now: float) -> bool:
        """Whether one more line fits; *count* is how many things it tells of."""
        window = self._windows.get(key)
        if window is None:
            if len(self._windows) >= MAX_KEYS:
                key = ("", "")  # a flood of keys shares one budget
            window = self._windows.setdefault(key, [now + WINDOW_S, 0, 0, 0])
        if window[1] < self._per_window:
            window[1] += 1
            return True
        window[2] += 1
        window[3] += count
        return False

    def ended(self, now: float) -> list[tuple[Key, int, float]]:
        """Forget windows that are over; of each that held lines back: key, lines, count."""
        over = [key for key, window in self._windows.items() if window[0] <= now]
        ended = [(key, self._windows.pop(key)) for key in over]
        return [(key, int(window[2]), window[3]) for key, window in ended if window[2]]


class Output:
    """The log of this process: budget, secrets and writer as structlog processors."""

    def __init__(
        self, config: Log, process: str, stream: TextIO, clock: Callable[[], float] = time.monotonic
    ) -> None:
        pretty = config.format == "pretty" or (config.format == "auto" and stream.isatty())
        self.made_of = (config, process)
        self.secrets: set[str] = set()
        self._process = process
        self._clock = clock
        self._budget = Budget(config.per_event_per_minute)
        self._next_sweep = clock() + WINDOW_S / 4
        self._text: Text = text_filter()
        self._render: Processor = (
            structlog.dev.ConsoleRenderer(
                colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
            if pretty
            else _json
        )
        structlog.configure(
            processors=[
                self._allow,
                self._stamp,
                structlog.processors.format_exc_info,
                self._mask,
                self._render,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(LEVELS[config.level]),
            logger_factory=lambda *_: _Writer(stream),
            cache_logger_on_first_use=False,
        )
        logging.basicConfig(handlers=[_Library()], level=logging.WARNING, force=True)

    def hide(self, secrets: Iterable[str]) -> None:
        """Never show these values from now on, wherever they turn up."""
        self.secrets.update(secrets)
        self._text = text_filter(self.secrets)

    def masked(self, value: object) -> object:
        """*value* as it may be shown: in a log, in an answer."""
        return mask(value, self._text)

    def flush(self) -> None:
        """Tell what was held back in minutes that are over. To be called now and then."""
        now = self._clock()
        self._next_sweep = now + WINDOW_S / 4
        for (event, connection), lines, count in self._budget.ended(now):
            structlog.get_logger().warning(
                "lines_suppressed",
                of=event,
                lines=lines,
                count=int(count),
                **({"connection": connection} if connection else {}),
            )

    def _allow(self, _: WrappedLogger, __: str, line: EventDict) -> EventDict:
        if line["event"] == "lines_suppressed":
            return line
        now = self._clock()
        if now >= self._next_sweep:
            self.flush()
        key = (str(line["event"]), str(line.get("connection", "")))
        if not self._budget.allows(key, line.get("count", 1), now):
            raise structlog.DropEvent
        return line

    def _stamp(self, _: WrappedLogger, level: str, line: EventDict) -> EventDict:
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        head = {"timestamp": f"{stamp}.{int(now % 1 * 1000):03}Z", "level": level}
        return {**head, "process": self._process, **line}

    def _mask(self, _: WrappedLogger, __: str, line: EventDict) -> EventDict:
        masked = mask(line, self._text)
        assert isinstance(masked, dict)
        return masked


class _Writer:
    """Writes whole lines. A log that cannot be written must not stop messages."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def _write(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            pass  # standard error is full or closed

    debug = info = warning = error = critical = msg = _write


class _Library(logging.Handler):
    """Warnings of libraries, asyncio among them, in the same form and under the same budget."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger()
        tell = log.error if record.levelno >= logging.ERROR else log.warning
        tell(
            "library_warned",
            library=record.name,
            message=record.getMessage(),
            exc_info=record.exc_info,
        )


def _json(_: WrappedLogger, __: str, line: EventDict) -> str:
    return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def standard(config: Log, process: str) -> Output:
    """The usual output: standard error."""
    return Output(config, process, sys.stderr)
