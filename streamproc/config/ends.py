"""Ditto's rules for the two ends of a connection: its sources and its targets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from streamproc.config import addresses, expressions
from streamproc.config.bindings import Binding, Headers
from streamproc.config.connection import Connection, ReplyTarget, Source, Target
from streamproc.config.problem import Finding, Path, did_you_mean, quoted
from streamproc.lang.scopes import Scope

LABEL_INVALID = "acknowledgement:label.invalid"
LABEL_TWICE = "acknowledgement:label.not.unique"
REQUEST_INVALID = "acknowledgement:request.parsing.failed"
LABEL = re.compile(r"(?:\{\{\s*[a-z]+:[a-zA-Z]+\s*\}\}:)?[a-zA-Z0-9\-_:]{3,165}\Z")
LIVE_RESPONSE = "live-response"
CONNECTION_ID = re.compile(r"[a-zA-Z0-9\-_:]{1,100}\Z")
RESPONSE_TYPES = ("response", "error", "nack")
MOST_MAPPINGS = 10

DIVERT_TO = "divert-response-to-connection"
DIVERT_TYPES = "divert-expected-response-types"

_ANY = Binding()


def check(connection: Connection, binding: Binding | None) -> Iterator[Finding]:
    """What is wrong with sources and targets. *binding* None: the type is not known."""
    known = binding or _ANY
    for index, source in enumerate(connection.sources):
        base: Path = ("sources", index)
        if not known.sources:
            yield Finding(
                path=base, message=f"{connection.connection_type} connections have no sources"
            )
            continue
        checks = _source(source, connection, known)
        yield from (finding.under(base) for finding in checks)
    for index, target in enumerate(connection.targets):
        base = ("targets", index)
        if not known.targets:
            yield Finding(
                path=base, message=f"{connection.connection_type} connections have no targets"
            )
            continue
        checks = _target(target, connection, known)
        yield from (finding.under(base) for finding in checks)
    yield from _labels_twice(connection)
    if known.single_consumer and connection.client_count > 1:
        yield Finding(
            path=("clientCount",),
            message="expected 1: MQTT 3.1.1 has no shared subscriptions",
            found=str(connection.client_count),
        )


def _source(source: Source, connection: Connection, binding: Binding) -> Iterator[Finding]:
    if not source.addresses:
        yield Finding(path=("addresses",), message="expected at least one address")
    for index, address in enumerate(source.addresses):
        problem = binding.source_address(address) if address else "expected an address"
        if problem:
            yield Finding(path=("addresses", index), message=problem, found=quoted(address))
    yield from _qos(source.qos, binding)
    if binding.single_consumer and source.consumer_count > 1:
        yield Finding(
            path=("consumerCount",),
            message="expected 1: MQTT 3.1.1 has no shared subscriptions",
            found=str(source.consumer_count),
        )
    yield from _subjects(source.authorization_context)
    for index, subject in enumerate(source.authorization_context):
        path = ("authorizationContext", index)
        yield from expressions.mistakes(subject, Scope.AUTHORIZATION_CONTEXT, path, connection.id)
    yield from _enforcement(source, connection.id, binding)
    yield from _acknowledgements(source, connection.id)
    yield from _headers(
        source.header_mapping, binding.source_headers, ("headerMapping",), connection.id
    )
    yield from _diversion(source.header_mapping, connection)
    yield from _mapping_count(source.payload_mapping)
    if source.reply_target is not None:
        yield from _reply_target(source.reply_target, connection, binding)


def _target(target: Target, connection: Connection, binding: Binding) -> Iterator[Finding]:
    yield from _address(target.address, ("address",), connection.id, binding)
    if binding.qos_required:
        yield from _qos(target.qos, binding)
    yield from _subjects(target.authorization_context)
    for index, text in enumerate(target.topics):
        yield from expressions.topic(text, ("topics", index))[1]
    if target.topics and _is_true(connection, "is-diversion-target"):
        yield Finding(path=("topics",), message="a target of diverted responses has no topics")
    yield from _headers(
        target.header_mapping, binding.target_headers, ("headerMapping",), connection.id
    )
    yield from _mapping_count(target.payload_mapping)
    label = target.issued_acknowledgement_label
    if label is not None and label != LIVE_RESPONSE:
        yield from _own_label(label, ("issuedAcknowledgementLabel",), connection.id)


def _subjects(subjects: Sequence[str]) -> Iterator[Finding]:
    if not subjects:
        yield Finding(path=("authorizationContext",), message="expected at least one subject")
    for index, subject in enumerate(subjects):
        if not subject:
            yield Finding(path=("authorizationContext", index), message="expected a subject")


def _qos(qos: int | None, binding: Binding) -> Iterator[Finding]:
    allowed = binding.source_qos
    if allowed is None or (qos is None and not binding.qos_required) or qos in allowed:
        return
    words = ", ".join(map(str, allowed[:-1])) + f" or {allowed[-1]}"
    yield Finding(path=("qos",), message=f"expected {words}", found=quoted(qos))


def _address(text: str, path: Path, connection_id: str, binding: Binding) -> Iterator[Finding]:
    plan, found = expressions.template(text, Scope.SIGNAL, path, connection_id)
    yield from found
    if plan is not None and (problem := binding.target_address(expressions.shape(plan))):
        yield Finding(path=path, message=problem, found=quoted(text))


def _enforcement(source: Source, connection_id: str, binding: Binding) -> Iterator[Finding]:
    if source.enforcement is None:
        return
    path = ("enforcement", "input")
    scope = binding.enforcement_input
    yield from expressions.mistakes(source.enforcement.input, scope, path, connection_id)
    for index, text in enumerate(source.enforcement.filters):
        at = ("enforcement", "filters", index)
        plan, found = expressions.template(text, binding.enforcement_filter, at, connection_id)
        yield from found
        # What is compared with a topic must be one; as in Ditto, wildcards are let pass.
        if plan is None or "source:address" not in source.enforcement.input:
            continue
        if problem := addresses.mqtt_filter(expressions.shape(plan)):
            yield Finding(path=at, message=problem, found=quoted(text))


def _acknowledgements(source: Source, connection_id: str) -> Iterator[Finding]:
    for index, label in enumerate(source.declared_acks):
        yield from _own_label(label, ("declaredAcks", index), connection_id)
    requests = source.acknowledgement_requests
    if requests is None:
        return
    for index, label in enumerate(requests.includes):
        if not LABEL.match(label):
            yield Finding(
                path=("acknowledgementRequests", "includes", index),
                message="expected a label of 3 to 165 letters, digits, '-', '_' or ':'",
                found=quoted(label),
                code=REQUEST_INVALID,
            )
    if requests.filter is not None:
        path = ("acknowledgementRequests", "filter")
        yield from expressions.condition(requests.filter, Scope.SIGNAL, path, connection_id)


def _own_label(label: str, path: Path, connection_id: str) -> Iterator[Finding]:
    """A label that the connection sends itself begins with the connection's id."""
    if not LABEL.match(label):
        yield Finding(
            path=path,
            message="expected a label of 3 to 165 letters, digits, '-', '_' or ':'",
            found=quoted(label),
            code=LABEL_INVALID,
        )
        return
    plan, found = expressions.template(label, Scope.ACK_LABEL, path, connection_id)
    yield from found
    if plan is not None and not expressions.shape(plan).startswith(f"{connection_id}:"):
        yield Finding(
            path=path,
            message="expected a label that begins with the connection's id and a colon",
            found=quoted(label),
            hint=f"write '{{{{connection:id}}}}:{label}'",
            code=LABEL_INVALID,
            needs=("id",),
        )


def _labels_twice(connection: Connection) -> Iterator[Finding]:
    seen: set[str] = set()
    for index, target in enumerate(connection.targets):
        label = target.issued_acknowledgement_label
        if label is None:
            continue
        path: Path = ("targets", index, "issuedAcknowledgementLabel")
        plan, _ = expressions.template(label, Scope.ACK_LABEL, path, connection.id)
        issued = label if plan is None else expressions.shape(plan)
        if issued in seen and issued != LIVE_RESPONSE:
            yield Finding(
                path=path,
                message="expected a label that no other target issues",
                found=quoted(label),
                code=LABEL_TWICE,
            )
        seen.add(issued)


def _headers(
    mapping: Mapping[str, str], allowed: Headers, path: Path, connection_id: str
) -> Iterator[Finding]:
    for name, text in mapping.items():
        at = (*path, name)
        if allowed.keys is not None and name not in allowed.keys:
            yield Finding(
                path=at,
                message=f"expected one of {', '.join(sorted(allowed.keys))}: "
                "MQTT 3.1.1 has no other headers",
                found=quoted(name),
            )
        yield from expressions.mistakes(text, allowed.scope, at, connection_id)


def _diversion(mapping: Mapping[str, str], connection: Connection) -> Iterator[Finding]:
    """Constants of response diversion; what is a template is checked as it runs."""
    connection_id = connection.id
    to = mapping.get(DIVERT_TO)
    if to is not None and (plan := expressions.template(to, Scope.SIGNAL, (), connection_id)[0]):
        target = plan.constant
        if target is not None and not CONNECTION_ID.match(target):
            yield Finding(
                path=("headerMapping", DIVERT_TO),
                message="expected the id of a connection",
                found=quoted(to),
            )
        elif target == connection_id:
            yield Finding(
                path=("headerMapping", DIVERT_TO), message="expected another connection's id"
            )
    types = mapping.get(DIVERT_TYPES)
    if types is not None and _is_true(connection, "is-diversion-source"):
        plan, _ = expressions.template(types, Scope.SIGNAL, (), connection_id)
        words = "" if plan is None or plan.constant is None else plan.constant
        for word in words.split(","):
            if word.strip() not in ("", *RESPONSE_TYPES):
                yield Finding(
                    path=("headerMapping", DIVERT_TYPES),
                    message=f"expected a comma list of {', '.join(RESPONSE_TYPES)}",
                    found=quoted(word.strip()),
                    hint=did_you_mean(word, RESPONSE_TYPES),
                )


def _mapping_count(mapping: Sequence[str]) -> Iterator[Finding]:
    if len(mapping) > MOST_MAPPINGS:
        yield Finding(
            path=("payloadMapping",),
            message=f"expected at most {MOST_MAPPINGS}",
            found=str(len(mapping)),
        )


def _reply_target(
    reply: ReplyTarget, connection: Connection, binding: Binding
) -> Iterator[Finding]:
    path: Path = ("replyTarget",)
    if reply.address is not None:
        # Checked as the address of a target: replies are written by the same side.
        yield from _address(reply.address, (*path, "address"), connection.id, binding)
    yield from _headers(
        reply.header_mapping, binding.target_headers, (*path, "headerMapping"), connection.id
    )
    for index, kind in enumerate(reply.expected_response_types):
        if kind.lower() not in RESPONSE_TYPES:
            yield Finding(
                path=(*path, "expectedResponseTypes", index),
                message=f"is none of {', '.join(RESPONSE_TYPES)}, so it has no effect",
                found=quoted(kind),
                hint=did_you_mean(kind, RESPONSE_TYPES),
                warning=True,
            )


def _is_true(connection: Connection, option: str) -> bool:
    return str(connection.specific_config.get(option, "")).lower() == "true"
