"""Templates, header mapping and enforcement agree with Ditto, case by case."""

from __future__ import annotations

import json
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

from streamproc.errors import StreamprocError
from streamproc.evaluate import template as evaluate

CORPUS = Path(__file__).parents[4] / "shared" / "corpus"
FILES = ["placeholders", "functions", "header_mapping", "enforcement"]
OPS = {
    "template": evaluate.template,
    "header-mapping": evaluate.header_mapping,
    "enforcement": evaluate.enforcement,
}


def answer(case):
    try:
        return {"result": json.loads(json.dumps(OPS[case["op"]](case)))}
    except StreamprocError as error:
        return {"error": error.code, "message": str(error)}


@pytest.mark.skipif(not CORPUS.is_dir(), reason="no conformance corpus beside the project")
@pytest.mark.parametrize("name", FILES)
def test_corpus(name, monkeypatch):
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    spec = spec_from_loader("check", SourceFileLoader("check", str(CORPUS / "check")))
    assert spec is not None
    assert spec.loader is not None
    check = module_from_spec(spec)
    spec.loader.exec_module(check)
    cases = json.loads((CORPUS / f"{name}.json").read_text())["cases"]
    counted = [case for case in cases if not case.get("quirk")]
    assert len(counted) > 10
    assert [case["id"] for case in counted if not check.agrees(case, answer(case))] == []


def one(op, **case):
    return answer({"op": op, **case})


def test_states():
    assert one("template", template="{{ header:a }}", context={}) == {
        "result": {"unresolved": True}
    }
    assert one("template", template="{{ fn:delete() }}") == {"result": {"deleted": True}}
    assert one("template", template="a") == {"result": "a"}
    several = one("template", template="{{ request:subjectId }}", context={"subjects": ["a", "b"]})
    assert several == {"result": ["a", "b"]}


@pytest.mark.parametrize(
    "case",
    [
        {"op": "template"},
        {"op": "template", "template": 1},
        {"op": "template", "template": "", "context": {"headers": {"a": 1}}},
        {"op": "template", "template": "", "context": {"headers": []}},
        {"op": "template", "template": "", "context": {"now": "yesterday"}},
        {"op": "template", "template": "", "context": {"now": "2024-01-01T00:00:00"}},
        {"op": "template", "template": "", "context": {"message": []}},
        {"op": "template", "template": "", "context": {"message": {"path": "/"}}},
        {"op": "template", "template": "", "context": []},
        {"op": "template", "template": "", "context": {"subjects": [1]}},
        {"op": "template", "template": "", "context": {"thing": []}},
        {"op": "template", "template": "", "context": {"extra": 1}},
        {"op": "template", "template": "", "context": {"resource": "x"}},
        {"op": "template", "template": "", "context": {"connectionId": 1}},
        {"op": "header-mapping", "mapping": {}, "direction": "sideways"},
        {"op": "header-mapping", "mapping": [], "direction": "inbound"},
        {"op": "enforcement", "input": "a"},
        {"op": "enforcement", "input": "a", "filters": [1]},
    ],
)
def test_a_case_that_is_not_as_its_op_wants_it(case):
    assert answer(case)["error"] == "eval.case.invalid"


def test_an_unknown_topic_is_told():
    found = one("template", template="", context={"topic": "a/b"})
    assert found["error"] == "protocoladapter:unknown.topicpath"


def test_an_unknown_function_in_a_filter_is_an_error_whatever_the_others_say():
    found = one(
        "enforcement",
        input="a:b",
        filters=["{{ thing:id }}", "{{ thing:id | fn:nope() }}"],
        context={"thingId": "a:b"},
    )
    assert found["error"] == "placeholder:function.unknown"


@pytest.mark.parametrize("direction", ["inbound", "outbound"])
def test_a_header_mapping_has_the_clock_of_its_case(direction):
    case = {
        "direction": direction,
        "mapping": {"at": "{{ time:now-1h }}"},
        "context": {"now": "2024-01-06T14:23:42.123Z"},
    }
    assert evaluate.header_mapping(case) == {"at": "2024-01-06T13:23:42.123Z"}
