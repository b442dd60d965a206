"""What operators see, from every state that a service can be in."""

from __future__ import annotations

from typing import Any

from streamproc.config.connection import Connection, Source
from streamproc.config.service import Service
from streamproc.control import ClientRef, ClientReport, ClientState, LinkReport, Report
from streamproc.master.desired import Desired
from streamproc.master.http import page
from streamproc.master.reconcile import Reconciler
from streamproc.master.status import View, readings, status, unready
from streamproc.master.supervisor import Exited, Ready, Stop, Supervisor, Tick
from streamproc.telemetry.processes import Usage

BOTH = frozenset({0, 1})


def connection(identity: str, **more: Any) -> Connection:
    return Connection(id=identity, connection_type="kafka", **more)


class Scene:
    """Two workers, as far as one has got with them."""

    def __init__(self, *connections: Connection) -> None:
        self.service = Service(workers=2, connections=list(connections))
        self.supervisor = Supervisor(2, self.service.supervision, lambda: 0.0, 0.0)
        self.reconciler = Reconciler(Desired.of(self.service), [])
        self.supervisor.step(0.0, Tick())

    def ready(self, *workers: int) -> None:
        for worker in workers:
            self.supervisor.step(1.0, Ready(worker))
            self.reconciler.worker_up(worker)
        self.reconciler.plan(1.0, BOTH)

    def report(self, state: ClientState, *links: LinkReport) -> ClientRef:
        """Every client is in *state*, with *links*."""
        last = ClientRef("", 0, "")
        for worker, hold in self.reconciler.holds.items():
            reports = [ClientReport(ref, state, list(links)) for ref in hold.clients.values()]
            for ref in hold.clients.values():
                last = ref
            assert self.reconciler.reported(worker, Report(1, reports)) is None
        return last

    @property
    def view(self) -> View:
        return View(
            supervisor=self.supervisor,
            reconciler=self.reconciler,
            pids={0: 11, 1: 12},
            usages={"master": Usage(1.0, 2 << 20, 3, 4, 5.0), "0": Usage(1.5, 6 << 20, 7, 8, 9.0)},
            totals=lambda: {"streamproc_messages_received_total": 5.0},
            listeners={"127.0.0.1:0": "127.0.0.1:80"},
            config_generation=3,
            started=1000.0,
            epoch=1000.0,
        )


def test_a_service_that_starts_says_what_it_waits_for() -> None:
    scene = Scene(connection("a"))
    assert unready(scene.view) == [
        {"worker": 0, "state": "starting"},
        {"worker": 1, "state": "starting"},
        {"connection": "a", "index": 0, "live": "waiting", "error": None},
    ]


def test_it_is_ready_when_all_clients_are_open_or_have_ended() -> None:
    scene = Scene(connection("a"), connection("b", connection_status="closed"))
    scene.ready(0, 1)
    scene.report("open")
    assert unready(scene.view) == []
    scene.report("ended")
    assert unready(scene.view) == []
    scene.report("draining")
    assert len(unready(scene.view)) == 1


def test_what_failed_says_why_and_when_it_is_tried_again() -> None:
    scene = Scene(connection("a"))
    scene.ready(0, 1)
    scene.report(
        "failed",
        LinkReport("source 0/0 in", "open", 1010.0),
        LinkReport("target", "failed", 1020.0, "refused", 1030.0),
    )
    (client,) = status(scene.view)["clients"]
    assert (client["live"], client["error"]) == ("failed", "refused")
    assert client["since"] == "1970-01-01T00:17:00.000+00:00"
    assert client["links"][1]["nextTry"] == "1970-01-01T00:17:10.000+00:00"
    assert client["links"][0]["nextTry"] is None
    assert unready(scene.view)[0]["error"] == "refused"


def test_closed_connections_and_those_that_still_drain_are_shown() -> None:
    scene = Scene(connection("a"), connection("b", connection_status="closed", client_count=2))
    scene.ready(0, 1)
    scene.report("open")
    rest = Service(connections=[connection("b", connection_status="closed")])
    scene.reconciler.want(Desired.of(rest), [])
    scene.reconciler.plan(2.0, BOTH)
    scene.report("draining")
    seen = {
        (client["connection"], client["desired"], client["live"])
        for client in status(scene.view)["clients"]
    }
    assert seen == {("a", "closed", "draining"), ("b", "closed", "closed")}


def test_workers_are_shown_with_what_they_cost() -> None:
    scene = Scene(connection("a"))
    scene.ready(0, 1)
    scene.supervisor.step(2.0, Exited(1, -9))
    first, second = status(scene.view)["workers"]
    assert first["state"] == "ready"
    assert (first["pid"], first["cpuSeconds"], first["rssBytes"]) == (11, 1.5, 6 << 20)
    assert (second["restarts"], second["crashesInARow"]) == (1, 1)
    assert first["since"] == "1970-01-01T00:16:41.000+00:00"


def test_a_service_that_stops_is_not_ready() -> None:
    scene = Scene()
    scene.ready(0, 1)
    assert unready(scene.view) == []
    scene.supervisor.step(3.0, Stop())
    assert unready(scene.view) == [{"service": "stopping"}]
    assert status(scene.view)["service"]["state"] == "stopping"


def test_consumers_that_came_to_an_end_are_not_missed() -> None:
    source = Source(addresses=["in"], authorization_context=["x"], consumer_count=2)
    scene = Scene(connection("a", sources=[source], client_count=2))
    scene.ready(0, 1)

    def consumers() -> dict[str, float]:
        return {m.name: value for m, _, value in readings(scene.view) if "consumers" in m.name}

    names = ("streamproc_consumers_expected", "streamproc_consumers_live")
    assert consumers() == dict(zip(names, (4, 0), strict=True))
    links = [
        LinkReport("source 0/0 in", "open", 1.0),
        LinkReport("source 0/1 in", "ended", 1.0),
        LinkReport("target", "open", 1.0),
    ]
    scene.report("open", *links)
    assert consumers() == dict(zip(names, (2, 2), strict=True))


def test_the_master_counts_its_workers_and_their_restarts() -> None:
    scene = Scene(connection("a"))
    scene.ready(0)
    scene.supervisor.step(2.0, Exited(1, -9))
    found = {(metric.name, labels): value for metric, labels, value in readings(scene.view)}
    assert found["streamproc_workers_up", ()] == 1
    assert found["streamproc_worker_restarts_total", ("1",)] == 1
    assert found["streamproc_config_generation", ()] == 3
    assert found["streamproc_client_up", ("a", "0")] == 0
    assert found["process_cpu_seconds_total", ("0",)] == 1.5
    for metric, labels, _ in readings(scene.view):
        assert metric.counted_by == "master"
        assert len(labels) == len(metric.labels)


def test_the_page_shows_everything_and_lets_no_markup_in() -> None:
    scene = Scene(connection("<script>"))
    scene.ready(0, 1)
    scene.report("failed", LinkReport("target", "failed", 1.0, "<b>no</b>"))
    text = page(status(scene.view))
    assert "<script>" not in text
    assert "&lt;b&gt;no&lt;/b&gt;" in text
    for path in ("/status", "/metrics", "/ready", "/live"):
        assert f'href="{path}"' in text
    assert "http://" not in text, "nothing is loaded from elsewhere"
