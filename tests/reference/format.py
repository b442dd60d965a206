"""What ``fn:format`` writes, slowly and obviously: the pattern is read anew for each object.

It is read as Ditto reads it, by looking for the first section each time.
"""

from __future__ import annotations

import itertools
import re
from typing import Any

import orjson

from tests.reference.sources import json_text


def render(pattern: str, values: list[str]) -> list[str]:
    texts: list[str] = []
    for value in values:
        try:
            document = orjson.loads(value)
        except ValueError:
            continue
        if isinstance(document, dict):
            texts += of_object(pattern, document)
    return texts or [""]


def of_object(pattern: str, document: dict[str, Any]) -> list[str]:
    columns: list[list[str]] = []
    for kind, text, inside in parts(pattern):
        if kind == "text":
            columns.append([text])
            continue
        value = look_up(document, text)
        elements = value if isinstance(value, list) else [value]
        if value is None or value == []:
            columns.append([""])
        elif kind == "field":
            columns.append([json_text(element) for element in elements])
        else:
            columns.append([t for element in elements for t in of_element(inside, element)])
    return ["".join(choice) for choice in itertools.product(*columns)]


def of_element(pattern: str, element: Any) -> list[str]:
    if isinstance(element, dict):
        return of_object(pattern, element)
    own = {"text": lambda text: text, "field": lambda text: json_text(element) * (text == ".")}
    return ["".join(own.get(kind, lambda _: "")(text) for kind, text, _ in parts(pattern))]


def parts(pattern: str) -> list[tuple[str, str, str]]:
    """(kind, text or name, inside of a section), in order."""
    section = re.search(r"(?<!\\)\{#([^}]+)\}", pattern)
    if section is None:
        return fields(pattern)
    name = section[1]
    depth, at = 1, section.end()
    for tag in re.finditer(r"\{[#/]" + re.escape(name) + r"\}", pattern[section.end() :]):
        depth += 1 if tag[0][1] == "#" else -1
        if depth == 0:
            inside = pattern[at : at + tag.start()]
            rest = parts(pattern[at + tag.end() :])
            return [*fields(pattern[: section.start()]), ("section", name, inside), *rest]
    raise AssertionError("the parser lets no such pattern pass")


def fields(pattern: str) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    for i, text in enumerate(re.split(r"(?<!\\)\{(?!#)(?!/[^/}]+\})([^}]+)\}", pattern)):
        if i % 2:
            found.append(("field", text, ""))
        elif text:
            found.append(("text", text.replace("\\{", "{").replace("\\}", "}"), ""))
    return found


def look_up(document: Any, name: str) -> Any:
    """None for what is absent, too: both give nothing."""
    for key in name.strip("/").split("/") if name.strip("/") else []:
        document = document.get(key.replace("~0", "~")) if isinstance(document, dict) else None
    return document
