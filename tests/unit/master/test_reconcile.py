"""No client ever runs twice, and every client comes to run.

The machine plays the workers: they take orders late, skip some, take their time to close, and
die; reports are late too.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from streamproc.config.connection import Connection, Source, SshTunnel, Target
from streamproc.config.service import Limits, Retry, Service, Supervision
from streamproc.control import Assign, ClientRef, ClientReport, LinkReport, Report
from streamproc.master.desired import Desired, difference, keep_fixed
from streamproc.master.reconcile import ANSWER_S, CLOSE_S, Reconciler

WORKERS = 3
NAMES = ("a", "b", "c")


def connection(identity: str, port: int = 1, clients: int = 1, **more: Any) -> Connection:
    return Connection(
        id=identity,
        connection_type="kafka",
        uri=f"tcp://user:hunter2@host:{port}",
        client_count=clients,
        sources=[Source(addresses=["in"], authorization_context=["me"])],
        targets=[Target(address="out", topics=["_/_/things/twin/events"])],
        **more,
    )


def service(*connections: Connection, **more: Any) -> Service:
    return Service(connections=list(connections), workers=WORKERS, **more)


@dataclass
class Worker:
    """What a worker really does, and what is on its way to and from it."""

    orders: deque[Assign] = field(default_factory=deque)
    reports: deque[Report] = field(default_factory=deque)
    running: dict[str, ClientRef] = field(default_factory=dict)
    closing: dict[str, ClientRef] = field(default_factory=dict)
    generation: int = 0

    def take(self, assign: Assign) -> None:
        wanted = {ref.id: ref for ref in assign.clients}
        for name, ref in wanted.items():
            assert name not in self.closing, f"{name} is given back while it closes"
            assert self.running.get(name, ref) == ref, f"{name} changes under way"
        for name in [name for name in self.running if name not in wanted]:
            self.closing[name] = self.running.pop(name)
        self.running.update(wanted)
        self.generation = assign.generation

    def report(self) -> None:
        clients = [ClientReport(ref, "open", []) for ref in self.running.values()]
        clients += [ClientReport(ref, "draining", []) for ref in self.closing.values()]
        self.reports.append(Report(self.generation, clients))


class Machine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.configured = {name: connection(name) for name in NAMES[:2]}
        self.reconciler = Reconciler(Desired.of(service(*self.configured.values())), [])
        self.workers: dict[int, Worker] = {}
        self.eligible: frozenset[int] = frozenset(range(WORKERS))
        self.plan()

    # What happens

    @rule(number=st.integers(0, WORKERS - 1))
    def comes_up(self, number: int) -> None:
        if number not in self.workers:
            self.workers[number] = Worker()
            self.reconciler.worker_up(number)
            self.plan()

    @rule(number=st.integers(0, WORKERS - 1))
    def dies(self, number: int) -> None:
        if self.workers.pop(number, None):
            self.reconciler.worker_down(number)
            self.plan()

    @rule(eligible=st.frozensets(st.integers(0, WORKERS - 1)))
    def other_workers_are_eligible(self, eligible: frozenset[int]) -> None:
        self.eligible = eligible
        self.plan()

    @rule(name=st.sampled_from(NAMES), port=st.integers(1, 2), clients=st.integers(0, 3))
    def is_reconfigured(self, name: str, port: int, clients: int) -> None:
        if clients:
            self.configured[name] = connection(name, port, clients)
        else:
            self.configured.pop(name, None)
        self.reconciler.want(Desired.of(service(*self.configured.values())), [])
        self.plan()

    @rule(data=st.data(), newest=st.booleans())
    def takes_orders(self, data: st.DataObject, newest: bool) -> None:
        for worker in self.some(data, lambda w: w.orders):
            assign = worker.orders.popleft()
            while newest and worker.orders:
                assign = worker.orders.popleft()
            worker.take(assign)
            worker.report()

    @rule(data=st.data())
    def has_closed_a_client(self, data: st.DataObject) -> None:
        for worker in self.some(data, lambda w: w.closing):
            del worker.closing[data.draw(st.sampled_from(sorted(worker.closing)))]
            worker.report()

    @rule(data=st.data())
    def reports_once_more(self, data: st.DataObject) -> None:
        for worker in self.some(data, lambda _: True):
            worker.report()

    @rule(data=st.data())
    def is_heard(self, data: st.DataObject) -> None:
        for worker in self.some(data, lambda w: w.reports):
            self.hear(worker)

    @rule()
    def all_comes_to_rest(self) -> None:
        """Liveness: when nothing new happens, every client runs, once, as configured."""
        for _ in range(20):
            for worker in self.workers.values():
                while worker.orders:
                    worker.take(worker.orders.popleft())
                worker.closing.clear()
                worker.report()
                while worker.reports:
                    self.hear(worker)
        assert not self.reconciler.plan(self.now, self.eligible), "orders without end"
        running = {n: ref for w in self.workers.values() for n, ref in w.running.items()}
        wanted = {ref.id: ref for ref in self.reconciler.desired.clients().values()}
        assert running.items() <= wanted.items(), "something runs that nobody wants"
        if self.eligible and self.eligible <= self.workers.keys():
            assert running == wanted, "a client has no place"
            for number, worker in self.workers.items():
                for ref in worker.running.values():
                    place = self.reconciler.places[ref.connection_id, ref.index]
                    assert place == number, "a client is not where it should be"
            for worker in self.workers.values():
                assert self.last(worker) == {
                    name: number for number, w in self.workers.items() for name in w.running
                }
        assert not self.reconciler.overdue(self.now + 10_000)

    # What the reconciler did about it

    def plan(self) -> None:
        self.now += 1
        for number, assign in self.reconciler.plan(self.now, self.eligible).items():
            self.workers[number].orders.append(assign)
            self.workers[number].__dict__["told"] = assign
            complete = {each.id for each in assign.connections if "hunter2" in each.uri}
            assert complete == {ref.connection_id for ref in assign.clients}
            mine = {name for name, at in assign.locations.items() if at == number}
            assert mine == {ref.id for ref in assign.clients}, "told others otherwise"

    def hear(self, worker: Worker) -> None:
        (number,) = [n for n, w in self.workers.items() if w is worker]
        assert self.reconciler.reported(number, worker.reports.popleft()) is None
        self.plan()

    def last(self, worker: Worker) -> dict[str, int]:
        told: Assign = worker.__dict__["told"]
        return told.locations

    @invariant()
    def no_client_runs_twice(self) -> None:
        seen: set[str] = set()
        for worker in self.__dict__.get("workers", {}).values():
            for name in [*worker.running, *worker.closing]:
                assert name not in seen, f"{name} runs twice"
                seen.add(name)

    def some(self, data: st.DataObject, fits: Any) -> list[Worker]:
        found = [number for number, worker in self.workers.items() if fits(worker)]
        return [self.workers[data.draw(st.sampled_from(found))]] if found else []


TestReconciler = Machine.TestCase
TestReconciler.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def at_rest(*connections: Connection) -> tuple[Reconciler, dict[int, Worker]]:
    reconciler = Reconciler(Desired.of(service(*connections)), [])
    workers = {number: Worker() for number in range(WORKERS)}
    for number in workers:
        reconciler.worker_up(number)
    rest(reconciler, workers)
    return reconciler, workers


def rest(reconciler: Reconciler, workers: dict[int, Worker]) -> None:
    while orders := reconciler.plan(0.0, frozenset(range(WORKERS))):
        for number, assign in orders.items():
            worker = workers[number]
            worker.take(assign)
            worker.closing.clear()
            worker.report()
            assert reconciler.reported(number, worker.reports.popleft()) is None


def test_a_reload_touches_only_what_changed() -> None:
    reconciler, workers = at_rest(connection("a"), connection("b", clients=2))
    reconciler.take_changes()
    wanted = service(connection("a"), connection("b", port=2, clients=2), connection("c"))
    reconciler.want(Desired.of(wanted), [])
    rest(reconciler, workers)
    changes = reconciler.take_changes()
    taken = {change.client.id for change in changes if not change.given}
    given = {change.client.id for change in changes if change.given}
    assert taken == {"b#0", "b#1"}
    assert given == {"b#0", "b#1", "c#0"}


def test_nobody_is_told_what_it_knows() -> None:
    reconciler, workers = at_rest(connection("a"), connection("b"))
    reconciler.want(Desired.of(service(connection("a"))), [])
    orders = reconciler.plan(0.0, frozenset(workers))
    assert set(orders) == set(workers)
    for number, assign in orders.items():
        workers[number].take(assign)
        workers[number].closing.clear()
        workers[number].report()
        assert reconciler.reported(number, workers[number].reports.popleft()) is None
        assert reconciler.plan(0.0, frozenset(workers)) == {}, "closed as told: nothing is new"


def test_where_no_worker_is_eligible_clients_stay_where_they_are() -> None:
    reconciler, _ = at_rest(connection("a"), connection("b"))
    assert reconciler.plan(0.0, frozenset()) == {}


def test_a_client_that_changes_is_nowhere_until_it_was_closed() -> None:
    reconciler, workers = at_rest(connection("a"))
    (number,) = [n for n, worker in workers.items() if worker.running]
    reconciler.want(Desired.of(service(connection("a", port=2))), [])
    orders = reconciler.plan(0.0, frozenset(workers))
    assert set(orders) == set(workers)
    assert all(assign.locations == {} for assign in orders.values())
    assert orders[number].clients == []
    late = Report(orders[number].generation - 1, [])
    assert reconciler.reported(number, late) is None
    assert reconciler.plan(0.0, frozenset(workers)) == {}, "that report answers an older order"
    assert reconciler.reported(number, Report(orders[number].generation, [])) is None
    assert reconciler.plan(0.0, frozenset(workers))[number].clients[0].id == "a#0"


def test_a_dead_worker_holds_nothing() -> None:
    reconciler, workers = at_rest(connection("a"))
    (number,) = [n for n, worker in workers.items() if worker.running]
    reconciler.worker_down(number)
    waiting = reconciler.plan(0.0, frozenset(workers))
    assert all(assign.locations == {} and not assign.clients for assign in waiting.values())
    moved = reconciler.plan(0.0, frozenset(set(workers) - {number}))
    assert [ref.id for assign in moved.values() for ref in assign.clients] == ["a#0"]


def test_a_worker_that_runs_what_it_was_never_given_is_found_out() -> None:
    reconciler, _ = at_rest(connection("a"))
    strange = ClientReport(ClientRef("x", 0, "1"), "open", [])
    assert reconciler.reported(0, Report(1, [strange])) == ("runs clients it was never given: x#0")
    assert reconciler.reported(9, Report(1, [])) == "reported before it was ready"


def test_a_worker_that_does_not_answer_or_let_go_is_overdue() -> None:
    reconciler, workers = at_rest(connection("a"))
    (number,) = [n for n, worker in workers.items() if worker.running]
    reconciler.want(Desired.of(service(connection("a", port=2))), [])
    orders = reconciler.plan(100.0, frozenset(workers))
    assert reconciler.overdue(100.0 + ANSWER_S) == {}
    assert set(reconciler.overdue(100.1 + ANSWER_S)) == set(workers)
    for each, assign in orders.items():
        clients = [ClientReport(ref, "draining", []) for ref in workers[each].running.values()]
        reconciler.reported(each, Report(assign.generation, clients))
    limit = 100.0 + Supervision().drain_s + CLOSE_S
    assert reconciler.overdue(limit) == {}
    assert list(reconciler.overdue(limit + 0.1)) == [number]


def test_secrets_of_a_connection_go_only_to_the_worker_that_runs_it() -> None:
    tunnel = SshTunnel(
        enabled=True, uri="ssh://t:22", credentials={"password": "hunter2"}, validate_host=False
    )
    whole = connection(
        "a",
        credentials={"password": "hunter2"},
        ca="hunter2",
        ssh_tunnel=tunnel,
        specific_config={"saslPassword": "hunter2"},
    )
    reconciler = Reconciler(Desired.of(service(whole)), [])
    for number in range(WORKERS):
        reconciler.worker_up(number)
    orders = reconciler.plan(0.0, frozenset(range(WORKERS)))
    for assign in orders.values():
        (each,) = assign.connections
        assert ("hunter2" in repr(each)) == bool(assign.clients)
        assert each.targets == whole.targets
        assert assign.service.connections == []
    assert sum(bool(assign.clients) for assign in orders.values()) == 1


def version(each: Connection, **more: Any) -> str:
    return Desired.of(service(each, **more)).versions[each.id]


def test_what_a_client_is_built_with_changes_its_version_and_nothing_else_does() -> None:
    before = version(connection("a"))
    assert version(connection("a", name="for people", tags=["x"], revision=3)) == before
    assert version(connection("a"), supervision=Supervision(drain_s=1)) == before
    assert version(connection("a", port=2)) != before
    assert version(connection("a", clients=2)) != before
    assert version(connection("a"), limits=Limits(max_subjects=1)) != before
    assert version(connection("a"), retry=Retry(max_attempts=3)) != before
    assert version(connection("a"), policies={"p": {}}) != before
    headers = [{"x": "1", "y": "2"}, {"y": "2", "x": "1"}]
    one, two = (version(connection("a", specific_config=config)) for config in headers)
    assert one == two, "the order of keys means nothing"


def test_only_open_connections_are_desired() -> None:
    desired = Desired.of(service(connection("a"), connection("b", connection_status="closed")))
    assert set(desired.connections) == {"a"}


def test_a_difference_names_what_came_changed_and_went() -> None:
    old = Desired.of(service(connection("a"), connection("b"), connection("c")))
    new = Desired.of(service(connection("b", port=2), connection("c"), connection("d")))
    assert difference(old, new) == (["d"], ["b"], ["a"])


def test_a_reload_keeps_what_only_a_restart_can_change() -> None:
    old = service()
    new = Service(workers=WORKERS + 1, data_dir="elsewhere", limits=Limits(max_subjects=1))
    kept, changed = keep_fixed(old, new)
    assert changed == ["workers", "data_dir"]
    assert (kept.workers, kept.data_dir, kept.limits) == (WORKERS, "data", new.limits)


def test_reports_are_kept_for_the_status() -> None:
    reconciler, _ = at_rest(connection("a"))
    link = LinkReport("target", "failed", 5.0, "refused", 6.0)
    holder = next(n for n, hold in reconciler.holds.items() if hold.clients)
    ref = reconciler.holds[holder].clients["a#0"]
    report = ClientReport(ref, "failed", [link])
    assert reconciler.reported(holder, Report(2, [report])) is None
    assert reconciler.holds[holder].reports["a#0"].links == [link]
