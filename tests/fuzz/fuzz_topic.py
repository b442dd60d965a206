"""No target topic crashes or hangs its parser; what it accepts, it keeps."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.fuzz.fuzzer import instrumented, run

with instrumented():
    from streamproc.errors import ExpressionError
    from streamproc.lang import target_topic

CODES = {
    *("connectivity:topic.invalid", "rql.expression.invalid", "json.pointer.invalid"),
    *("json.fieldselector.invalid", "things:field.selection.invalid"),
}
SEEDS = [
    *(name.encode() for name in target_topic.TOPICS),
    b"_/_/things/twin/events?namespaces=a,b&filter=gt(attributes/a,4)&extraFields=attributes",
    b"_/_/things/live/messages?filter=eq(topic:subject,%22a%2Bb%22)",
    b"_/_/things/twin/events?extraFields=features/*/properties/x,thingId,_context/topic",
    b"_/_/things/twin/events?extraFields=features/{{feature:id}}/properties/x",
]
TOKENS = [
    *(
        b"_/_/things/twin/events?",
        b"namespaces=",
        b"filter=",
        b"extraFields=",
        b"&",
        b"=",
        b"?",
        b"+",
    ),
    *(
        b"%2B",
        b"%",
        b"%zz",
        b"%C3%A4",
        b"%ff",
        b"attributes",
        b"features/",
        b"thingId",
        b",",
        b"//",
    ),
    *(b" ", b"eq(", b"thingId", b")", b"{{", b"}}", b"(", b"*", b"/", b"\xc3\xa4", b"_context"),
]


def target(data: bytes) -> None:
    """A target topic."""
    text = data.decode(errors="replace")
    for check in (True, False):
        try:
            topic = target_topic.parse(text, check_filter=check)
        except ExpressionError as error:
            refused = error.as_dict()["error"]
            if refused not in CODES:
                raise
            continue
        assert topic.raw == text
        assert text.startswith(topic.topic)
        assert (topic.plan is not None) == (topic.filter is not None and check)
        if topic.extra_fields is not None:
            assert topic.extra_fields.select({}) == {}


if __name__ == "__main__":
    run(target, SEEDS, TOKENS)
