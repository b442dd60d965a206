"""The op ``acks``: every kind, and what is no case."""

from __future__ import annotations

from typing import Any

import pytest

from streamproc.errors import StreamprocError
from streamproc.evaluate.acks import acknowledgements as answer


def test_a_filter_sees_the_external_headers() -> None:
    def asked(qos: str | None, labels: list[str] | None) -> Any:
        headers = {} if qos is None else {"QoS": qos}
        return answer(
            {
                "kind": "requestedAcksFilter",
                "requestedAcks": labels,
                "externalHeaders": headers,
                "filter": "fn:filter(header:qos,'ne','0')",
            }
        )

    assert asked("0", ["abc"]) == []
    assert asked("1", ["abc"]) == ["abc"]
    assert asked("0", None) == []
    assert asked("1", None) == {"absent": True}


def test_what_a_source_includes() -> None:
    case = {"kind": "requestedAcksFilter", "requestedAcks": ["abc"], "includes": ["def"]}
    assert answer(case) == ["abc", "def"]
    assert answer(case | {"requestedAcks": []}) == []


@pytest.mark.parametrize(
    ("label", "valid"),
    [
        ("{{connection:id}}:abc", True),
        ("{{ connection:id }}:abc", False),
        ("{{connection:ID}}:abc", False),
        ("{{connection:id}}:{{connection:id}}:abc", False),
        ("a" * 165, True),
        ("a" * 166, False),
        ("abc\n", False),
        ("äbc", False),
    ],
)
def test_labels_are_those_of_ditto(label: str, valid: bool) -> None:
    case = {"kind": "label", "label": label}
    if valid:
        assert answer(case) == "valid"
        return
    with pytest.raises(StreamprocError) as caught:
        answer(case)
    assert caught.value.code == "acknowledgement:label.invalid"


def test_errors_and_headers() -> None:
    failed = {"kind": "exceptionToAck", "exception": {"status": 503, "message": "away"}}
    assert answer(failed) == {"status": 503, "payload": {"message": "away"}}
    assert answer({"kind": "headerInteraction", "headers": {"timeout": "2s"}}) == {
        "requestedAcks": ["twin-persisted"],
        "responseRequired": True,
        "timeoutMs": 2000,
    }
    with pytest.raises(StreamprocError):
        answer({"kind": "headerInteraction", "headers": {"timeout": "soon"}})


@pytest.mark.parametrize(
    "case",
    [
        {},
        {"kind": "nope"},
        {"kind": "aggregate", "requested": "abc"},
        {"kind": "aggregate", "requested": ["abc"], "received": [{"label": "abc"}]},
        {"kind": "settlement"},
        {"kind": "settlement", "input": {"exceptionStatus": True}},
        {"kind": "requestedAcksFilter", "requestedAcks": [1]},
        {"kind": "requestedAcksFilter", "filter": "fn:nope()"},
        {"kind": "httpResponseToAck", "issuedAckLabel": "a", "response": {"status": "200"}},
        {"kind": "headerInteraction", "channel": "none"},
    ],
)
def test_what_is_no_case(case: dict[str, Any]) -> None:
    with pytest.raises(StreamprocError):
        answer(case)
