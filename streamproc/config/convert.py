"""Plain values to the model, with every mistake at once and exactly where it is.

``msgspec.convert`` stops at the first mistake. So the model is walked field by field; leaves
alone are given to it. Where a value cannot be used a blank one stands in, and its path is
``broken``: whoever goes on to check more keeps silent about it.
"""

from __future__ import annotations

import typing
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar, cast

import msgspec

from streamproc.config.annotation import (
    alternatives,
    blank,
    extra,
    is_struct,
    options,
    parts,
    words,
)
from streamproc.config.problem import (
    FIELD_MISSING,
    KEY_UNKNOWN,
    Finding,
    Path,
    did_you_mean,
    nearest,
    quoted,
)

T = TypeVar("T", bound=msgspec.Struct)


@dataclass
class Converted(Generic[T]):
    """The model as far as it could be read. Only to be used when ``broken`` is empty."""

    value: T
    findings: list[Finding] = field(default_factory=list)
    broken: set[Path] = field(default_factory=set)

    def spoils(self, path: Path) -> bool:
        """Whether something at or around *path* could not be read."""
        return any(path[:end] in self.broken for end in range(len(path) + 1))


def convert(model: type[T], value: Any, *, text: Set[Path] = frozenset()) -> Converted[T]:
    """*value* as *model*. At the paths of *text* a number or truth may be written as text."""
    walk = _Walk(text)
    made = walk.struct(model, value, (), secret=False)
    return Converted(cast(T, made), walk.findings, walk.broken)


class _Walk:
    def __init__(self, text: Set[Path]) -> None:
        self.text = text
        self.findings: list[Finding] = []
        self.broken: set[Path] = set()

    def value(self, annotation: Any, value: Any, path: Path, secret: bool) -> Any:
        secret = secret or bool(extra(annotation, "secret"))
        bare, _ = parts(annotation)
        members = alternatives(bare)
        if len(members) > 1:
            if value is None and type(None) in members:
                return None
            rest = [m for m in members if m is not type(None)]
            if len(rest) > 1:
                return self._leaf(annotation, value, path, secret)
            annotation = rest[0]
            bare, _ = parts(annotation)
        if bare is Any:
            return value
        if is_struct(bare):
            return self.struct(bare, value, path, secret)
        origin = typing.get_origin(bare)
        if origin is list:
            if not isinstance(value, list):
                return self._break(annotation, value, path, secret)
            item = typing.get_args(bare)[0]
            return [self.value(item, v, (*path, i), secret) for i, v in enumerate(value)]
        if origin is dict:
            if not isinstance(value, dict):
                return self._break(annotation, value, path, secret)
            item = typing.get_args(bare)[1]
            return {k: self.value(item, v, (*path, k), secret) for k, v in value.items()}
        return self._leaf(annotation, value, path, secret)

    def struct(
        self, model: type[msgspec.Struct], value: Any, path: Path, secret: bool
    ) -> msgspec.Struct:
        if not isinstance(value, dict):
            return cast(msgspec.Struct, self._break(model, value, path, secret))
        fields = {f.encode_name: f for f in options(model)}
        free = sorted(fields.keys() - value.keys()) or sorted(fields)
        meant = {self._unknown(key, free, path) for key in value if key not in fields}
        made: dict[str, Any] = {}
        for key, option in fields.items():
            if key in value:
                child = (*path, key)
                made[option.name] = self.value(option.type, value[key], child, secret)
                if child in self.broken and not option.required:
                    del made[option.name]  # the default is a better stand-in than a blank
            elif option.required:
                self.broken.add((*path, key))
                if key not in meant:  # a name misspelt is one mistake, not two
                    self.findings.append(
                        Finding(
                            path=(*path, key),
                            message=f"is missing, expected {words(option.type)}",
                            code=FIELD_MISSING,
                        )
                    )
                made[option.name] = blank(option.type)
        return model(**made)

    def _unknown(self, key: str, known: Sequence[str], path: Path) -> str:
        """Report *key*; the option that was meant, if one is near."""
        near = nearest(key, known)
        self.findings.append(
            Finding(
                path=(*path, key),
                message="is not an option here",
                code=KEY_UNKNOWN,
                hint=did_you_mean(key, known),
            )
        )
        return near

    def _leaf(self, annotation: Any, value: Any, path: Path, secret: bool) -> Any:
        try:
            return msgspec.convert(value, annotation, strict=path not in self.text)
        except msgspec.ValidationError:
            return self._break(annotation, value, path, secret)

    def _break(self, annotation: Any, value: Any, path: Path, secret: bool) -> Any:
        bare, _ = parts(annotation)
        hint = ""
        if typing.get_origin(bare) is Literal and not secret:
            hint = did_you_mean(value, [v for v in typing.get_args(bare) if isinstance(v, str)])
        self.broken.add(path)
        self.findings.append(
            Finding(
                path=path,
                message=f"expected {words(annotation)}",
                found="" if secret else quoted(value),
                hint=hint,
            )
        )
        return blank(annotation)
