"""Compiles a source, once, to the checks and mappings that its messages go through.

Each method takes a batch as parallel lists and gives one outcome a message: a value, None
for "nothing to say", or a ``SignalError``; an empty list where there is nothing to say of any.
The order of the steps is in ``flow.py``.
"""

from __future__ import annotations

import os
from typing import Any

from streamproc.config.connection import Connection, Source
from streamproc.config.service import Limits
from streamproc.errors import SignalError
from streamproc.kernels import columns
from streamproc.kernels.enforcement import Enforcement
from streamproc.kernels.envelope import parse
from streamproc.kernels.headers import InboundMapping
from streamproc.kernels.signal import Signal
from streamproc.kernels.template import Subjects
from streamproc.lang import template
from streamproc.lang.scopes import Scope
from streamproc.worker.ack_requests import AckRequests


class Inlet:
    """One source of a connection."""

    def __init__(self, connection: Connection, index: int, source: Source, limits: Limits) -> None:
        self.connection_id = connection.id
        self.source_name = str(index)
        self._limits = limits

        def plan(text: str, scope: Scope) -> template.Plan:
            return template.parse(text, scope, connection_id=connection.id)

        self._subjects = Subjects(
            [plan(text, Scope.AUTHORIZATION_CONTEXT) for text in source.authorization_context],
            limits.max_subjects,
        )
        self._mapping = InboundMapping(
            {
                name: plan(text, Scope.SIGNAL)
                for name, text in _with_reply_headers(connection, source).items()
            }
        )
        self._enforcement = None
        if source.enforcement is not None:
            scope = ENFORCEMENT_SCOPES.get(connection.connection_type, Scope.ENFORCEMENT_INPUT)
            self._enforcement = Enforcement(
                plan(source.enforcement.input, scope),
                [plan(text, Scope.ENFORCEMENT_FILTER) for text in source.enforcement.filters],
            )
        self.ack_requests = AckRequests(connection, source)
        # Correlation ids of messages that bring none: a random prefix and a count are as
        # unique as a random UUID, and cost a tenth.
        prefix = os.urandom(10).hex()
        self._correlation = f"{prefix[:8]}-{prefix[8:12]}-4{prefix[12:15]}-a{prefix[15:18]}-"
        self._count = 0

    def check_size(self, payloads: list[bytes]) -> list[SignalError | None]:
        """Payloads over the limit are refused, not truncated."""
        limit = self._limits.max_message_bytes
        if max(map(len, payloads), default=0) <= limit:
            return []
        return [
            None if len(payload) <= limit else _too_large(payload, limit) for payload in payloads
        ]

    def identities(self, headers: list[dict[str, str]]) -> list[Any]:
        """What the transport proves, before anything of the payload is believed."""
        if self._enforcement is None:
            return [None] * len(headers)
        return self._enforcement.inputs(headers)

    def signals(self, payloads: list[bytes]) -> list[Signal | SignalError]:
        """The Ditto mapper."""
        return parse(payloads, self._limits.max_header_bytes)

    def resolve_subjects(
        self, headers: list[dict[str, str]], signals: list[Signal]
    ) -> list[SignalError | None]:
        """Say on whose behalf each signal acts."""
        constant = self._subjects.constant
        if constant is not None:
            columns.act_for(signals, constant)
            return []
        outcomes: list[SignalError | None] = []
        for signal, subjects in zip(signals, self._subjects.expand(headers), strict=True):
            if isinstance(subjects, SignalError):
                outcomes.append(subjects)
            else:
                signal.subjects = subjects
                outcomes.append(None)
        return outcomes

    def map_headers(
        self, headers: list[dict[str, str]], signals: list[Signal]
    ) -> list[SignalError | None]:
        """Source header mapping, then what Ditto sets itself."""
        outcomes = self._mapping.apply(headers, signals)
        self._count = columns.mark(signals, self._correlation, self._count)
        return outcomes

    def enforce(self, identities: list[Any], signals: list[Signal]) -> list[SignalError | None]:
        """A message speaks about no other entity than its identity may."""
        if self._enforcement is None:
            return []
        return self._enforcement.check(identities, signals)


ENFORCEMENT_SCOPES = {
    "mqtt": Scope.ENFORCEMENT_INPUT_MQTT,
    "mqtt-5": Scope.ENFORCEMENT_INPUT_MQTT5,
}


def _with_reply_headers(connection: Connection, source: Source) -> dict[str, str]:
    """The mapping, with what the default reply target adds to it (spec: Ditto 2.7)."""
    reply = source.reply_target
    if (reply is not None and (not reply.enabled or reply.address)) or (
        connection.connection_type == "mqtt"
    ):
        return source.header_mapping
    defaults = {
        name: f"{{{{ header:{name} }}}}" for name in ("correlation-id", "content-type", "reply-to")
    }
    return {**defaults, **source.header_mapping}


def _too_large(payload: bytes, limit: int) -> SignalError:
    return SignalError(
        "message_too_large", f"the payload has {len(payload)} bytes, at most {limit} are taken"
    )
