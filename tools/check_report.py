"""Fail unless a pytest run, by its JUnit file, ran every test that needs a broker.

Exit status 0 of pytest says that nothing failed; it also says so when everything was skipped.
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree as ET

NEED_BROKERS = ("integration", "e2e", "faults")


def folder(case: ET.Element) -> str:
    """The folder of tests/ that it is in."""
    return [*case.get("classname", "").split("."), "", ""][1]


def problems(report: Path) -> list[str]:
    """What is wrong with the run, one line each."""
    cases = list(ET.parse(report).iter("testcase"))  # noqa: S314  (pytest wrote it just now)
    ran = {folder(case) for case in cases}
    found = [f"no test of tests/{needed} ran" for needed in NEED_BROKERS if needed not in ran]
    for case in cases:
        name = f"{case.get('classname')}.{case.get('name')}"
        skipped = case.find("skipped")
        if skipped is not None and folder(case) in NEED_BROKERS:
            found.append(f"skipped: {name}: {skipped.get('message')}")
        if case.find("failure") is not None or case.find("error") is not None:
            found.append(f"failed: {name}")
    return found


def main(report: str) -> int:
    """1 if something is wrong."""
    found = problems(Path(report))
    sys.stdout.write("".join(f"{problem}\n" for problem in found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
