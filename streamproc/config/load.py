"""Files, environment and secrets to a service, or to all problems at once (design 9).

What lints starts: ``run`` and ``lint`` come through here. Nothing is looked up in a network
unless ``hosts`` has rules.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any

import msgspec

from streamproc.config import legacy, options, rules, service_rules, support
from streamproc.config.connection import Connection
from streamproc.config.convert import convert
from streamproc.config.file import SUFFIXES, ConfigFile, below
from streamproc.config.hosts import HostCheck, Resolver, system_resolver
from streamproc.config.problem import Finding, Path, Problem, quoted
from streamproc.config.service import Service
from streamproc.connectors import CONNECTORS
from streamproc.errors import ConfigError

MAX_CONNECTION_FILES = 10_000


@dataclass(frozen=True)
class Loaded:
    """What came of it. ``warnings`` stop nothing; ``problems`` stop everything."""

    problems: list[Problem]
    warnings: list[Problem]
    files: list[FilePath]  # all that were read: a change of one is a change of the service
    written: dict[str, dict[Path, str]]  # by connection id, for ``secrets.redact``
    read: Service = field(repr=False)  # blanks stand for what could not be read

    @property
    def service(self) -> Service:
        """The service; raises ConfigError while there are problems."""
        if self.problems:
            count = len(self.problems)
            more = f" and {count - 1} more" if count > 1 else ""
            raise ConfigError(f"{self.problems[0]}{more}")
        return self.read


def load(
    path: FilePath,
    env: Mapping[str, str] = os.environ,
    *,
    resolve: Resolver = system_resolver,
) -> Loaded:
    """Read the service in *path*, and the folder of connections it names.

    A file that is one connection in Ditto's JSON counts as a service of only that.
    """
    return _Load(env, resolve).run(path)


@dataclass
class _Entry:
    """A connection, and where it is written."""

    file: ConfigFile
    base: Path
    connection: Connection


class _Load:
    def __init__(self, env: Mapping[str, str], resolve: Resolver) -> None:
        self.env = env
        self.resolve = resolve
        self.files: list[ConfigFile] = []
        self.found: list[tuple[ConfigFile, Finding]] = []
        self.entries: list[_Entry] = []
        self.broken_service: set[Path] = set()

    def run(self, path: FilePath) -> Loaded:
        root = self._file(path)
        raw = root.value if isinstance(root.value, dict) else {}
        if root.is_read and not isinstance(root.value, dict):
            self._report(
                root, Finding(path=(), message="expected a mapping", found=quoted(root.value))
            )
        alone = "connectionType" in raw
        service = Service() if alone else self._service(root, raw)
        written = (
            [(root, (), raw)] if alone else [*self._inline(root, raw), *self._folder(root, service)]
        )
        hosts = HostCheck(service.hosts, self.resolve)
        for file, base, value in written:
            self._connection(file, base, value, service, hosts)
        self._twice()
        connections = [entry.connection for entry in self.entries]
        service = msgspec.structs.replace(service, connections=connections)
        if not alone:
            self._cross_check(root, service)
        return self._loaded(service)

    def _file(self, path: FilePath) -> ConfigFile:
        file = ConfigFile(path, self.env)
        self.files.append(file)
        self.found += ((file, finding) for finding in file.findings())
        return file

    def _service(self, root: ConfigFile, raw: dict[str, Any]) -> Service:
        """Everything but the connections, which are read one by one."""
        rest = {key: value for key, value in raw.items() if key != "connections"}
        read = convert(Service, rest, text=root.references.whole)
        for finding in read.findings:
            self._report(root, finding)
        self.broken_service |= read.broken
        folder = root.path.parent / read.value.data_dir
        return msgspec.structs.replace(read.value, data_dir=str(folder.absolute()))

    def _inline(
        self, root: ConfigFile, raw: dict[str, Any]
    ) -> Iterator[tuple[ConfigFile, Path, Any]]:
        given = raw.get("connections", [])
        if not isinstance(given, list):
            found = Finding(path=("connections",), message="expected a list", found=quoted(given))
            self._report(root, found)
            self.broken_service.add(("connections",))
            return
        for index, value in enumerate(given):
            yield root, ("connections", index), value

    def _folder(self, root: ConfigFile, service: Service) -> Iterator[tuple[ConfigFile, Path, Any]]:
        """``connectionsDir``: one connection a file, in the order of their names."""
        if service.connections_dir is None:
            return
        here: Path = ("connectionsDir",)
        folder = root.path.parent / service.connections_dir
        try:
            names = sorted(os.listdir(folder))
        except (OSError, ValueError) as error:
            reason = (getattr(error, "strerror", None) or "no name of a folder").lower()
            self._report(root, Finding(path=here, message=f"the folder cannot be read: {reason}"))
            return
        if len(names) > MAX_CONNECTION_FILES:
            most = f"expected at most {MAX_CONNECTION_FILES} files"
            self._report(root, Finding(path=here, message=most, found=str(len(names))))
            return
        for name in names:
            if name.startswith("."):
                continue  # what editors and mounted configuration maps leave behind
            if not name.endswith(SUFFIXES):
                message = f"the file {name} is not read: expected {', '.join(SUFFIXES)}"
                self._report(root, Finding(path=here, message=message, warning=True))
                continue
            file = self._file(folder / name)
            if file.is_read:
                yield file, (), file.value

    def _connection(
        self, file: ConfigFile, base: Path, raw: Any, service: Service, hosts: HostCheck
    ) -> None:
        """Read and check one connection; a broken part hides nothing that is said of others."""
        found = [*legacy.modernise(raw), *support.unused(Connection, raw)]
        read = convert(Connection, raw, text=below(file.references.whole, base))
        read.broken |= below(file.references.missing, base)
        found += read.findings
        connection = read.value
        if ("connectionType",) not in read.broken and (
            row := CONNECTORS.get(connection.connection_type)
        ):
            specific = ("specificConfig",)
            options_raw = connection.specific_config
            found += [f.under(specific) for f in support.unused(row.options, options_raw)]
        checked = rules.check(connection, limits=service.limits, hosts=hosts)
        said = {finding.path for finding in checked}
        checked += [f for f in options.check(connection) if f.path not in said]
        checked += support.check(connection)
        found += [
            finding
            for finding in checked
            if not read.spoils(finding.path) and not any((k,) in read.broken for k in finding.needs)
        ]
        for finding in found:
            self._report(file, finding.under(base))
        self.entries.append(_Entry(file, base, connection))

    def _cross_check(self, root: ConfigFile, service: Service) -> None:
        for finding in service_rules.check(service):
            match finding.path:
                case ("connections", int(index), *rest):
                    entry = self.entries[index]
                    moved = replace(finding, path=(*entry.base, *rest))
                    self._report(entry.file, moved)
                case ("namespaces", int(), "policy") if ("policies",) in self.broken_service:
                    pass  # which policies there are is not known
                case path:
                    broken = {path[:end] for end in range(len(path) + 1)} & self.broken_service
                    if not broken:
                        self._report(root, finding)

    def _twice(self) -> None:
        """Ids must be unique over all files."""
        first: dict[str, _Entry] = {}
        for entry in self.entries:
            id_ = entry.connection.id
            before = first.setdefault(id_, entry)
            if id_ and before is not entry:
                line, _ = before.file.document.mark((*before.base, "id"))
                self._report(
                    entry.file,
                    Finding(
                        path=(*entry.base, "id"),
                        message="expected an id that no other connection has",
                        found=quoted(id_),
                        hint=f"the first is in {before.file.name}, line {line}",
                    ),
                )

    def _report(self, file: ConfigFile, finding: Finding) -> None:
        """Keep a finding, unless it is about a value that could not even be fetched."""
        if not file.references.lacks(finding.path):
            self.found.append((file, finding))

    def _loaded(self, service: Service) -> Loaded:
        secrets = [s for file in self.files for s in file.references.values]
        problems: list[Problem] = []
        warnings: list[Problem] = []
        for file, finding in self.found:
            problem = file.problem(finding, secrets)
            into = warnings if finding.warning else problems
            if problem not in into:
                into.append(problem)
        order = {file.name: index for index, file in enumerate(self.files)}
        for some in (problems, warnings):
            some.sort(key=lambda p: (order[p.file], p.line, p.column, p.path))
        return Loaded(
            problems=problems,
            warnings=warnings,
            files=[file.path for file in self.files],
            written=self._written(),
            read=service,
        )

    def _written(self) -> dict[str, dict[Path, str]]:
        """What stands where a value came from elsewhere, by connection and path in it."""
        result: dict[str, dict[Path, str]] = {}
        for entry in self.entries:
            written, size = entry.file.references.written, len(entry.base)
            result[entry.connection.id] = {
                path[size:]: text for path, text in written.items() if path[:size] == entry.base
            }
        return result
