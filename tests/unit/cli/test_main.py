"""The command: a table of sub-commands that do not get in each other's way."""

from __future__ import annotations

import subprocess
import sys

import pytest

from streamproc.cli import main as command
from streamproc.errors import StreamprocError
from streamproc.version import VERSION


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"streamproc {VERSION}\n"


def test_help_shows_what_is_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(command.COMMANDS, "away", ("streamproc.cli.away:main", "is not there"))
    with pytest.raises(SystemExit) as ended:
        command.main(["--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "eval" in out
    assert "away" not in out


def test_nothing_is_not_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 2
    assert "usage:" in capsys.readouterr().err


def test_a_mistyped_command_gets_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["evl", "--x"]) == 2
    assert "did you mean 'eval'" in capsys.readouterr().err
    assert command.main(["zzz"]) == 2
    assert "--help" in capsys.readouterr().err


def test_a_missing_module_says_so_and_others_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(command.COMMANDS, "away", ("streamproc.cli.away:main", "is not there"))
    assert command.main(["away"]) == 2
    assert "streamproc.cli.away" in capsys.readouterr().err
    assert command.main(["eval", "--template", "x"]) == 0


def _asked(arguments: list[str]) -> int:
    if "error" in arguments:
        raise StreamprocError("it went wrong")
    if "interrupt" in arguments:
        raise KeyboardInterrupt
    return len(arguments)


def test_arguments_and_status_are_passed_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_asked", _asked, raising=False)
    monkeypatch.setitem(command.COMMANDS, "asked", ("streamproc.cli.main:_asked", "a test"))
    assert command.main(["asked", "--help", "x", "--", "-y"]) == 4
    assert command.main(["asked"]) == 0
    assert command.main(["asked", "error"]) == 2
    assert "streamproc asked: it went wrong" in capsys.readouterr().err
    assert command.main(["asked", "interrupt"]) == 130


@pytest.mark.parametrize("name", sorted(command.COMMANDS))
def test_every_row_is_well_formed(name: str) -> None:
    place, text = command.COMMANDS[name]
    module, colon, function = place.partition(":")
    assert module.startswith("streamproc.cli.")
    assert colon
    assert function.isidentifier()
    assert text[0].islower()
    assert not text.endswith(".")


def test_it_starts_without_what_it_does_not_need() -> None:
    """The master and ``eval`` import no client of a broker."""
    code = (
        "import sys; from streamproc.cli.main import main; main(['eval', '--template', 'x']);"
        "print(sorted({'confluent_kafka', 'aio_pika', 'aiohttp', 'uvloop'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout.splitlines()[-1] == "[]"


def test_it_runs_as_a_module() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "streamproc", "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, f"streamproc {VERSION}\n")
