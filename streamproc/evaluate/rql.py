"""``eval`` of RQL filters and of target topics."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from streamproc.errors import StreamprocError
from streamproc.kernels.rql import Filter
from streamproc.kernels.signal import ABSENT, Signal
from streamproc.lang import rql as language
from streamproc.lang import target_topic as topics
from streamproc.lang.rql_plan import Explanation
from streamproc.protocol import topic as topic_paths

Case = dict[str, Any]


def rql(case: Case) -> Any:
    """``"valid"`` for kind parse and validate; the outcome for evaluate.

    With ``explain`` in the case: the outcome and why, expression by expression.
    """
    kind = case.get("kind", "evaluate")
    text = case.get("filter")
    if not isinstance(text, str):
        raise _Unusable("filter must be a text")
    if kind in ("parse", "validate"):
        language.parse(text, check_properties=kind == "validate")
        return "valid"
    if kind != "evaluate":
        raise _Unusable(f"kind must be parse, validate or evaluate, found {kind!r}")
    context = case.get("context") or {}
    now = _moment(context["now"]) if "now" in context else None
    plan = Filter(language.parse(text))
    signal = _signal(case, context)
    if case.get("explain"):
        return _explained(plan.explain(signal, now))
    return plan.matches([signal], now)[0]


def target_topic(case: Case) -> Any:
    """The topic's parts; its filter is shown as it is, not checked."""
    text = case.get("topic")
    if not isinstance(text, str):
        raise _Unusable("topic must be a text")
    parsed = topics.parse(text, check_filter=False)
    result: Case = {"topic": parsed.topic, "namespaces": list(parsed.namespaces)}
    if parsed.filter is not None:
        result["filter"] = parsed.filter
    if parsed.extra_fields is not None:
        result["extraFields"] = list(parsed.extra_fields.pointers)
    return result


def _moment(text: Any) -> datetime:
    """An ISO-8601 moment; one without a zone is meant in UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise _Unusable(f"now must be an ISO-8601 moment, found {text!r}") from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _signal(case: Case, context: Case) -> Signal:
    """The signal that a case describes: a protocol message, or a thing and its context."""
    if "message" in case:
        return _message(case["message"], context)
    thing = case.get("thing")
    if not isinstance(thing, dict):
        raise _Unusable("the case needs a thing or a message, as a JSON object")
    resource = context.get("resource") or {}
    topic = topic_paths.parse(context["topic"]) if "topic" in context else None
    signal = Signal(topic, resource.get("path", ""))
    signal.resource_type = resource.get("type")
    signal.entity_id = context.get("thingId", signal.entity_id)
    signal.thing = thing
    return signal


def _message(message: Any, context: Case) -> Signal:
    if not isinstance(message, dict) or not isinstance(message.get("topic"), str):
        raise _Unusable("message must be a Ditto protocol message with a topic")
    return Signal(
        topic_paths.parse(message["topic"]),
        message.get("path", "/"),
        message.get("headers"),
        message.get("value", ABSENT),
        message.get("extra", context.get("extra")),
        message.get("status"),
        message.get("revision"),
        message.get("timestamp"),
    )


def _explained(explanation: Explanation) -> Case:
    result: Case = {"expression": explanation.expression, "outcome": explanation.outcome}
    if explanation.parts:
        result["parts"] = [_explained(part) for part in explanation.parts]
    elif explanation.saw is ABSENT:
        result["absent"] = True
    else:
        result["saw"] = explanation.saw
    return result


class _Unusable(StreamprocError):
    """The case is not of the form that the operation takes."""

    code = "case_invalid"
    status = 400
