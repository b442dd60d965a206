"""YAML with the place of every value, from the events of the parser.

Scalars mean what YAML 1.2's core schema says, not what PyYAML's YAML 1.1 says: ``no`` is a
word, ``1:30`` is text, ``1e3`` is a number. Aliases and ``<<`` are followed; each use counts
against the bound of a document, so that none can be made to explode.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from streamproc.config.document import (
    MAX_DEPTH,
    MAX_DIGITS,
    MAX_VALUES,
    SURROGATE,
    Document,
    Mark,
    SyntaxProblem,
)
from streamproc.config.problem import Path

# libyaml's parser where PyYAML was built with it (every wheel is): ten times the speed.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_STANDARD = "tag:yaml.org,2002:"
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOL = {w: w.lower() == "true" for w in ("true", "True", "TRUE", "false", "False", "FALSE")}
_INT = re.compile(r"[-+]?[0-9]+\Z|0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")


@dataclass
class _Node:
    mark: Mark
    scalar: Any = None
    items: list[_Node] | None = None
    entries: list[tuple[_Node, _Node]] | None = None
    is_merge: bool = False  # "<<" without quotes
    is_open: bool = False  # not yet at its end: an alias to it from inside has no end


def read_yaml(text: str) -> Document:
    """The document of a YAML text; raises SyntaxProblem."""
    try:
        root = _tree(text)
    except yaml.MarkedYAMLError as error:
        place = error.problem_mark or error.context_mark
        mark = (place.line + 1, place.column + 1) if place else (1, 1)
        parts = [str(part) for part in (error.context, error.problem) if part]
        raise SyntaxProblem(", ".join(parts) or "no YAML", mark) from None
    except yaml.reader.ReaderError as error:
        raise SyntaxProblem(
            f"a character that YAML does not allow: {error.reason}", (1, 1)
        ) from None
    document = Document(marks={(): (1, 1)} if root is None else {})
    document.value = _Values(document).value(root, ()) if root else None
    return document


def _tree(text: str) -> _Node | None:
    """The first document, as nodes. Iterative: depth is bounded by us, not by the stack."""
    root: _Node | None = None
    anchors: dict[str, _Node] = {}
    stack: list[_Node] = []
    keys: list[_Node | None] = []  # per open mapping, the key that waits for its value

    for event in _events(text):
        mark = (event.start_mark.line + 1, event.start_mark.column + 1)
        if isinstance(event, yaml.DocumentStartEvent):
            if root is not None:
                raise SyntaxProblem("expected one document, found another after '---'", mark)
            continue
        if isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            stack.pop().is_open = False
            keys.pop()
            continue
        if isinstance(event, yaml.AliasEvent):
            node = anchors.get(str(event.anchor))
            if node is None:
                raise SyntaxProblem(f"no anchor &{event.anchor} before this alias", mark)
            if node.is_open:
                raise SyntaxProblem(f"alias *{event.anchor} is inside what it stands for", mark)
        elif isinstance(event, yaml.NodeEvent):
            node = _node(event, mark)
            if event.anchor is not None:
                anchors[event.anchor] = node
        else:
            continue
        if not stack:
            root = node
        elif (parent := stack[-1]).items is not None:
            parent.items.append(node)
        elif (key := keys[-1]) is None:
            keys[-1] = node
        else:
            assert parent.entries is not None
            parent.entries.append((key, node))
            keys[-1] = None
        if node.is_open and not isinstance(event, yaml.AliasEvent):
            stack.append(node)
            keys.append(None)
            if len(stack) > MAX_DEPTH:
                raise SyntaxProblem(f"nested deeper than {MAX_DEPTH}", mark)
    return root


def _events(text: str) -> Iterator[Any]:
    loader = _LOADER(text)
    try:
        while loader.check_event():
            yield loader.get_event()
    finally:
        loader.dispose()


def _node(event: Any, mark: Mark) -> _Node:
    tag = event.tag
    kind = tag.removeprefix(_STANDARD) if tag and tag.startswith(_STANDARD) else tag
    if isinstance(event, yaml.SequenceStartEvent) and kind in (None, "!", "seq"):
        return _Node(mark, items=[], is_open=True)
    if isinstance(event, yaml.MappingStartEvent) and kind in (None, "!", "map"):
        return _Node(mark, entries=[], is_open=True)
    if isinstance(event, yaml.ScalarEvent):
        if SURROGATE.search(event.value):
            raise SyntaxProblem("half of a surrogate pair, which is no character", mark)
        if kind in ("str", "!") or (kind is None and not event.implicit[0]):
            return _Node(mark, scalar=event.value)
        value = _scalar(event.value, mark)
        if kind is None or kind == _kind(value) or (kind == "float" and _kind(value) == "int"):
            return _Node(mark, scalar=value, is_merge=value == "<<")
    raise SyntaxProblem(f"a tag that has no meaning here: {kind}", mark)


def _scalar(text: str, mark: Mark) -> Any:
    """A plain scalar by the core schema."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if not text[:1].isascii() or len(text) > MAX_DIGITS:
        return text
    if _INT.match(text):
        return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
    if _FLOAT.match(text):
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise SyntaxProblem("a number that is too large", mark)
        return value
    return text


def _kind(value: Any) -> str:
    return {type(None): "null", bool: "bool", int: "int", float: "float", str: "str"}[type(value)]


class _Values:
    """Nodes to plain values, each use of an alias anew."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.count = 0

    def value(self, node: _Node, path: Path, depth: int = 0) -> Any:
        self.document.marks.setdefault(path, node.mark)
        self.count += 1
        if self.count > MAX_VALUES:
            raise SyntaxProblem(f"more than {MAX_VALUES} values, aliases followed", node.mark)
        if depth > MAX_DEPTH:
            raise SyntaxProblem(f"nested deeper than {MAX_DEPTH}, aliases followed", node.mark)
        if node.items is not None:
            return [self.value(n, (*path, i), depth + 1) for i, n in enumerate(node.items)]
        if node.entries is None:
            return node.scalar
        own: dict[str, Any] = {}
        for key, value in node.entries:
            name = key.scalar
            if key.items is not None or key.entries is not None or name is None:
                raise SyntaxProblem("expected a name as key, found something else", key.mark)
            if key.is_merge:
                continue
            if not isinstance(name, str):
                raise SyntaxProblem(f"expected a name as key, found {name!r}: quote it", key.mark)
            child = (*path, name)
            if name in own:
                self.document.repeated.append((child, key.mark))
            self.document.marks[child] = key.mark
            own[name] = self.value(value, child, depth + 1)
        for key, value in node.entries:
            if key.is_merge:
                self._merge(own, value, path, depth)
        return own

    def _merge(self, own: dict[str, Any], node: _Node, path: Path, depth: int) -> None:
        """``<<``: entries of other mappings, where there is none of that name yet."""
        for source in node.items if node.items is not None else [node]:
            if source.entries is None:
                raise SyntaxProblem(
                    "expected a mapping, or a list of them, after '<<'", source.mark
                )
            scratch = _Values(Document())
            scratch.count = self.count
            merged = scratch.value(source, (), depth + 1)
            self.count = scratch.count
            new = merged.keys() - own.keys()
            own.update((name, value) for name, value in merged.items() if name in new)
            for inner, mark in scratch.document.marks.items():
                if inner and inner[0] in new:
                    self.document.marks[path + inner] = mark
