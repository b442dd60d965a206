"""docs/reference/metrics.md: every metric, its labels and its meaning."""

from __future__ import annotations

from streamproc.cli.pages.markdown import code, page, table
from streamproc.telemetry import metrics as module
from streamproc.telemetry.metrics import METRICS

_INTRODUCTION = """\
The master answers `/metrics` for all processes, in Prometheus' text format and in OpenMetrics.
Labels are bounded: none is ever a topic, a thing or a message."""


def metrics() -> str:
    """The page."""
    rows = [
        (code(m.name), m.kind, ", ".join(map(code, m.labels)), m.help) for m in METRICS.values()
    ]
    return page(
        "streamproc/telemetry/metrics.py",
        "Metrics",
        _INTRODUCTION,
        table(("metric", "kind", "labels", "meaning"), rows),
        f"## What adds up\n\n```\n{_identities()}\n```",
    )


def _identities() -> str:
    """The indented block of the table's own explanation."""
    lines = (module.__doc__ or "").splitlines()
    return "\n".join(line.removeprefix("    ") for line in lines if line.startswith("    "))
