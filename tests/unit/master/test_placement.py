"""What placement promises, for any clients and workers."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from streamproc.master.placement import Client, place

counts = st.dictionaries(st.text("abcdef-", min_size=1, max_size=6), st.integers(1, 9), max_size=12)
groups = st.sets(st.integers(0, 9), min_size=1, max_size=8)
histories = st.lists(groups, max_size=5)


def weigh(workers: set[int]) -> dict[int, float]:
    return dict.fromkeys(sorted(workers), 1.0)


def lived_through(clients: dict[str, int], history: list[set[int]]) -> dict[Client, int]:
    places: dict[Client, int] = {}
    for workers in history:
        places = place(clients, weigh(workers), places)
    return places


def moved(before: dict[Client, int], after: dict[Client, int]) -> set[Client]:
    return {client for client, worker in after.items() if before[client] != worker}


@given(counts, groups, histories)
def test_every_client_has_a_place_on_a_worker_that_is_there(
    clients: dict[str, int], workers: set[int], history: list[set[int]]
) -> None:
    places = place(clients, weigh(workers), lived_through(clients, history))
    assert set(places) == {(name, k) for name, count in clients.items() for k in range(count)}
    assert set(places.values()) <= workers


@given(counts, groups, histories)
def test_the_clients_of_a_connection_are_spread_evenly(
    clients: dict[str, int], workers: set[int], history: list[set[int]]
) -> None:
    places = place(clients, weigh(workers), lived_through(clients, history))
    for name in clients:
        loads = Counter(dict.fromkeys(workers, 0))
        loads.update(worker for (connection, _), worker in places.items() if connection == name)
        assert max(loads.values()) - min(loads.values()) <= 1


@given(counts, groups, histories)
def test_how_many_a_worker_gets_does_not_depend_on_the_past(
    clients: dict[str, int], workers: set[int], history: list[set[int]]
) -> None:
    fresh = place(clients, weigh(workers), {})
    old = place(clients, weigh(workers), lived_through(clients, history))

    def loads(places: dict[Client, int]) -> Counter[tuple[str, int]]:
        return Counter((connection, worker) for (connection, _), worker in places.items())

    assert loads(fresh) == loads(old)


@given(counts, groups, histories)
def test_nothing_moves_when_nothing_happened(
    clients: dict[str, int], workers: set[int], history: list[set[int]]
) -> None:
    places = place(clients, weigh(workers), lived_through(clients, history))
    assert place(clients, weigh(workers), places) == places
    backwards = dict(sorted(weigh(workers).items(), reverse=True))
    assert place(clients, backwards, places) == places


@given(counts, groups, histories, st.data())
def test_workers_that_go_move_their_own_clients_and_no_other(
    clients: dict[str, int], workers: set[int], history: list[set[int]], data: st.DataObject
) -> None:
    before = place(clients, weigh(workers), lived_through(clients, history))
    gone = data.draw(st.sets(st.sampled_from(sorted(workers)), max_size=len(workers) - 1))
    after = place(clients, weigh(workers - gone), before)
    assert moved(before, after) == {client for client, worker in before.items() if worker in gone}


@given(counts, groups, groups, histories)
def test_workers_that_come_take_their_share_and_nothing_else_moves(
    clients: dict[str, int], workers: set[int], comers: set[int], history: list[set[int]]
) -> None:
    new = comers - workers
    before = place(clients, weigh(workers), lived_through(clients, history))
    after = place(clients, weigh(workers | new), before)
    assert {after[client] for client in moved(before, after)} <= new


@given(counts, groups, histories, st.integers(1, 9))
def test_a_change_of_one_connection_moves_no_other(
    clients: dict[str, int], workers: set[int], history: list[set[int]], count: int
) -> None:
    before = place(clients, weigh(workers), lived_through(clients, history))
    after = place({**clients, "changed": count}, weigh(workers), before)
    assert {client: worker for client, worker in after.items() if client[0] in clients} == {
        client: worker for client, worker in before.items() if client[0] in clients
    }


@given(counts, groups, histories)
def test_one_client_is_always_where_its_score_is_best(
    clients: dict[str, int], workers: set[int], history: list[set[int]]
) -> None:
    single = dict.fromkeys(clients, 1)
    lived = place(single, weigh(workers), lived_through(single, history))
    assert lived == place(single, weigh(workers), {})


def test_the_answer_is_the_same_on_every_machine_and_run() -> None:
    places = place({"factory": 3, "field": 1}, weigh({0, 1, 2, 3}), {})
    assert places == {
        ("factory", 0): 1,
        ("factory", 1): 0,
        ("factory", 2): 3,
        ("field", 0): 0,
    }


def test_connections_are_spread_by_weight() -> None:
    clients = {f"c{i}": 1 for i in range(6000)}
    loads = Counter(place(clients, {0: 1.0, 1: 2.0, 2: 3.0}, {}).values())
    for worker, expected in ((0, 1000), (1, 2000), (2, 3000)):
        assert abs(loads[worker] - expected) < 200, loads


def test_the_odd_clients_of_many_connections_are_spread_too() -> None:
    places = place({f"c{i}": 2 for i in range(3000)}, weigh({0, 1, 2, 3}), {})
    for load in Counter(places.values()).values():
        assert abs(load - 1500) < 150


def test_without_workers_nothing_has_a_place() -> None:
    assert place({"c": 2}, {}, {("c", 0): 1}) == {}
