"""``eval`` of RQL filters and of target topics."""

from __future__ import annotations

from typing import Any

from streamproc.evaluate.context import bad_case, context_of, now_of, signal_of, text
from streamproc.kernels.rql import Filter
from streamproc.kernels.signal import ABSENT, Signal
from streamproc.lang import rql as language
from streamproc.lang import target_topic as topics
from streamproc.lang.rql_plan import Explanation

Case = dict[str, Any]


def rql(case: Case) -> Any:
    """``"valid"`` for kind parse and validate; the outcome for evaluate.

    With ``explain`` in the case: the outcome and why, expression by expression.
    """
    kind = case.get("kind", "evaluate")
    expression = text(case.get("filter"), "filter")
    if kind in ("parse", "validate"):
        language.parse(expression, check_properties=kind == "validate")
        return "valid"
    if kind != "evaluate":
        raise bad_case(f"kind must be parse, validate or evaluate, found {kind!r}")
    now = now_of(context_of(case))
    plan = Filter(language.parse(expression))
    signal = _signal(case)
    if case.get("explain"):
        return _explained(plan.explain(signal, now))
    return plan.matches([signal], now)[0]


def target_topic(case: Case) -> Any:
    """The topic's parts; its filter is shown as it is, not checked."""
    parsed = topics.parse(text(case.get("topic"), "topic"), check_filter=False)
    result: Case = {"topic": parsed.topic, "namespaces": list(parsed.namespaces)}
    if parsed.filter is not None:
        result["filter"] = parsed.filter
    if parsed.extra_fields is not None:
        result["extraFields"] = list(parsed.extra_fields.pointers)
    return result


def _signal(case: Case) -> Signal:
    """The signal that a case describes: a protocol message, or a thing and its context."""
    context = context_of(case)
    if "message" in case:
        return signal_of({**context, "message": case["message"]})
    thing = case.get("thing")
    if not isinstance(thing, dict):
        raise bad_case("the case needs a thing or a message, as a JSON object")
    return signal_of({**context, "thing": thing})


def _explained(explanation: Explanation) -> Case:
    result: Case = {"expression": explanation.expression, "outcome": explanation.outcome}
    if explanation.parts:
        result["parts"] = [_explained(part) for part in explanation.parts]
    elif explanation.saw is ABSENT:
        result["absent"] = True
    else:
        result["saw"] = explanation.saw
    return result
