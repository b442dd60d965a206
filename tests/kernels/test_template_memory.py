"""A batch leaves nothing behind in the kernels of templates, whatever became of its messages."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from streamproc.kernels.enforcement import Enforcement
from streamproc.kernels.headers import InboundMapping, OutboundMapping
from streamproc.kernels.signal import Signal
from streamproc.kernels.template import Subjects, Template
from streamproc.lang.template import Scope, parse
from streamproc.protocol.topic import parse as parse_topic

TEMPLATES = [
    "{{ header:ID | fn:upper() | fn:replace('A',header:b) }}-{{ thing:name }}",
    "{{ request:subjectId | fn:filter('like',header:b) | fn:join(',') }}{{ feature:id }}",
    "{{ header:id | fn:split(',') }}{{ thing-json:attributes }}{{ time:now[d] }}",
    "{{ header:id | fn:base64-decode() | fn:url-encode() }}",
    "{{ header:json | fn:format('{a}:{#b}{.}{/b}') | fn:default('none') }}",
    "{{ header:none | fn:delete() }}",
]
RAW = [
    {"Id": f"value-{i},{i}", "b": "*", "json": '{"a":[1,2],"b":["x"]}', "bad": "%\n"}
    for i in range(50)
] + [{}, {"id": "YQ=="}]


def signals():
    made = []
    for i in range(len(RAW)):
        topic = parse_topic(f"a/b{i}/things/twin/events/modified")
        signal = Signal(topic, "/features/f", headers=dict(RAW[i]), value={"properties": {"x": i}})
        signal.extra = {"attributes": {"a": i}}
        signal.subjects = (f"a:{i}", "b")
        made.append(signal)
    return made


def plans(scope):
    return {f"h{i}": parse(text, scope) for i, text in enumerate(TEMPLATES)}


def runs_templates():
    templates = [Template(plan) for plan in plans(Scope.SIGNAL).values()]
    subjects = Subjects([parse("a:{{ header:id | fn:split(',') }}", Scope.MAPPER)], 100)

    def run():
        for template in templates:
            template.first(RAW, signals())
            template.all(RAW, signals())
        subjects.expand(RAW)

    return run


def runs_mappings():
    inbound = InboundMapping({**plans(Scope.SIGNAL), "x": parse("{{header:bad}}", Scope.SIGNAL)})
    outbound = OutboundMapping(plans(Scope.SIGNAL))

    def run():
        inbound.apply(RAW, signals())
        outbound.apply([{"H1": "x"} for _ in RAW], signals())

    return run


def runs_enforcement():
    filters = ["{{ thing:id }}", "{{ thing:id | fn:split(':') }}", "{{ policy:id }}"]
    check = Enforcement(
        parse("{{ header:id }}", Scope.ENFORCEMENT_INPUT),
        [parse(text, Scope.ENFORCEMENT_FILTER) for text in filters],
    )
    return lambda: check.check(check.inputs(RAW), signals())


@pytest.mark.parametrize("make", [runs_templates, runs_mappings, runs_enforcement])
def test_a_batch_leaves_nothing_behind(make):
    run = make()
    tracemalloc.start()
    try:
        for _ in range(3):  # what is cached on first use
            run()
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(20):
            run()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1000  # bytes; an object kept a message would be 50,000 or more
