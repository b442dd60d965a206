"""``time:now...``: the moment a rule runs, shifted and truncated. Text to plan to text.

    now | now_epoch_millis   then  [+-]<amount><unit>   then  [<unit>]
    units: ms s m h d w mo y; an amount without a unit is seconds

A month is 30 days and a year 365 days long where they shift, as in Ditto. Truncation uses
UTC, so that one configuration gives one result on every machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NoReturn

from streamproc.errors import ExpressionError

UNITS: Final[dict[str, timedelta]] = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(days=7),
    "mo": timedelta(days=30),
    "y": timedelta(days=365),
}
# Far enough for every rule, near enough that no clock of today leaves the calendar.
MAX_SHIFT: Final = timedelta(days=365_000)

_NAMES: Final = ("now_epoch_millis", "now")  # the longer first: both begin alike
_SHIFT: Final = re.compile(r"([+-])([0-9]*)([a-z]*)")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class TimePlan:
    """A parsed time expression. ``text`` is what followed ``time:``."""

    text: str
    epoch_millis: bool
    shift: timedelta
    truncate_to: str | None  # one of UNITS

    def resolve(self, now: datetime | None = None) -> str:
        """ISO-8601 in UTC, or milliseconds since 1970 as digits. *now* must carry a zone."""
        moment = datetime.now(UTC) if now is None else now.astimezone(UTC)
        moment += self.shift
        if self.truncate_to is not None:
            moment = _CLEAR[self.truncate_to](moment)
        if self.epoch_millis:
            return str((moment - _EPOCH) // _MILLISECOND)
        return _iso(moment)


def parse(text: str) -> TimePlan:
    """Parse what follows ``time:``. Raises ExpressionError ``placeholder:unresolved``."""
    name = next((name for name in _NAMES if text.startswith(name)), None)
    if name is None:
        _fail(text, 0, "does not begin with now or now_epoch_millis", "time:now")
    at = len(name)
    shift = timedelta()
    found = _SHIFT.match(text, at)
    if found is not None:
        shift = _shift(text, at, *found.groups())
        at = found.end()
    unit = None
    if text.startswith("[", at):
        end = text.find("]", at)
        unit = text[at + 1 : end] if end >= 0 else text[at + 1 :]
        if end < 0 or unit not in UNITS:
            _fail(text, at, f"{unit!r} is no unit to truncate to", f"write one of {_units('[{}]')}")
        at = end + 1
    if at != len(text):
        _fail(text, at, f"{text[at:]!r} is not expected here", "time:now-1h[m] has all parts")
    return TimePlan(text, name == "now_epoch_millis", shift, unit)


def _shift(text: str, at: int, sign: str, amount: str, unit: str) -> timedelta:
    if not amount:
        _fail(text, at + 1, f"no amount after {sign!r}", f"write a number, as in time:now{sign}1h")
    length = UNITS.get(unit or "s")
    if length is None:
        _fail(text, at + 1 + len(amount), f"{unit!r} is no unit", f"write one of {_units('{}')}")
    # Digits first: a number of a thousand digits is refused before it is computed.
    if len(amount.lstrip("0")) > 15 or int(amount) > MAX_SHIFT // length:
        _fail(text, at + 1, f"{amount}{unit} is longer than 1000 years", "")
    return -int(amount) * length if sign == "-" else int(amount) * length


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


# What lies below a unit, cleared.
_CLEAR: Final[dict[str, Callable[[datetime], datetime]]] = {
    "ms": lambda moment: moment - timedelta(microseconds=moment.microsecond % 1000),
    "s": lambda moment: moment.replace(microsecond=0),
    "m": lambda moment: moment.replace(second=0, microsecond=0),
    "h": lambda moment: moment.replace(minute=0, second=0, microsecond=0),
    "d": _midnight,
    "w": lambda moment: _midnight(moment) - timedelta(days=moment.weekday()),
    "mo": lambda moment: _midnight(moment).replace(day=1),
    "y": lambda moment: _midnight(moment).replace(month=1, day=1),
}


def _iso(moment: datetime) -> str:
    """As few digits of the second as say it: none, three or six."""
    if moment.microsecond == 0:
        precision = "seconds"
    elif moment.microsecond % 1000 == 0:
        precision = "milliseconds"
    else:
        precision = "microseconds"
    return moment.replace(tzinfo=None).isoformat(timespec=precision) + "Z"


def _units(shape: str) -> str:
    return " ".join(shape.format(unit) for unit in UNITS)


def _fail(text: str, position: int, what: str, hint: str) -> NoReturn:
    raise ExpressionError(
        "placeholder:unresolved", f"time:{text} is not known: {what}", position=position, hint=hint
    )
