"""Prints the table of the fault matrix where it is read."""

from __future__ import annotations

import pytest

from tests.faults import table


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if table.ROWS:
        terminalreporter.section("fault matrix")
        for line in table.lines():
            terminalreporter.write_line(line)
