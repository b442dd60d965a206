"""docs/reference/errors.md: every error, by who must act, and every code."""

from __future__ import annotations

from collections.abc import Iterator

from streamproc.cli.pages.markdown import code, page, table
from streamproc.errors import (
    STATUS,
    ConfigError,
    RunnerError,
    SignalError,
    StreamprocError,
)

MEANINGS: dict[str, str] = {
    "connectivity:connection.configuration.invalid": "A connection cannot work as written.",
    "connectivity:connection.uri.invalid": "The uri of a connection is none, or of the wrong "
    "scheme.",
    "connectivity:connection.id.invalid": "The id of a connection has characters it may not have.",
    "connectivity:connection.id.enforcement.failed": "A message is about an entity that its "
    "sender's identity does not allow.",
    "connectivity:id.notsettable": "An id was given where one is made.",
    "connectivity:command.invalid": "A command to a connection is not known.",
    "connectivity:topic.invalid": "A target subscribes to a topic that there is not.",
    "connectivity:message.mapping.failed": "A payload could not be mapped.",
    "connectivity:message.mapper.config.invalid": "A mapper lacks an option it must have.",
    "connectivity:message.mapper.config.failed": "An option of a mapper has a wrong value.",
    "connectivity:connections.amount.illegal": "More connections were asked for than are given "
    "at once.",
    "connectivity:connection.unauthorized": "The peer does not accept the credentials.",
    "connectivity:connection.notfound": "There is no connection of that id.",
    "connectivity:connection.conflict": "There is a connection of that id already.",
    "connectivity:signal.illegal": "Another operation on the connection is under way.",
    "connectivity:connection.unavailable": "The connection cannot be reached now.",
    "connectivity:message.sending.failed": "A target did not take a message; it is tried again.",
    "connectivity:connection.failed": "The connection could not be opened.",
    "placeholder:unresolved": "A placeholder is not known where it stands, or a message does not "
    "carry what it names.",
    "placeholder:function.unknown": "There is no function of that name.",
    "placeholder:function.signature.invalid": "A function has wrong arguments.",
    "placeholder:function.too.complex": "An expression has too many functions, or its result is "
    "too large.",
    "placeholder:placeholder.notresolvable": "A placeholder cannot be resolved.",
    "acknowledgement:label.invalid": "An acknowledgement label is malformed, or does not begin "
    "with the connection's id.",
    "acknowledgement:label.not.declared": "An acknowledgement came with a label that its source "
    "does not declare.",
    "acknowledgement:label.not.unique": "Two targets issue the same label.",
    "acknowledgement:correlation-id.missing": "An acknowledgement has no correlation-id.",
    "acknowledgement:request.parsing.failed": "Requested acknowledgements are no list of labels.",
    "acknowledgement:request.timeout": "A requested acknowledgement did not come in time.",
    "acknowledgement:request.duplicate.correlation-id": "A correlation-id was used again while "
    "acknowledgements to it were open.",
    "acknowledgement:ditto.acklabel.forbidden": "A label of Ditto's own was sent by a client.",
    "rql.expression.invalid": "An RQL filter does not parse.",
    "header.invalid": "The value of a header is not one it can have.",
    "headers.too.large": "The headers of a signal are larger than `limits.maxHeaderBytes`, or it "
    "has more subjects than `limits.maxSubjects`.",
    "json.format.invalid": "JSON has not the form that is expected.",
    "json.invalid": "A payload is no JSON, or nested too deeply.",
    "json.field.missing": "A field that must be there is not.",
    "json.pointer.invalid": "A JSON pointer is malformed.",
    "json.fieldselector.invalid": "A field selector is malformed.",
    "command.timeout": "A command was not answered in time.",
    "things:id.invalid": "A thing id is no `namespace:name`.",
    "things:id.notsettable": "A value names another thing than its message is about.",
    "things:field.selection.invalid": "Extra fields are not selected in a way that works.",
    "timeout.invalid": "A timeout is no duration.",
    "messages:subject.invalid": "A message has no subject.",
    "things:thing.notmodifiable": "The subjects of a message may not WRITE what it changes.",
    "things:thing.notcreatable": "The subjects of a message may not create the thing.",
    "messages:sendnotallowed": "The subjects of a message may not send it.",
    "protocoladapter:unknown.topicpath": "A topic path is malformed.",
    "protocoladapter:unknown.path": "A path is none that a command can have.",
    "protocoladapter:unknown.command": "A command is not known.",
    "protocoladapter:unknown.event": "An event is not known.",
    "protocoladapter:unknown.response": "A response is not known.",
    "protocoladapter:unknown.signal": "A signal is not known.",
    "protocoladapter:unknown.channel": "A channel is neither twin nor live.",
    "protocoladapter:invalid.path": "A path is malformed.",
    "protocoladapter:illegal.adaptable": "A response does not fit its request.",
    "message_too_large": "A payload is larger than `limits.maxMessageBytes`.",
    "signal.enrichment.failed": "Extra fields could not be read.",
    "too.many.requests": "More is asked than is taken; it may be asked again later.",
}

_ACTORS: tuple[tuple[type[StreamprocError], str], ...] = (
    (ConfigError, "The operator must act: nothing was started."),
    (SignalError, "The sender must act: this message is bad, the next may be good."),
    (RunnerError, "The service acts by itself: it connects again, retries, parks or ends."),
)


def errors() -> str:
    """The page."""
    sections = [
        f"## {root.__name__}\n\n{words}\n\n"
        + table(
            ("error", "code", "status", "meaning"),
            [(c.__name__, code(c.code), str(c.status), _summary(c)) for c in _family(root)],
        )
        for root, words in _ACTORS
    ]
    codes = [
        (code(name), str(status), MEANINGS.get(name, "")) for name, status in sorted(STATUS.items())
    ]
    return page(
        "streamproc/errors.py` and `streamproc/cli/pages/errors.py",
        "Errors",
        "An error has a stable code, an HTTP status and a sentence. An error that nothing below "
        "describes has the code `internal`: it is a bug, please report it.",
        *sections,
        "## Codes of messages and connections\n\nEclipse Ditto's own, wherever it has one.\n\n"
        + table(("code", "status", "meaning"), codes),
    )


def _family(root: type[StreamprocError]) -> Iterator[type[StreamprocError]]:
    yield root
    for child in sorted(root.__subclasses__(), key=lambda c: c.__name__):
        if child.__module__ == StreamprocError.__module__:
            yield from _family(child)


def _summary(error: type[StreamprocError]) -> str:
    return " ".join((error.__doc__ or "").split())
