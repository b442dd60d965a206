"""``template``, ``header-mapping``, ``enforcement``: what expressions of connections give.

They run the kernels that run in the service, on a batch of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from streamproc.errors import ExpressionError, SignalError
from streamproc.evaluate.context import (
    bad_case,
    context_of,
    headers_of,
    now_of,
    signal_of,
    text,
    texts,
)
from streamproc.kernels.enforcement import Enforcement
from streamproc.kernels.headers import InboundMapping, OutboundMapping
from streamproc.kernels.template import Template
from streamproc.lang.plan import Plan
from streamproc.lang.template import Scope, parse

UNRESOLVED = "placeholder:unresolved"


def template(case: Mapping[str, Any]) -> Any:
    """A string, a list of several, ``{"unresolved": true}`` or ``{"deleted": true}``."""
    context = context_of(case)
    plan = _parse(case.get("template"), "template", _signal_scope(context), context)
    values = Template(plan).all([headers_of(context)], [signal_of(context)], now_of(context))[0]
    if isinstance(values, SignalError):
        raise values
    if values is None:
        return {"unresolved": True}
    if not values:
        return {"deleted": True}
    return values[0] if len(values) == 1 else list(values)


def header_mapping(case: Mapping[str, Any]) -> dict[str, str]:
    """The headers of the signal (inbound), or of the message that leaves (outbound)."""
    context = context_of(case)
    plans = {
        name: _parse(value, f"mapping/{name}", Scope.SIGNAL, context)
        for name, value in texts(case.get("mapping"), "mapping").items()
    }
    signal = signal_of(context)
    headers = headers_of(context)
    if case.get("direction") == "inbound":
        own = texts(case.get("signalHeaders", {}), "signalHeaders")
        signal.headers = {name.lower(): value for name, value in own.items()}
        error = InboundMapping(plans).apply([headers], [signal], now_of(context))[0]
        if error is not None:
            raise error
        return signal.headers
    if case.get("direction") != "outbound":
        raise bad_case(f"'direction' is {case.get('direction')!r}, expected inbound or outbound")
    signal.headers = headers
    message = texts(case.get("messageHeaders", {}), "messageHeaders")
    result = OutboundMapping(plans).apply([message], [signal], now_of(context))[0]
    if isinstance(result, SignalError):
        raise result
    return result


def enforcement(case: Mapping[str, Any]) -> Any:
    """``"accepted"`` or ``{"rejected": code}``; an error where nothing could be resolved."""
    context = context_of(case)
    source = "sourceAddress" in context
    scope = Scope.ENFORCEMENT_INPUT_MQTT5 if source else Scope.ENFORCEMENT_INPUT
    plan = _parse(case.get("input"), "input", scope, context)
    filters, unknown = _filters(case, context)
    check = Enforcement(plan, filters)
    found = check.inputs([headers_of(context)])[0]
    if isinstance(found, SignalError):
        raise found
    error = check.check([found], [signal_of(context)])[0]
    if error is None:
        return "accepted"
    if unknown is not None and not filters:
        raise unknown
    if error.code == UNRESOLVED:
        raise error
    return {"rejected": error.code}


def _filters(
    case: Mapping[str, Any], context: Mapping[str, Any]
) -> tuple[list[Plan], ExpressionError | None]:
    """The filters that can be, and why another cannot: one that is unknown never matches.

    A service refuses to start with such a filter; Ditto finds out when it runs.
    """
    plans: list[Plan] = []
    unknown: ExpressionError | None = None
    filters = case.get("filters")
    if not isinstance(filters, list):
        raise bad_case("'filters' is no array, expected an array of templates")
    for each in filters:
        try:
            plans.append(_parse(each, "filters", Scope.ENFORCEMENT_FILTER, context))
        except ExpressionError as error:
            if error.code != UNRESOLVED:
                raise
            unknown = error
    return plans, unknown


def _signal_scope(context: Mapping[str, Any]) -> Scope:
    more = {"policy"} if context.get("withPolicyPrefix") else set()
    if "sourceAddress" in context:
        more.add("source")
    return replace(Scope.SIGNAL, prefixes=Scope.SIGNAL.prefixes | more)


def _parse(value: object, name: str, scope: Scope, context: Mapping[str, Any]) -> Plan:
    connection = (
        text(context["connectionId"], "connectionId") if "connectionId" in context else None
    )
    return parse(text(value, name), scope, connection_id=connection)
