"""``streamproc run`` as far as it goes without starting anything."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from streamproc.cli.run import main
from streamproc.telemetry import events


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    events._output.clear()
    yield
    events._output.clear()
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "service.yaml"
    path.write_text("workers: 1\nmanagement: {port: 0}\n")
    return path


def test_check_says_nothing_of_a_file_that_works(
    good: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(good), "--check"]) == 0
    assert capsys.readouterr().err == ""


def test_every_problem_is_told_and_nothing_is_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "service.yaml"
    path.write_text("workers: none\nlimits: {maxSubjects: 0}\nunheard: 1\n")
    assert main([str(path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    for where in ("$.workers", "$.limits.maxSubjects", "$.unheard"):
        assert sum(where in line for line in lines) == 1, lines


def test_a_file_that_is_not_there_is_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("count", ["0", "257", "many"])
def test_a_number_of_workers_that_cannot_be_is_refused(good: Path, count: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(good), "--workers", count])
    assert ended.value.code == 2


def test_a_port_that_is_taken_is_said_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        path = tmp_path / "service.yaml"
        path.write_text(f"workers: 1\nmanagement: {{port: {taken.getsockname()[1]}}}\n")
        assert main([str(path), "--runtime-dir", str(tmp_path / "r")]) == 2
    assert "cannot listen on management" in capsys.readouterr().err
