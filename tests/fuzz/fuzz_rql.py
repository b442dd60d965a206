"""No filter and no thing crashes, hangs or misleads the RQL parser and kernel."""

from __future__ import annotations

import contextlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.fuzz.fuzzer import instrumented, run

with instrumented():
    from streamproc.errors import ExpressionError
    from streamproc.kernels.rql import Filter
    from streamproc.kernels.signal import Signal, Topic
    from streamproc.lang import rql
    from tests.reference import rql as reference

NOW = datetime(2024, 1, 6, tzinfo=UTC)
THING = {
    "thingId": "ns:n",
    "_revision": 4,
    "attributes": {"a": 5, "b": "text\n5", "c": [1, "x", None, {"d": 2.5}], "n": None},
    "features": {"f": {"properties": {"p": True, "q": 1e300}}, "g": {}},
}
SEEDS = [
    b'eq(attributes/a,5)\0{"attributes":{"a":"5.0"}}',
    b'and(ne(thingId,"x"),or(gt(_revision,3),not(exists(features/f))))\0{}',
    b'in(attributes/c/d,1,2.5,"x",null,true,time:now-1h[d])\0{"attributes":{"c":[{"d":[]}]}}',
    b'ilike(attributes/b,"*TE?T*\\u0041")\0{"attributes":{"b":"text"}}',
    b"empty(features/f/properties)\0{}",
    b'like(topic:action,"m*d")\0{}',
]
TOKENS = [
    *(b"eq(", b"ne(", b"gt(", b"ge(", b"lt(", b"le(", b"like(", b"ilike(", b"in(", b"and(", b"or("),
    *(b"not(", b"exists(", b"empty(", b")", b",", b'"', b"'", b"\\", b"\\u00e4", b"\\ud83d\\ude00"),
    *(
        b"attributes/",
        b"attributes/a",
        b"attributes/c/d",
        b"features/f",
        b"/properties/p",
        b"thingId",
    ),
    *(b"_revision", b"topic:action", b"resource:path", b"feature:id", b"time:now", b"-1h", b"[d]"),
    *(b"true", b"false", b"null", b"5", b"-5.0", b"9223372036854775807", b"*", b"?", b"\0", b"{}"),
    *(
        b'{"attributes":',
        b'{"a":',
        b"[",
        b"]",
        b"}",
        b"1e400",
        b"\xf0\x9f\x98\x80",
        b"\xe2\x80\xa8",
    ),
]


def target(data: bytes) -> None:
    """A filter, NUL, a thing as JSON."""
    text, _, document = data.partition(b"\0")
    try:
        plan = rql.parse(text.decode(errors="replace"))
    except ExpressionError as error:
        if not 0 <= error.as_dict().get("position", 0) <= len(text):
            raise
        return
    things = [THING, {}]
    with contextlib.suppress(ValueError, RecursionError):
        things.append(_thing(document))
    run_plan = Filter(plan)
    outcomes = run_plan.matches_things(things, NOW)
    signals = [_signal(thing) for thing in things]
    assert run_plan.matches(signals, NOW) == [
        run_plan.explain(signal, NOW).outcome for signal in signals
    ]
    known = run_plan.may_match(signals, ("/attributes/a", "/features/*"), NOW)
    assert all(one in (0, 1, 2) for one in known)
    # The reference goes back in patterns, and would hang where the kernel does not.
    if text.count(b"*") <= 3:
        assert outcomes == reference.matches_things(plan, things, NOW)


def _thing(document: bytes) -> dict[str, Any]:
    thing = json.loads(document)
    if not isinstance(thing, dict):
        raise ValueError("no thing")
    return thing


def _signal(thing: dict[str, Any]) -> Signal:
    topic = Topic("ns/n/things/twin/events/merged", "ns", "n", "things", "twin", "events", "merged")
    return Signal(topic, "/", value=thing, revision=4)


if __name__ == "__main__":
    run(target, SEEDS, TOKENS)
