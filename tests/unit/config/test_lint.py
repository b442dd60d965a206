"""``streamproc lint``: what it prints, and what it answers the shell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamproc.cli.lint import main
from tests.unit.config.test_load import TEN, service, source, target, write


def test_ten_mistakes_are_ten_lines_and_a_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, TEN)
    assert main([str(path)]) == 1
    *lines, last = capsys.readouterr().out.splitlines()
    assert last == "10 problems"
    assert len(lines) == 10
    assert lines[0] == f"{path}:1:1: $.workers: expected a whole number from 1 to 256, found 'four'"
    assert lines[1] == (f"{path}:3:1: $.limit: is not an option here (did you mean 'limits')")


def test_a_good_file_is_ok(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, service(source(), target()))
    assert main([str(path), str(path)]) == 0
    assert capsys.readouterr().out == "ok: 4 connections\n"


def test_a_warning_is_shown_and_fails_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, service(source(), {**target(), "failoverEnabled": True}))
    assert main([str(path)]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert ": warning: $.connections[1].failoverEnabled: Has no effect" in first
    assert last == "ok: 2 connections, 1 warning"


def test_a_problem_in_any_file_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write(tmp_path, service(source()), "good.yaml")
    assert main([str(good), str(tmp_path / "missing.yaml")]) == 1
    assert (
        "missing.yaml:1:1: $: cannot be read: no such file\n1 problem\n" in capsys.readouterr().out
    )


def test_a_program_gets_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, TEN)
    assert main(["--format", "json", str(path)]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert len(answer["problems"]) == 10
    assert answer["problems"][1] == {
        "file": str(path),
        "line": 3,
        "column": 1,
        "path": "$.limit",
        "message": "is not an option here",
        "hint": "did you mean 'limits'",
        "code": "key_unknown",
    }
    assert answer["connections"] == 2


def test_a_file_name_that_is_no_text_can_be_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for form in ("text", "json"):
        assert main(["--format", form, f"{tmp_path}/\udcff.yaml"]) == 1
        assert "\\udcff.yaml" in capsys.readouterr().out.replace("\\\\", "\\")
