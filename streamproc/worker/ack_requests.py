"""Which acknowledgements the messages of a source ask for: by their headers, and by the source."""

from __future__ import annotations

import json
from functools import partial

from streamproc.config.connection import Connection, Source
from streamproc.config.duration import seconds
from streamproc.errors import SignalError
from streamproc.kernels import columns
from streamproc.kernels.signal import Signal
from streamproc.kernels.template import Template
from streamproc.lang import template
from streamproc.lang.scopes import Scope
from streamproc.protocol import acks
from streamproc.twin.stateless import EVENT_OF
from streamproc.worker.acks import LIVE_RESPONSE, PERSISTED, Asked

KNOWN_FILTERS = 1000  # kept: one for each text of labels that a message asks with


class AckRequests:
    """The rules of one source."""

    def __init__(self, connection: Connection, source: Source) -> None:
        self._connection_id = connection.id
        # With qos 0 a message is settled before anybody could acknowledge it.
        self._is_settled = source.qos == 0
        requests = source.acknowledgement_requests
        self._includes = [
            template.parse(label, Scope.ACK_LABEL, connection_id=connection.id).constant or label
            for label in (() if requests is None else requests.includes)
        ]
        self._filter = None if requests is None else requests.filter
        self._filters: dict[str | None, Template] = {}
        self._always = bool(self._includes) or self._filter is not None

    def __call__(
        self, headers: list[dict[str, str]], signals: list[Signal], live: bool
    ) -> list[Asked | SignalError | None]:
        """What each message waits for; an empty list where none waits.

        *live*: some target answers live signals, which then wait for that unasked.
        """
        if self._is_settled:
            return []
        every = self._always
        positions = range(len(signals)) if every else columns.asking(signals, live)
        if not positions:
            return []
        outcomes: list[Asked | SignalError | None] = [None] * len(signals)
        for i in positions:
            try:
                outcomes[i] = self._asked(headers[i], signals[i])
            except SignalError as error:
                outcomes[i] = error
        return outcomes

    def _asked(self, headers: dict[str, str], signal: Signal) -> Asked | None:
        channel = _channel(signal)
        if channel is None:
            return None
        own = signal.headers
        text, required, timeout = (
            own.get(name) for name in ("requested-acks", "response-required", "timeout")
        )
        labels = acks.requested(
            None if text is None else json.loads(text),
            self._includes,
            None if self._filter is None else partial(self._filtered, headers, signal),
        )
        request = acks.request(
            channel,
            labels,
            None if required is None else required == "true",
            None if timeout is None else _milliseconds(timeout),
        )
        if request.labels in ((), (PERSISTED,)):  # the twin has it at once
            return None
        return Asked(request, implied=labels is None and request.labels == (LIVE_RESPONSE,))

    def _filtered(self, headers: dict[str, str], signal: Signal, start: str | None) -> str | None:
        found = self._filters.get(start)
        if found is None:
            assert self._filter is not None
            if len(self._filters) >= KNOWN_FILTERS:
                self._filters.clear()
            named, scope = self._connection_id, Scope.SIGNAL
            if start is None:
                plan = template.parse(f"{{{{ {self._filter} }}}}", scope, connection_id=named)
            else:
                plan = template.parse_condition(
                    self._filter, scope, piped=start, connection_id=named
                )
            found = self._filters[start] = Template(plan)
        result = found.first([headers], [signal])[0]
        if isinstance(result, SignalError):
            raise result
        return result


def _channel(signal: Signal) -> acks.Channel | None:
    """That of a signal that may ask for acknowledgements; None for others."""
    topic = signal.topic
    assert topic is not None, "a message always has a topic"
    if topic.group != "things" or signal.status is not None:
        return None
    if topic.channel == "live":
        return "live" if topic.criterion in ("commands", "messages") else None
    if topic.criterion != "commands" or topic.action not in EVENT_OF:
        return None
    return None if signal.headers.get("dry-run") == "true" else "twin"


def _milliseconds(timeout: str) -> int:
    wait_s = seconds(timeout)
    if wait_s is None:
        raise SignalError("timeout.invalid", f"the timeout {timeout!r} is invalid")
    return round(wait_s * 1000)
