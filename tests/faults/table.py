"""What became of each scenario of the matrix, for people and for the record."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HEAD = ("messages", "missing", "parked", "doubled", "allowed", "disorder", "flows s", "took s")
LAYOUT = "{:28}{:16}" + "{:>9}" * len(HEAD)


class Row(NamedTuple):
    """One run of a scenario on a road."""

    scenario: str
    road: str
    messages: int
    missing: int  # neither arrived nor parked
    parked: int
    duplicates: int
    allowed: int
    out_of_order: int
    flowing_again_s: float
    took_s: float


ROWS: list[Row] = []


def note(row: Row) -> None:
    """Keep it, also for a run that is cut short: STREAMPROC_FAULTS_JSON names the file."""
    ROWS.append(row)
    if path := os.environ.get("STREAMPROC_FAULTS_JSON"):
        record = {
            "load_average": os.getloadavg(),
            "cores": len(os.sched_getaffinity(0)),
            "rows": [
                row._asdict()
                | {"flowing_again_s": round(row.flowing_again_s, 2), "took_s": round(row.took_s, 1)}
                for row in ROWS
            ],
        }
        Path(path).write_text(json.dumps(record, indent=1) + "\n")


def lines() -> Iterator[str]:
    """The table, and its sum."""
    yield LAYOUT.format("scenario", "road", *HEAD)
    for row in ROWS:
        yield LAYOUT.format(*row[:-2], f"{row.flowing_again_s:.2f}", f"{row.took_s:.1f}")
    yield (
        f"{len(ROWS)} runs, {sum(row.messages for row in ROWS)} messages: "
        f"{sum(row.missing for row in ROWS)} missing, "
        f"{sum(row.duplicates for row in ROWS)} doubled, "
        f"{sum(row.out_of_order for row in ROWS)} out of order; flowing again after "
        f"{statistics.median(row.flowing_again_s for row in ROWS):.2f} s in the middle, "
        f"{max(row.flowing_again_s for row in ROWS):.2f} s at most"
    )
