"""``${env:NAME}`` and ``${file:path}`` in values: how secrets stay out of the file.

Resolved before anything is checked. Only these two prefixes are ours: ``${header:x}`` is
Ditto's older way to write a placeholder and passes untouched. ``$${env:`` stands for the
text ``${env:`` itself. What a variable or file says is text, and is not looked into again.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

from streamproc.config.document import SURROGATE
from streamproc.config.problem import Finding, Path, did_you_mean

MAX_SECRET_BYTES = 1 << 20

_REFERENCE = re.compile(r"(\$?)\$\{(env|file):([^}]*)(\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class _Missing(Exception):
    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class References:
    """Resolves the references of one document.

    Afterwards ``written`` says, by path, what stood where a value came from elsewhere: such
    a value is never shown, nor are the ``values`` put in. ``whole``: paths with nothing but
    one reference, so that a number may be written as text. ``missing``: paths for which
    there is no value.
    """

    def __init__(self, folder: FilePath, env: Mapping[str, str]) -> None:
        self.folder = folder
        self.env = env
        self.written: dict[Path, str] = {}
        self.whole: set[Path] = set()
        self.missing: set[Path] = set()
        self.values: set[str] = set()
        self.findings: list[Finding] = []

    def resolve(self, value: Any, path: Path = ()) -> Any:
        """*value* with every reference replaced. Reports the missing ones, all of them."""
        if isinstance(value, dict):
            return {key: self.resolve(child, (*path, key)) for key, child in value.items()}
        if isinstance(value, list):
            return [self.resolve(child, (*path, index)) for index, child in enumerate(value)]
        if isinstance(value, str) and "${" in value:
            return self._text(value, path)
        return value

    def at(self, path: Path) -> str:
        """What is written at *path*, or around it, if that is a reference."""
        found = (self.written.get(path[:end]) for end in range(len(path), -1, -1))
        return next((text for text in found if text is not None), "")

    def lacks(self, path: Path) -> bool:
        """Whether there is no value at *path*, or around it, because of a reference."""
        return any(path[:end] in self.missing for end in range(len(path) + 1))

    def _text(self, text: str, path: Path) -> str:
        used = False

        def put(match: re.Match[str]) -> str:
            nonlocal used
            escape, kind, name, close = match.groups()
            if escape:
                return match[0][1:]
            used = True
            try:
                if not close:
                    raise _Missing(f"'${{{kind}:' without its closing brace")
                value = self._variable(name) if kind == "env" else self._file(name)
                self.values.add(value)
                return value
            except _Missing as missing:
                self.missing.add(path)
                self.findings.append(Finding(path=path, message=missing.message, hint=missing.hint))
                return ""

        resolved = _REFERENCE.sub(put, text)
        if used:
            self.written[path] = text
            match = _REFERENCE.fullmatch(text)
            if match is not None and not match[1]:
                self.whole.add(path)
        return resolved

    def _variable(self, name: str) -> str:
        if not _NAME.match(name):
            raise _Missing(f"${{env:{name}}} names no environment variable")
        if (value := self.env.get(name)) is None:
            raise _Missing(
                f"the environment variable {name} is not set", did_you_mean(name, self.env)
            )
        if SURROGATE.search(value):
            raise _Missing(f"the environment variable {name} is no UTF-8 text")
        return value

    def _file(self, name: str) -> str:
        if not name:
            raise _Missing("${file:} names no file")
        try:
            data = _read(self.folder / name)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "no file name"
            raise _Missing(f"the file {name} cannot be read: {reason.lower()}") from None
        if len(data) > MAX_SECRET_BYTES:
            raise _Missing(f"the file {name} is larger than {MAX_SECRET_BYTES} bytes")
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise _Missing(f"the file {name} is no UTF-8 text") from None
        return text.removesuffix("\n").removesuffix("\r")


def _read(path: FilePath) -> bytes:
    """A regular file, up to the limit and a byte. Waits for nobody: a pipe is refused."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(0, "not a regular file")
        return file.read(MAX_SECRET_BYTES + 1)
