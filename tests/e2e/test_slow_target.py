"""One of two targets fed by one source is down: the other one gets all its messages, and the
first gets them afterwards, in order, also when its worker is killed while it drains.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.e2e import ends
from tests.e2e.play import FULL
from tests.e2e.service import Service

MESSAGES = 100_000 if FULL else 8_000


def test_a_target_that_is_down_holds_up_no_other_and_loses_nothing(tmp_path: Path) -> None:
    with ends.Receiver() as good, ends.Receiver() as bad:
        bad.behave(status=503)
        config = {
            "workers": 2,
            "spill": {"afterS": 0.2, "windowMessages": 200},
            "retry": {"firstDelayS": 0.05, "maxDelayS": 0.5},
            "limits": {"sourceWindowMessages": 1000},
            "supervision": {"firstBackoffS": 0.1},
            **ends.policies(),
            "connections": [
                ends.generator(200, MESSAGES),
                ends.push("good", good.url),
                ends.push("bad", bad.url),
            ],
        }
        with Service(tmp_path, config) as service:
            service.start()
            service.eventually(
                lambda: good.figures()["unique"] == MESSAGES, "all delivered to the good one"
            )
            assert bad.figures()["unique"] == 0
            assert service.metric("deliveries_spilled_total", "bad") > MESSAGES / 2
            bad.behave()  # it is well again
            service.eventually(
                lambda: bad.figures()["unique"] > MESSAGES / 4, "a part drained from disk"
            )
            (worker,) = service.workers_of("bad")
            os.kill(service.worker_pids()[worker], signal.SIGKILL)
            service.eventually(lambda: bad.figures()["unique"] == MESSAGES, "all drained", 300)
            figures = bad.figures()
            assert figures["out_of_order"] == 0
            assert good.figures()["out_of_order"] == 0
            service.eventually(lambda: service.ready(), "whole again")
            for target in ("good", "bad"):
                service.balanced("devices", target)
            assert service.terminate() == 0
