"""specificConfig as the typed options of its connector.

Ditto keeps every value as text, so ``"4"`` stands for 4 and ``"true"`` for true. A group of
options is a mapping here, and JSON where it is kept as text.
"""

from __future__ import annotations

import json
import typing
from typing import Any, Literal

from streamproc.config import annotation
from streamproc.config.annotation import alternatives, is_struct, parts
from streamproc.config.connection import Connection
from streamproc.config.convert import Converted, convert
from streamproc.config.problem import Finding, json_path
from streamproc.config.rules import option_texts
from streamproc.config.section import Section
from streamproc.connectors import CONNECTORS
from streamproc.errors import ConfigError

DIVERSION = frozenset(
    {
        "is-diversion-source",
        "is-diversion-target",
        "preserve-normal-response-via-source",
        "authorized-connections-as-sources",
    }
)
"""Options of Ditto's response diversion, which every connection type has."""


def options_of(connection: Connection) -> Section:
    """The options of a connection that was checked; raises ConfigError if it was not."""
    read = _read(connection)
    if read.findings:
        first = read.findings[0].under(("specificConfig",))
        raise ConfigError(f"{connection.id}: {json_path(first.path)}: {first.sentence}")
    return read.value


def check(connection: Connection) -> list[Finding]:
    """What is wrong with the options; nothing where there is no connector to ask."""
    if connection.connection_type not in CONNECTORS:
        return []
    return [finding.under(("specificConfig",)) for finding in _read(connection).findings]


def _read(connection: Connection) -> Converted[Section]:
    model = CONNECTORS[connection.connection_type].options
    texts: dict[str, Any] = dict(option_texts(connection.specific_config))
    for option in annotation.options(model):
        key = option.encode_name
        if key in texts:
            texts[key] = _spelled(texts[key], option.type)
    given = {key: text for key, text in texts.items() if key not in DIVERSION}
    return convert(model, given, text={(key,) for key in given})


def _joined(text: str) -> str:
    """A JSON list, which Ditto keeps as its text too, as words with commas."""
    try:
        words = json.loads(text)
    except ValueError:
        return text
    return ",".join(map(str, words)) if isinstance(words, list) else text


def _group(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _spelled(text: str, kind: object) -> Any:
    """A text as the option understands it: case and blanks do not count where they say nothing."""
    plain = text.strip().lower()
    for member in alternatives(parts(kind)[0]):
        bare, _ = parts(member)
        if is_struct(bare):
            return _group(text)
        if bare in (int, float, bool):
            return plain
        if typing.get_origin(bare) is Literal and plain in typing.get_args(bare):
            return plain
        if typing.get_origin(bare) is list and text.startswith("["):
            return _joined(text)
    return text
