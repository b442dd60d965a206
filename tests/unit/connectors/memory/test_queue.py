"""The memory broker gives back what is not settled, in order, and takes no more when full."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.config.connection import Connection
from streamproc.connectors.base import Identity, TargetSpec
from streamproc.connectors.memory import queue as queue_module
from streamproc.connectors.memory.config import MemoryOptions
from streamproc.connectors.memory.queue import MEMORY, Item, Memory, Queue, Session
from streamproc.connectors.memory.target import MemoryTarget
from streamproc.errors import DeliveryFailed, NotConnected
from streamproc.kernels.delivery import Delivery
from tests.conformance.runner import Tally

actions = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, 4)),
        st.tuples(st.just("take"), st.integers(1, 5)),
        st.tuples(st.sampled_from(["done", "reject", "back"]), st.integers(0, 30)),
        st.tuples(st.just("end"), st.just(0)),
    ),
    max_size=40,
)


@given(actions)
def test_every_message_is_waiting_or_open_or_settled_once(history: list[tuple[str, int]]) -> None:
    memory = Memory()
    queue: Queue = memory.queue("q")
    session = Session(memory, ["q"])
    number, settled = 0, set()
    for action, n in history:
        if action == "put":
            memory.put("q", [Item(b"%d" % (number + i), {}) for i in range(n)])
            number += n
        elif action == "take":
            items, tokens = session.take(n, 1 << 20)
            assert len(items) == len(tokens) <= n
        elif action in ("done", "reject"):
            entry = session._open.get(n)
            if entry is not None:
                assert entry[1].payload not in settled
                settled.add(entry[1].payload)
            session.done(n) if action == "done" else session.reject(n, None)
        elif action == "back":
            session.give_back([n])
        else:
            session.end()
            session = Session(memory, ["q"])
            waiting = [int(item.payload) for item in queue.waiting]
            assert waiting == sorted(waiting), "what comes back comes back in order"
        assert queue.unsettled == len(session._open)
        assert len(queue.waiting) + queue.unsettled + len(settled) == number


def test_what_comes_back_late_stands_where_it_stood() -> None:
    memory = Memory()
    memory.put("q", [Item(b"%d" % n, {}) for n in range(6)])
    first, second = Session(memory, ["q"]), Session(memory, ["q"])
    first.take(2, 1 << 20)
    second.take(2, 1 << 20)
    first.give_back([1])
    second.end()
    first.end()
    assert [item.payload for item in memory.queue("q").waiting] == [b"%d" % n for n in range(6)]


def test_a_take_is_bounded_by_bytes_but_takes_one() -> None:
    memory = Memory()
    memory.put("q", [Item(b"x" * 100, {}) for _ in range(5)])
    session = Session(memory, ["q"])
    assert len(session.take(10, 250)[0]) == 2
    assert len(session.take(10, 1)[0]) == 1


def test_a_cut_link_is_told_to_everyone_who_watches() -> None:
    memory = Memory()
    told: list[str] = []
    memory.watch(lambda: told.append("a"))
    memory.cut()
    assert told == ["a"]
    with pytest.raises(NotConnected):
        memory.check()
    memory.mend()
    memory.check()


async def test_a_full_queue_fails_deliveries_and_keeps_what_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queue_module, "QUEUE_MESSAGES", 2)
    tally = Tally()
    target = MemoryTarget(
        TargetSpec(
            identity=Identity(connection_id="c"),
            connection=Connection(id="c", connection_type="memory"),
            options=MemoryOptions(),
            receipts=tally,
        )
    )
    await target.open()
    tally.write(target, [Delivery(0, "k", "full", {}, b"%d" % n) for n in range(3)])
    await tally.all_in()
    assert [delivery.payload for delivery in tally.done] == [b"0", b"1"]
    ((delivery, error),) = tally.refused
    assert delivery.payload == b"2"
    assert isinstance(error, DeliveryFailed)
    await target.close()
    MEMORY.drop("full")
