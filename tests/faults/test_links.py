"""A connection that cannot open delays no other: not one whose peer is mute, whose name server
does not answer, whose port is closed or whose queue is missing.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.brokers.ports import Port
from tests.e2e import ends
from tests.e2e.play import FULL, Play
from tests.e2e.service import Service
from tests.faults.proxy import Proxy
from tests.faults.road import Road, brokers
from tests.faults.stage import Stage

MESSAGES = 500
UNANSWERED = 12  # names that are looked up for ever

# Names below .unanswered keep the one who looks them up waiting; others are as always.
SLOW_NAMES = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **found) {
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    next = dlsym(RTLD_NEXT, "getaddrinfo");
    if (node && strstr(node, ".unanswered")) { sleep(900); return EAI_AGAIN; }
    return next(node, service, hints, found);
}
"""


@pytest.fixture
def slow_names(tmp_path: Path) -> str:
    """A library to preload."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("a C compiler is missing: install gcc")
    source, library = tmp_path / "names.c", tmp_path / "names.so"
    source.write_text(SLOW_NAMES)
    command = [compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return str(library)


def consumer(name: str, kind: str, uri: str, **options: Any) -> dict[str, Any]:
    return {
        "id": name,
        "connectionType": kind,
        "connectionStatus": "open",
        "uri": uri,
        "specificConfig": options,
        "sources": [ends.source("nothing")],
    }


def test_a_connection_that_cannot_open_delays_no_other(
    tmp_path: Path, slow_names: str, rabbitmq: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = Port()
    monkeypatch.setenv("LD_PRELOAD", slow_names)
    with ends.Receiver() as good, Proxy(rabbitmq.port) as mute:
        mute.freeze()
        port = int(closed)
        hopeless = [
            *(
                consumer(f"unanswered-{n}", "amqp-091", f"amqp://u:p@host-{n}.unanswered:5672/")
                for n in range(UNANSWERED)
            ),
            consumer("mute", "amqp-091", f"amqp://guest:guest@127.0.0.1:{mute.port}/"),
            consumer("closed", "amqp-091", f"amqp://guest:guest@127.0.0.1:{port}/"),
            consumer("missing", "amqp-091", rabbitmq.uri),
            consumer(
                "no-kafka",
                "kafka",
                f"tcp://127.0.0.1:{port}",
                bootstrapServers=f"127.0.0.1:{port}",
            ),
        ]
        # Named, so that its own look-up waits its turn behind the others.
        url = good.url.replace("127.0.0.1", "localhost")
        config = {
            "workers": 1,
            **ends.policies(),
            "connections": hopeless,
        }
        with Service(tmp_path, config) as service:
            service.launch()
            service.eventually(
                lambda: (
                    [each["live"] for each in service.status()["clients"]].count("opening")
                    > UNANSWERED
                ),
                "all look-ups under way",
            )
            service.config["connections"] = [
                *hopeless,
                ends.generator(20, MESSAGES),
                ends.push("good", url),
            ]
            service.write_config()
            service.signal(signal.SIGHUP)
            service.eventually(lambda: good.figures()["unique"] == MESSAGES, "all delivered")
            states: dict[str, dict[str, Any]] = {}

            def told() -> bool:
                for client in service.status()["clients"]:
                    states[client["connection"]] = client
                return (
                    states["missing"]["live"] == "misconfigured"
                    and states["closed"]["live"] == "failed"
                )

            service.eventually(told, "reasons in the status")
            assert states["good"]["live"] == "open"
            for bad in hopeless:
                assert states[bad["id"]]["live"] not in ("open", "ended")
            for name in ("closed", "missing"):
                (link,) = states[name]["links"]
                assert link["error"]
                assert link["since"]
            service.eventually(
                lambda: any(
                    link["nextTry"]
                    for client in service.status()["clients"]
                    if client["connection"] == "missing"
                    for link in client["links"]
                ),
                "when the next try is",
            )
            assert not service.ready()
    closed.release()


def test_brokers_that_are_far_away_open_too(
    tmp_path: Path, real_kafka: object, real_rabbitmq: object
) -> None:
    """Half a second there and back, for each question."""
    with brokers() as broken:
        for proxy in broken.proxies.values():
            proxy.slow(0.25)
        for source, target in (("kafka", "rabbitmq"), ("rabbitmq", "kafka"))[: 2 if FULL else 1]:
            with Road(broken, source, target) as road:
                play = Play(MESSAGES, 20)
                folder = tmp_path / source
                folder.mkdir()
                stage = Stage(road, play, folder, {})
                with stage.service as service:
                    service.launch()
                    service.eventually(service.ready, "open", 40)
                    road.publish(play.said)
                    service.eventually(
                        lambda road=road, play=play: road.collect()["unique"] == play.wanted,
                        "all arrived",
                    )
                    service.eventually(stage.at_rest, "at rest")
                    assert service.terminate() == 0
