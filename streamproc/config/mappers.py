"""Payload mappers that Ditto knows, and what their options must be (spec: Ditto 9).

The table is Ditto's, so that a connection is judged as Ditto would; which mappers this
version can run is in ``support``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from streamproc.config import expressions
from streamproc.config.connection import Connection, MappingDefinition
from streamproc.config.problem import Finding, Path, did_you_mean, quoted
from streamproc.errors import ExpressionError
from streamproc.lang import selector
from streamproc.lang.scopes import Scope

OPTION_MISSING = "connectivity:message.mapper.config.invalid"
OPTION_WRONG = "connectivity:message.mapper.config.failed"
MAX_SCRIPT = 50_000  # characters

Options = Mapping[str, Any]
Check = Callable[[Options, Path, str], Iterator[Finding]]


def _nothing(options: Options, path: Path, connection_id: str) -> Iterator[Finding]:
    yield from ()


def _templates(texts: Mapping[str, Any], scope: Scope, path: Path, id_: str) -> Iterator[Finding]:
    for key, text in texts.items():
        if isinstance(text, str):
            yield from expressions.mistakes(text, scope, (*path, key), id_)


def _required(options: Options, key: str, path: Path) -> Iterator[Finding]:
    if key not in options:
        yield Finding(path=(*path, key), message="is missing", code=OPTION_MISSING)


def _is_bool(options: Options, key: str, path: Path) -> Iterator[Finding]:
    value = options.get(key)
    if value is not None and str(value).lower() not in ("true", "false"):
        yield Finding(
            path=(*path, key),
            message="expected true or false",
            found=quoted(value),
            code=OPTION_WRONG,
        )


def _headers(options: Options, key: str, scope: Scope, path: Path, id_: str) -> Iterator[Finding]:
    """An object of templates; Ditto also takes its JSON text."""
    value = options.get(key)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = ()
    if isinstance(value, Mapping):
        yield from _templates(value, scope, (*path, key), id_)
    elif value is not None:
        yield Finding(path=(*path, key), message="expected a mapping", code=OPTION_WRONG)


def _raw_message(options: Options, path: Path, connection_id: str) -> Iterator[Finding]:
    yield from _headers(options, "incomingMessageHeaders", Scope.MAPPER, path, connection_id)


def _normalized(options: Options, path: Path, connection_id: str) -> Iterator[Finding]:
    fields = options.get("fields")
    if isinstance(fields, str):
        try:
            selector.parse(fields)
        except ExpressionError as error:
            yield expressions.finding(error, fields, (*path, "fields"))
    elif fields is not None:
        yield Finding(path=(*path, "fields"), message="expected text", code=OPTION_WRONG)
    yield from _is_bool(options, "includeDeletedFields", path)


def _connection_status(options: Options, path: Path, connection_id: str) -> Iterator[Finding]:
    yield from _required(options, "thingId", path)
    texts = {key: options[key] for key in ("thingId", "featureId") if key in options}
    yield from _templates(texts, Scope.CONNECTION_STATUS, path, connection_id)


def _implicit_thing(options: Options, path: Path, connection_id: str) -> Iterator[Finding]:
    yield from _required(options, "thing", path)
    thing = options.get("thing")
    if isinstance(thing, str):
        try:
            thing = json.loads(thing)
        except ValueError:
            thing = None
    if "thing" in options and not isinstance(thing, Mapping):
        yield Finding(path=(*path, "thing"), message="expected a thing", code=OPTION_WRONG)
    elif isinstance(thing, Mapping):
        if "thingId" not in thing:
            yield Finding(
                path=(*path, "thing", "thingId"), message="is missing", code=OPTION_MISSING
            )
        yield from _every_text(thing, (*path, "thing"), connection_id)
    yield from _headers(options, "commandHeaders", Scope.MAPPER, path, connection_id)
    yield from _is_bool(options, "allowPolicyLockout", path)


def _every_text(value: Any, path: Path, connection_id: str) -> Iterator[Finding]:
    """Every text in a template object is a template."""
    if isinstance(value, str):
        yield from expressions.mistakes(value, Scope.MAPPER, path, connection_id)
    elif isinstance(value, Mapping):
        for key, child in value.items():
            yield from _every_text(child, (*path, key), connection_id)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _every_text(child, (*path, index), connection_id)


def _update_twin(options: Options, path: Path, connection_id: str) -> Iterator[Finding]:
    yield from _headers(options, "dittoHeadersForMerge", Scope.MAPPER, path, connection_id)


def _java_script(options: Options, path: Path, connection_id: str) -> Iterator[Finding]:
    for key in ("incomingScript", "outgoingScript"):
        script = options.get(key)
        if script is None:
            continue
        if not isinstance(script, str) or len(script) > MAX_SCRIPT:
            yield Finding(
                path=(*path, key),
                message=f"expected a script of at most {MAX_SCRIPT} characters",
                code=OPTION_WRONG,
            )
    for key in ("loadBytebufferJS", "loadLongJS"):
        yield from _is_bool(options, key, path)


@dataclass(frozen=True)
class Engine:
    """A mapper: may it be named without a definition, and what its options must be."""

    bare: bool
    check: Check = _nothing


ENGINES: dict[str, Engine] = {
    "Ditto": Engine(True),
    "RawMessage": Engine(True, _raw_message),
    "Normalized": Engine(True, _normalized),
    "CloudEvents": Engine(True),
    "JavaScript": Engine(True, _java_script),
    "UpdateTwinWithLiveResponse": Engine(True, _update_twin),
    "ConnectionStatus": Engine(False, _connection_status),
    "ImplicitThingCreation": Engine(False, _implicit_thing),
}


def check(connection: Connection) -> Iterator[Finding]:
    """What is wrong with the definitions, and with the names that sources and targets use."""
    for name, definition in connection.mapping_definitions.items():
        yield from _definition(definition, ("mappingDefinitions", name), connection.id)
    for side, used in (
        ("sources", [source.payload_mapping for source in connection.sources]),
        ("targets", [target.payload_mapping for target in connection.targets]),
    ):
        for index, names in enumerate(used):
            for position, name in enumerate(names):
                path: Path = (side, index, "payloadMapping", position)
                yield from _reference(name, connection.mapping_definitions, path)


def _definition(definition: MappingDefinition, path: Path, connection_id: str) -> Iterator[Finding]:
    engine = ENGINES.get(definition.mapping_engine)
    if engine is None:
        yield Finding(
            path=(*path, "mappingEngine"),
            message="names no mapper",
            found=quoted(definition.mapping_engine),
            hint=did_you_mean(definition.mapping_engine, ENGINES),
        )
    else:
        yield from engine.check(definition.options, (*path, "options"), connection_id)
    for key, conditions in (
        ("incomingConditions", definition.incoming_conditions),
        ("outgoingConditions", definition.outgoing_conditions),
    ):
        for name, text in conditions.items():
            at = (*path, key, name)
            yield from expressions.condition(text, Scope.SIGNAL, at, connection_id)


def _reference(
    name: str, definitions: Mapping[str, MappingDefinition], path: Path
) -> Iterator[Finding]:
    if name in definitions:
        return
    engine = ENGINES.get(name)
    if engine is None:
        yield Finding(
            path=path,
            message="names no mapping definition, and no mapper",
            found=quoted(name),
            hint=did_you_mean(name, [*definitions, *ENGINES]),
        )
    elif not engine.bare:
        yield Finding(
            path=path,
            message="names a mapper that needs a definition with options",
            found=quoted(name),
            code=OPTION_MISSING,
        )
