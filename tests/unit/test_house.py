"""The rules of the house, so that nobody has to remember them."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import streamproc
import streamproc.connectors
import streamproc.master
from streamproc import errors
from streamproc.cli.main import COMMANDS
from streamproc.cli.pages.options import groups
from streamproc.config.annotation import description
from streamproc.config.bindings import BINDINGS
from streamproc.config.connection import ConnectionType
from streamproc.config.mappers import ENGINES
from streamproc.config.service import Service
from streamproc.config.support import CREDENTIALS, MAPPERS
from streamproc.connectors import CONNECTORS
from streamproc.connectors.base import Can
from streamproc.errors import STATUS, StreamprocError
from streamproc.evaluate import OPS
from streamproc.telemetry.metrics import METRICS

ROOT = Path(__file__).parents[2]
MOST_LINES = 500
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "base"}
ALLOWED = {ROOT / "streamproc/connectors/base.py"}
CLIENTS = {"aio_pika", "aiormq", "pamqp", "aiohttp", "confluent_kafka", "httptools", "lmdb"}

PYTHON = sorted((ROOT / "streamproc").rglob("*.py"))
CYTHON = sorted((ROOT / "ext").rglob("*.pyx")) + sorted((ROOT / "ext").rglob("*.pxd"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PYTHON + CYTHON, ids=name)
def test_a_file_can_be_read_in_one_go(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_a_module_says_first_why_it_is_there(path: Path) -> None:
    text = path.read_text()
    assert not text.strip() or ast.get_docstring(ast.parse(text)), "no docstring"


@pytest.mark.parametrize("path", PYTHON + CYTHON, ids=name)
def test_a_name_says_what_is_inside(path: Path) -> None:
    assert path.stem not in BANNED_NAMES or path in ALLOWED
    assert not {part.lower() for part in path.parts} & (BANNED_NAMES - {"base"})


@pytest.mark.parametrize("path", PYTHON + CYTHON + TESTS, ids=name)
def test_nothing_is_left_to_be_done_later(path: Path) -> None:
    assert not re.search(r"#[^\"'\n]*\b(TODO|FIXME|XXX|HACK)\b", path.read_text())


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_nothing_is_pickled(path: Path) -> None:
    assert not imported(path) & {"pickle", "marshal", "shelve", "dill"}


def imported(path: Path) -> set[str]:
    """Top-level names that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").partition(".")[0])
    return found


# Configuration


@pytest.mark.parametrize("row", CONNECTORS.values(), ids=lambda row: row.name)
def test_the_options_of_a_connector_need_no_client(row: Any) -> None:
    path = ROOT / (row.options.__module__.replace(".", "/") + ".py")
    assert path.name == "config.py"
    assert imported(path) <= {"__future__", "typing", "msgspec", "streamproc"}


STRUCTS = [*groups(Service), *(row.options for row in CONNECTORS.values())]


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_every_option_is_described(struct: type[msgspec.Struct]) -> None:
    assert struct.__doc__
    for option in msgspec.structs.fields(struct):
        text = description(option.type)
        assert text, option.name
        assert text[0].isupper() or not text[0].isalpha() or ":" in text, f"{option.name}: {text}"


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_options_refuse_what_they_do_not_know(struct: type[msgspec.Struct]) -> None:
    config = struct.__struct_config__
    assert config.forbid_unknown_fields
    assert config.frozen


def test_connection_types_bindings_and_connectors_are_one_list() -> None:
    types = set(ConnectionType.__args__)  # type: ignore[attr-defined]
    assert types == BINDINGS.keys()
    assert CONNECTORS.keys() <= types
    assert CREDENTIALS.keys() <= CONNECTORS.keys()
    assert ENGINES.keys() >= MAPPERS


@pytest.mark.parametrize("row", CONNECTORS.values(), ids=lambda row: row.name)
def test_a_row_and_its_binding_agree(row: Any) -> None:
    binding = BINDINGS[row.name]
    assert binding.schemes == row.schemes
    assert binding.sources == bool(row.can & Can.SOURCE) == bool(row.source)
    assert binding.targets == bool(row.can & Can.TARGET) == bool(row.target)
    assert not binding.sources or binding.source_form
    assert not binding.targets or binding.target_form
    assert CREDENTIALS.get(row.name, frozenset()) <= binding.credentials


# Tables


def test_codes_of_errors_are_unique() -> None:
    codes = [error.code for error in family(StreamprocError) if "code" in vars(error)]
    assert len(codes) == len(set(codes))
    assert all(error.__doc__ for error in family(StreamprocError))


def family(error: type[StreamprocError]) -> Iterator[type[StreamprocError]]:
    if error.__module__ == errors.__name__:
        yield error
        for child in error.__subclasses__():
            yield from family(child)


def test_every_status_is_one_of_http() -> None:
    assert all(400 <= status < 600 for status in STATUS.values())


def test_every_metric_says_what_it_counts() -> None:
    for metric in METRICS.values():
        assert metric.name.startswith(("streamproc_", "process_"))
        assert metric.help.endswith(".")


@pytest.mark.parametrize("place", [*(p for p, _ in COMMANDS.values()), *OPS.values()])
def test_what_a_table_names_is_there(place: str) -> None:
    module, _, attribute = place.partition(":")
    assert callable(getattr(importlib.import_module(module), attribute))


@pytest.mark.parametrize("row", CONNECTORS.values(), ids=lambda row: row.name)
def test_what_a_connector_names_is_there(row: Any) -> None:
    assert not row.source or row.source_factory()
    assert not row.target or row.target_factory()


# Imports, each in a process of its own: what a module pulls in shows only there.


def pulled_in(modules: list[str]) -> set[str]:
    """Top-level modules that are there after *modules* were imported."""
    program = "import importlib, sys\n" + "".join(
        f"importlib.import_module({module!r})\n" for module in modules
    )
    program += "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(run.stdout.split())


def modules_of(package: Any) -> list[str]:
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    return [module.name for module in found]


def test_the_master_has_no_client_of_any_broker() -> None:
    # aiohttp serves the management interface; the master moves no message with it.
    assert pulled_in(modules_of(streamproc.master)) & (CLIENTS - {"aiohttp"}) == set()


def test_lint_and_docs_need_no_client() -> None:
    commands = ["streamproc.cli.lint", "streamproc.cli.schema", "streamproc.cli.docs"]
    assert pulled_in(commands) & CLIENTS == set()


def test_the_table_of_connectors_needs_no_client() -> None:
    assert pulled_in(["streamproc.connectors"]) & CLIENTS == set()


def test_a_worker_loads_only_the_clients_it_is_given() -> None:
    assert pulled_in(["streamproc.worker.process"]) & {"confluent_kafka", "aio_pika"} == set()


def test_the_package_is_typed() -> None:
    assert (Path(streamproc.__file__).parent / "py.typed").is_file()
