"""How a link is shown to people while its endpoint is left alone: its state, why, until when."""

from __future__ import annotations

from datetime import UTC, datetime

from streamproc.control import ClientState
from streamproc.errors import DeliveryFailed, Misconfigured, RunnerError
from streamproc.worker.gate import Standing

_HELD = {"broken": "breaker open", "waiting": "left alone"}


def told(standing: Standing) -> tuple[ClientState, RunnerError | None, float | None]:
    """What ``Link.become`` takes, of a link that is open and whose endpoint stands so."""
    until = standing.until
    if standing.state == "stopped":
        return "misconfigured", Misconfigured(f"stopped until a reload: {standing.why}"), None
    if until is None or standing.state not in _HELD:
        return "open", None, None
    clock = datetime.fromtimestamp(until, UTC).isoformat(timespec="seconds")
    text = f"{_HELD[standing.state]} until {clock}, because {standing.why}"
    return "held", DeliveryFailed(text), until
