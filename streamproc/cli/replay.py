"""Has the running service send parked messages again, piece by piece, and tells how it goes."""

from __future__ import annotations

import sys
import time
import urllib.error
import urllib.request
from collections import Counter, deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec
import orjson

from streamproc.config.service import Service
from streamproc.errors import StreamprocError

AT_ONCE = 500
ANSWER_S = 30.0  # the service answers within 20
AGAIN_S = 0.5  # where nobody could take any
PLACED_WITHIN_S = 20.0  # a client that moves is nowhere for a moment
TOLD_EVERY_S = 1.0

_CONCLUDED = ("delivered", "spilled", "parked", "missing")
_WORDS = {
    "delivered": "delivered",
    "spilled": "on disk for their target",
    "parked": "failed again",
    "missing": "not there any more",
}


class NoService(StreamprocError):
    """Nothing answers at the management port."""

    code = "service_unreachable"
    status = 503


class _Answer(msgspec.Struct):
    outcomes: dict[str, list[int]]


class Clock(NamedTuple):
    """How time passes."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


Post = Callable[[list[int]], dict[str, list[int]]]


def replay(
    numbers: Iterable[int],
    post: Post,
    *,
    rate: float | None,
    wait_s: float,
    clock: Clock = Clock(),  # noqa: B008 - a constant
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
) -> bool:
    """Replay the entries, oldest first, at most *rate* new ones a second. -> whether all of
    them are delivered, or on disk for their target.

    Ends early when nothing has happened for *wait_s*; what is open by then stays parked unless
    its target takes it.
    """
    left = deque(numbers)
    total = len(left)
    counts: Counter[str] = Counter()
    open_: list[int] = []
    homeless: dict[int, float] = {}  # of the open ones: whose client runs nowhere, since when
    aside: list[int] = []  # for too long
    started = happened = told = clock.now()
    sent = 0
    reached = False
    while left or open_:
        now = clock.now()
        allowed = AT_ONCE - len(open_)
        if rate is not None:
            # What was not used of one second is lost: no bursts.
            sent = max(sent, int((now - started - 1.0) * rate))
            allowed = min(allowed, int((now - started) * rate) + 1 - sent)
        fresh = [left.popleft() for _ in range(min(max(0, allowed), len(left)))]
        sent += len(fresh)
        if not fresh and not open_:
            clock.sleep(0.01 if rate is None else min(1.0, 1.0 / rate))
            continue
        try:
            outcomes = post(open_ + fresh)
            reached = True
        except NoService:
            if not reached:
                raise
            outcomes = {"waiting": open_ + fresh}
            clock.sleep(AGAIN_S)
        for outcome in _CONCLUDED:
            counts[outcome] += len(outcomes.get(outcome, ()))
        now = clock.now()
        homeless = {number: homeless.get(number, now) for number in outcomes.get("unplaced", ())}
        aside += [n for n, since in homeless.items() if now - since > PLACED_WITHIN_S]
        homeless = {n: since for n, since in homeless.items() if now - since <= PLACED_WITHIN_S}
        open_ = sorted([*outcomes.get("waiting", ()), *homeless])
        if any(outcomes.get(outcome) for outcome in _CONCLUDED):
            happened = now
        elif now - happened > wait_s:
            break
        if now - told > TOLD_EVERY_S:
            told = now
            say(_told(counts, len(open_), total))
        if homeless and len(homeless) == len(open_):
            clock.sleep(AGAIN_S)
    aside += homeless
    say(_told(counts, total - sum(counts.values()), total))
    if aside:
        some = ", ".join(map(str, sorted(aside)[:10])) + (", ..." if len(aside) > 10 else "")
        say(f"{len(aside)} are for connections that are not open, and stay parked: {some}")
    if len(open_) > len(homeless):
        say("what waits is with its target's worker, and stays parked until it is delivered")
    return counts["delivered"] + counts["spilled"] == total


def _told(counts: Counter[str], waiting: int, total: int) -> str:
    parts = [f"{counts[outcome]} {_WORDS[outcome]}" for outcome in _CONCLUDED if counts[outcome]]
    parts += [f"{waiting} waiting"] if waiting else []
    return f"of {total}: {', '.join(parts) or 'nothing to do'}"


def poster(url: str) -> Post:
    """Asks the service whose management port is at *url*."""
    if not url.startswith(("http://", "https://")):
        raise StreamprocError(f"expected the url of the management port, found {url!r}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def post(numbers: list[int]) -> dict[str, list[int]]:
        request = urllib.request.Request(  # noqa: S310 - http, as checked above
            f"{url.rstrip('/')}/parked/replay",
            orjson.dumps({"entries": numbers}),
            {"Content-Type": "application/json"},
            method="POST",
        )
        try:
            with opener.open(request, timeout=ANSWER_S) as answer:
                return msgspec.json.decode(answer.read(), type=_Answer).outcomes
        except urllib.error.HTTPError as error:
            said = error.read(1000).decode("utf-8", "replace")
            if error.code == 429:
                return {"waiting": numbers}
            raise StreamprocError(f"{url} answered {error.code}: {said.strip()}") from None
        except (OSError, msgspec.MsgspecError) as error:
            reason = getattr(error, "reason", None) or error
            raise NoService(
                f"no service answers at {url} ({reason}): a replay needs it running"
            ) from None

    return post


def management_url(service: Service, runtime_dir: Path | None) -> str:
    """Where the management port of *service* is."""
    if runtime_dir is not None:
        try:
            return "http://" + (runtime_dir / "management").read_text().strip()
        except OSError as error:
            raise NoService(f"no service runs in {runtime_dir}: {error.strerror}") from None
    listener = service.management
    if listener.port == 0:
        raise NoService(
            "the management port is chosen at start: name it with --url, or the "
            "service's --runtime-dir"
        )
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listener.host, listener.host)  # noqa: S104
    return f"http://[{host}]:{listener.port}" if ":" in host else f"http://{host}:{listener.port}"
