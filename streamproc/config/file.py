"""One configuration file: its values, where each is written, and how a mistake in it is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any

from streamproc.config.document import MAX_FILE_BYTES, Document, SyntaxProblem, decoded
from streamproc.config.problem import Finding, Path, Problem, json_path, quoted
from streamproc.config.read_json import read_json
from streamproc.config.read_yaml import read_yaml
from streamproc.config.references import References
from streamproc.config.uri import masked

SUFFIXES = (".json", ".yaml", ".yml")
SHORT_SECRET = 3  # characters; a shorter one says nothing, and is in every sentence


class ConfigFile:
    """A file as it was read. ``value``: what it says, references resolved."""

    def __init__(self, path: FilePath, env: Mapping[str, str]) -> None:
        self.path = path
        self.name = str(path).encode("utf-8", "backslashreplace").decode()  # for people
        self.document = Document()
        self.references = References(path.parent, env)
        self.value: Any = None
        self.is_read = False
        self._findings: list[Finding] = []
        try:
            self.document = _document(path)
        except SyntaxProblem as problem:
            self.document.marks[()] = problem.mark
            self._findings.append(Finding(path=(), message=problem.message))
        else:
            self.is_read = True
            self.value = self.references.resolve(self.document.value)

    def findings(self) -> Iterator[Finding]:
        """What is wrong with the text and its references, whatever it is about."""
        yield from self._findings
        yield from self.references.findings
        for path, _ in self.document.repeated:
            yield Finding(path=path, message="is written twice in the same mapping")

    def problem(self, finding: Finding, secrets: Iterable[str]) -> Problem:
        """*finding* for people: with its place, and without any of *secrets*."""
        sentence, hint = finding.sentence, finding.hint
        if finding in self.references.findings:
            pass  # says what was asked for, and that it is not there
        elif source := self.references.at(finding.path):
            sentence, hint = f"{finding.discreet}, found what {quoted(masked(source))} says", ""
        elif any(s in sentence or s in hint for s in secrets if len(s) >= SHORT_SECRET):
            sentence, hint = finding.discreet, ""
        line, column = self.document.mark(finding.path)
        return Problem(
            file=self.name,
            line=line,
            column=column,
            path=json_path(finding.path),
            message=sentence,
            hint=hint,
            code=finding.code,
        )


def below(paths: Iterable[Path], base: Path) -> set[Path]:
    """Those of *paths* that lie under *base*, as seen from it."""
    size = len(base)
    return {path[size:] for path in paths if path[:size] == base}


def _document(path: FilePath) -> Document:
    """The document in a file; raises SyntaxProblem also when it cannot be read."""
    start = (1, 1)
    try:
        if not path.is_file():
            missing = "no such file" if not path.exists() else "not a regular file"
            raise SyntaxProblem(f"cannot be read: {missing}", start)
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise SyntaxProblem(f"cannot be read: {reason}", start) from None
    if len(data) > MAX_FILE_BYTES:
        raise SyntaxProblem(f"expected at most {MAX_FILE_BYTES} bytes", start)
    text = decoded(data)
    return read_json(text) if path.suffix == ".json" else read_yaml(text)
