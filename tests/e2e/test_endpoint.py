"""An endpoint that fails, and one that is gone: what /status and the metrics say, what is sent
meanwhile, and that nothing is lost.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

from tests.e2e import ends
from tests.e2e.service import Service

MESSAGES = 3_000


def config(url: str) -> dict[str, Any]:
    return {
        "workers": 1,
        "retry": {"firstDelayS": 0.05, "maxDelayS": 0.5},
        "breaker": {"firstOpenS": 0.5, "maxOpenS": 1.0},
        **ends.policies(),
        "connections": [
            ends.generator(50, MESSAGES),
            ends.push("hook", url),
        ],
    }


def link(service: Service) -> dict[str, Any]:
    (client,) = [c for c in service.status()["clients"] if c["connection"] == "hook"]
    (found,) = client["links"]
    return dict(found)


def test_a_breaker_opens_says_so_and_closes_again(tmp_path: Path) -> None:
    with ends.Receiver() as far:
        far.behave(status=503)
        with Service(tmp_path, config(far.url)) as service:
            service.start()
            service.eventually(lambda: link(service)["state"] == "held", "held")
            service.eventually(lambda: service.metric("endpoint_state", "hook") == 3, "in metrics")
            said = link(service)
            if said["state"] == "held":
                assert "breaker open until" in said["error"]
                assert "endpoint answered 503" in said["error"]
                assert said["nextTry"] is not None
            assert service.ready()
            far.behave()
            service.eventually(lambda: far.figures()["unique"] == MESSAGES, "all delivered")
            service.eventually(lambda: service.metric("endpoint_state", "hook") == 0, "well again")
            assert service.metric("endpoint_limit", "hook") == 8
            assert service.metric("endpoint_holds_total", "hook") > 0
            assert link(service)["state"] == "open"
            assert far.figures()["out_of_order"] == 0
            service.balanced("devices", "hook")
            assert service.terminate() == 0


def test_410_stops_the_target_until_a_reload_and_loses_nothing(tmp_path: Path) -> None:
    with ends.Receiver() as far:
        far.behave(status=503)
        with Service(tmp_path, config(far.url)) as service:
            service.start()
            far.behave(status=410)
            service.eventually(lambda: link(service)["state"] == "misconfigured", "stopped")
            assert link(service)["error"].startswith(
                "stopped until a reload: endpoint answered 410"
            )
            service.eventually(lambda: service.metric("endpoint_state", "hook") == 4, "in metrics")
            far.behave()
            time.sleep(1.5)  # far longer than any back-off: nothing may come by itself
            assert far.figures()["unique"] == 0
            service.signal(signal.SIGHUP)
            service.eventually(lambda: far.figures()["unique"] == MESSAGES, "all delivered")
            assert far.figures()["out_of_order"] == 0
            service.eventually(lambda: service.ready(), "ready")
            ledger = service.balanced("devices", "hook")
            assert ledger["parked"] == 0
            assert service.terminate() == 0
