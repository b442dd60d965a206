"""Every error the project raises, grouped by who must act on it.

``code`` is the stable name in logs, metric labels and API answers, ``status`` the HTTP
status. What a sender of Ditto messages sees carries Ditto's own codes (spec: Ditto 1.9).
Errors cross a process as ``as_dict()``, never pickled.
"""

from __future__ import annotations

from typing import Any


class StreamprocError(Exception):
    """A bug of ours, if nothing more precise was raised."""

    code: str = "internal"
    status: int = 500

    def __init__(self, message: str, /, **details: object) -> None:
        super().__init__(message)
        self.details = details

    def as_dict(self) -> dict[str, Any]:
        """``{status, error, message, ...details}``: the shape of a Ditto error value."""
        return {"status": self.status, "error": self.code, "message": str(self), **self.details}


# The operator must act: nothing was started.


class ConfigError(StreamprocError):
    """The configuration cannot work as written."""

    code = "connectivity:connection.configuration.invalid"
    status = 400


class ExpressionError(ConfigError):
    """A placeholder, function, filter, topic or pointer does not parse.

    ``position`` is the offset in the text (code points, from 0) or None; ``hint`` says what
    to write instead, or is empty. ``code`` is Ditto's, given by the parser.
    """

    def __init__(
        self, code: str, message: str, /, *, position: int | None = None, hint: str = ""
    ) -> None:
        super().__init__(message)
        self.code = code
        self.position = position
        self.hint = hint
        self.status = STATUS.get(code, 400)
        if position is not None:
            self.details["position"] = position
        if hint:
            self.details["hint"] = hint


# The sender must act: this message is bad, the next may be good. Never retried.


class SignalError(StreamprocError):
    """A message that cannot be processed as it is: Ditto's runtime exception.

    Returned by kernels in the place of a result as well as raised, so that one bad message
    of a batch costs the others nothing.
    """

    def __init__(self, code: str, message: str, /, **details: object) -> None:
        super().__init__(message, **details)
        self.code = code
        self.status = STATUS.get(code, 400)


# The runner must act: connect again, retry, park, end.


class RunnerError(StreamprocError):
    """A condition the runner knows an answer to."""


class NotConnected(RunnerError):
    """The peer is away. The link is opened again with back-off; nothing is lost."""

    code = "not_connected"
    status = 503


class Misconfigured(RunnerError):
    """The peer answers, and says that what we ask cannot work: credentials, a queue, TLS.

    Retried slowly, shown as ``misconfigured``; a person must act.
    """

    code = "misconfigured"
    status = 400


class EndOfStream(RunnerError):
    """The source has no more messages, now or ever. Not a failure."""

    code = "end_of_stream"
    status = 200


class DeliveryFailed(RunnerError):
    """A target did not take a message, and may take it later. Retried in its lane.

    ``retry_after_s`` is what the peer asked for, or None.
    """

    code = "connectivity:message.sending.failed"
    status = 503

    def __init__(
        self, message: str, /, *, retry_after_s: float | None = None, **details: object
    ) -> None:
        super().__init__(message, **details)
        self.retry_after_s = retry_after_s


class EndpointGone(DeliveryFailed):
    """A target says that it is there no more. Nothing is sent until a person acts; all is kept."""

    code = "endpoint_gone"
    status = 410


class DeliveryRefused(RunnerError):
    """A target will never take this message. It is parked; the ones behind it go on."""

    code = "delivery_refused"
    status = 400


class DeliveryPoisonous(DeliveryRefused):
    """Workers died of it, again and again. It is parked untried; the ones behind it go on."""

    code = "poison"
    status = 500


class ClientNotConfigured(DeliveryRefused):
    """The target was taken out of the configuration before it had this message."""

    code = "client_not_configured"
    status = 410


# Ditto's codes and their HTTP status (spec: Ditto 1.9).
STATUS: dict[str, int] = {
    "connectivity:connection.configuration.invalid": 400,
    "connectivity:connection.uri.invalid": 400,
    "connectivity:connection.id.invalid": 400,
    "connectivity:connection.id.enforcement.failed": 400,
    "connectivity:id.notsettable": 400,
    "connectivity:command.invalid": 400,
    "connectivity:topic.invalid": 400,
    "connectivity:message.mapping.failed": 400,
    "connectivity:message.mapper.config.invalid": 400,
    "connectivity:message.mapper.config.failed": 400,
    "connectivity:connections.amount.illegal": 400,
    "connectivity:connection.unauthorized": 401,
    "connectivity:connection.notfound": 404,
    "connectivity:connection.conflict": 409,
    "connectivity:signal.illegal": 409,
    "connectivity:connection.unavailable": 503,
    "connectivity:message.sending.failed": 503,
    "connectivity:connection.failed": 504,
    "placeholder:unresolved": 400,
    "placeholder:function.unknown": 400,
    "placeholder:function.signature.invalid": 400,
    "placeholder:function.too.complex": 400,
    "placeholder:placeholder.notresolvable": 400,
    "acknowledgement:label.invalid": 400,
    "acknowledgement:label.not.declared": 400,
    "acknowledgement:label.not.unique": 409,
    "acknowledgement:correlation-id.missing": 400,
    "acknowledgement:request.parsing.failed": 422,
    "acknowledgement:request.timeout": 408,
    "acknowledgement:request.duplicate.correlation-id": 409,
    "acknowledgement:ditto.acklabel.forbidden": 400,
    "rql.expression.invalid": 400,
    "header.invalid": 400,
    "headers.too.large": 431,
    "json.format.invalid": 400,
    "json.invalid": 400,
    "json.field.missing": 400,
    "json.pointer.invalid": 400,
    "json.fieldselector.invalid": 400,
    "command.timeout": 408,
    "things:id.invalid": 400,
    "things:id.notsettable": 400,
    "things:field.selection.invalid": 400,
    "timeout.invalid": 400,
    "messages:subject.invalid": 400,
    "things:thing.notmodifiable": 403,
    "things:thing.notcreatable": 403,
    "messages:sendnotallowed": 403,
    "protocoladapter:unknown.topicpath": 400,
    "protocoladapter:unknown.path": 400,
    "protocoladapter:unknown.command": 400,
    "protocoladapter:unknown.event": 400,
    "protocoladapter:unknown.response": 400,
    "protocoladapter:unknown.signal": 400,
    "protocoladapter:unknown.channel": 400,
    "protocoladapter:invalid.path": 400,
    "protocoladapter:illegal.adaptable": 422,
    "message_too_large": 413,
    "signal.enrichment.failed": 500,
    "too.many.requests": 429,
}
