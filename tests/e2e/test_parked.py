"""``streamproc parked`` against a service that runs: what was refused is listed, shown, sent again
and dropped; it leaves the store when its target has it and not before.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e import ends
from tests.e2e.play import NAMESPACE
from tests.e2e.service import Service

MESSAGES = 300


def config(*connections: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Devices that say MESSAGES, and who is to get them."""
    return {
        "workers": 2,
        "retry": {"firstDelayS": 0.05, "maxDelayS": 0.2},
        "supervision": {"firstBackoffS": 0.1, "drainS": 5},
        **ends.policies(),
        "connections": [ends.generator(20, MESSAGES), *connections],
        **more,
    }


class Command:
    """``streamproc parked`` on the store of *service*."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def run(self, action: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        where = ["--config", str(self._service.config_file)]
        if action == "replay":
            where += ["--runtime-dir", str(self._service.runtime)]
        return subprocess.run(
            [sys.executable, "-m", "streamproc", "parked", action, *arguments, *where],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def entries(self, *arguments: str) -> list[dict[str, Any]]:
        done = self.run("list", "--json", "--limit", "100000", *arguments)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


def parked(service: Service) -> int:
    return service.metric("parked_messages", "")


def test_what_was_refused_is_replayed_when_its_target_takes_it(tmp_path: Path) -> None:
    with ends.Receiver() as receiver:
        receiver.behave(status=400, body="no thanks")
        with Service(tmp_path, config(ends.push("out", receiver.url))) as service:
            command = Command(service)
            service.start()
            service.eventually(lambda: parked(service) == MESSAGES, "all parked")
            assert service.metric("parked_bytes", "") > MESSAGES * 100

            entries = command.entries("--connection", "out")
            assert len(entries) == MESSAGES
            assert {entry["reason"] for entry in entries} == {"delivery_refused"}
            assert all("no thanks" in entry["message"] for entry in entries)
            shown = json.loads(command.run("show", str(entries[0]["id"])).stdout)
            assert shown["payload"]["topic"].startswith(f"{NAMESPACE}/")

            # Refused again: all stay where they are, with one more try.
            again = command.run("replay", "--reason", "delivery_refused")
            assert again.returncode == 1
            assert f"of {MESSAGES}: {MESSAGES} failed again" in again.stderr
            after = command.entries()
            assert [e["id"] for e in after] == [e["id"] for e in entries]
            assert {e["attempts"] for e in after} == {2}
            assert {e["time"] for e in after} == {e["time"] for e in entries}
            assert receiver.figures()["unique"] == 0

            receiver.behave()
            some = [str(entry["id"]) for entry in entries[:5]]
            done = command.run("replay", *some)
            assert (done.returncode, done.stderr.strip()) == (0, "of 5: 5 delivered")
            assert receiver.figures()["unique"] == 5
            dropped = command.run("drop", str(entries[5]["id"]), "--yes")
            assert dropped.stdout.strip() == "dropped 1"
            done = command.run("replay", "--all", "--rate", "2000/s")
            assert done.returncode == 0, done.stderr
            figures = receiver.figures()
            assert figures["unique"] == MESSAGES - 1
            assert figures["duplicated"] == 0
            assert figures["out_of_order"] == 0
            assert command.entries() == []
            service.eventually(lambda: parked(service) == 0, "the figures follow")
            assert service.metric("parked_replayed_total", "out") == 2 * MESSAGES - 1
            service.balanced("devices", "out")
            assert service.terminate() == 0


def test_a_replay_to_a_target_that_is_away_waits_and_loses_nothing(tmp_path: Path) -> None:
    with ends.Receiver() as receiver:
        receiver.behave(status=400)
        with Service(tmp_path, config(ends.push("out", receiver.url))) as service:
            command = Command(service)
            service.start()
            service.eventually(lambda: parked(service) == MESSAGES, "all parked")
            receiver.behave(status=503)
            first = command.run("replay", "--all", "--wait", "1")
            assert first.returncode == 1
            assert "waiting" in first.stderr
            assert len(command.entries()) == MESSAGES
            # The service ends while they wait: the store still has them.
            assert service.terminate() in (0, 1)
            assert len(command.entries()) == MESSAGES
            receiver.behave()
            service.config["connections"] = [ends.push("out", receiver.url)]
            service.start()
            done = command.run("replay", "--all")
            assert done.returncode == 0, done.stderr
            assert receiver.figures()["unique"] == MESSAGES
            assert command.entries() == []
            assert service.terminate() == 0


def test_without_a_service_all_but_replay_work(tmp_path: Path) -> None:
    with ends.Receiver() as receiver:
        receiver.behave(status=400)
        with Service(tmp_path, config(ends.push("out", receiver.url))) as service:
            command = Command(service)
            service.start()
            service.eventually(lambda: parked(service) == MESSAGES, "all parked")
            assert service.terminate() == 0
            assert command.run("replay", "--all").returncode != 0
            assert command.run("drop", "--all").returncode == 2  # nobody there to ask
            entries = command.entries("--since", "1h")
            assert len(entries) == MESSAGES
            assert command.entries("--before", "1h") == []
            shown = command.run("list", "--limit", "3")
            assert len(shown.stdout.splitlines()) == 4
            assert "--after 3" in shown.stderr
            assert command.run("drop", "--all", "--yes").stdout.strip() == f"dropped {MESSAGES}"
            assert command.entries() == []
            assert command.run("show", "1").returncode == 1


def test_what_was_spilled_for_a_connection_that_is_gone_is_parked(tmp_path: Path) -> None:
    with ends.Receiver() as good, ends.Receiver() as bad:
        bad.behave(status=503)
        spill = {"afterS": 0.1, "windowMessages": 20}
        connections = (ends.push("good", good.url), ends.push("bad", bad.url))
        with Service(tmp_path, config(*connections, spill=spill)) as service:
            command = Command(service)
            service.start()
            service.eventually(
                lambda: (
                    service.metric("spill_depth", "bad") > MESSAGES / 2
                    and good.figures()["unique"] == MESSAGES
                ),
                "spilled for the bad one",
            )
            service.terminate()
            service.config["connections"] = [ends.push("good", good.url)]
            service.start()
            service.eventually(lambda: parked(service) > MESSAGES / 2, "parked")
            entries = command.entries()
            assert {e["reason"] for e in entries} == {"client_not_configured"}
            assert {e["connection"] for e in entries} == {"bad"}
            assert service.terminate() == 0
            bad.behave()
            service.config["connections"] = [ends.push("bad", bad.url)]
            service.start()
            done = command.run("replay", "--connection", "bad")
            assert done.returncode == 0, done.stderr
            figures = bad.figures()
            assert figures["unique"] == len(entries)
            assert figures["out_of_order"] == 0
            assert service.terminate() == 0


def test_refused_messages_go_to_a_target_of_choice_and_else_to_the_store(tmp_path: Path) -> None:
    with ends.Receiver() as receiver, ends.Receiver() as letters:
        receiver.behave(status=400)
        dead = ends.push("dead", letters.url)
        dead["targets"] = [
            {"address": "POST:/letters", "topics": [], "authorizationContext": ["e2e:targets"]}
        ]
        connections = (ends.push("out", receiver.url), dead)
        parking = {"connection": "dead", "afterS": 1.0}
        with Service(tmp_path, config(*connections, parking=parking)) as service:
            command = Command(service)
            service.start()
            service.eventually(lambda: letters.figures()["unique"] == MESSAGES, "all brought")
            service.eventually(
                lambda: service.metric("deliveries_parked_total", "out") == MESSAGES, "counted"
            )
            assert command.entries() == []
            service.balanced("devices", "out")
            # Without it the store takes them: what was on its way, and what comes.
            letters.behave(status=503)
            service.terminate()
            service.start()
            service.eventually(lambda: parked(service) == MESSAGES, "all in the store")
            assert {e["reason"] for e in command.entries()} == {"delivery_refused"}
            assert {e["connection"] for e in command.entries()} == {"out"}
            assert service.metric("dead_letters_total", "") >= 1
            service.balanced("devices", "out")
            assert service.terminate() in (0, 1)
