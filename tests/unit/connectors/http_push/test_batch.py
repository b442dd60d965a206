"""Batches: each message has its receipt and its place in the order of its thing, whatever the
endpoint makes of the request it was in.

Any history against an endpoint that is played, then real requests to a server that records.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from streamproc.config.connection import Connection
from streamproc.connectors.base import Identity, Receipts, TargetSpec
from streamproc.connectors.http_push.batch import FORMS, Batcher, Rule, fitted
from streamproc.connectors.http_push.config import Batching, HttpPushOptions
from streamproc.connectors.http_push.target import HttpPushTarget, capacity
from streamproc.errors import (
    ConfigError,
    DeliveryFailed,
    DeliveryRefused,
    NotConnected,
    RunnerError,
)
from streamproc.kernels.delivery import Delivery
from streamproc.kernels.lanes import Lane, Lanes
from streamproc.protocol.acks import Wanted
from tests.conformance.far_http import NO_CONTENT, Piece, Request, Server
from tests.conformance.runner import Tally, eventually, soon

TOO_LARGE = b"HTTP/1.1 413 -\r\nContent-Length: 0\r\n\r\n"
BUSY = b"HTTP/1.1 503 -\r\nContent-Length: 0\r\n\r\n"
WAIT = b"HTTP/1.1 429 -\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"


# Any history, with real lanes in front and an endpoint that is played.


class Played:
    """The client's place: keeps what is written until the history says what becomes of it."""

    def __init__(self, receipts: Receipts) -> None:
        self.receipts = receipts
        self.flying: list[Delivery] = []
        self.is_open = True

    async def open(self) -> None:
        self.is_open = True

    def write(self, deliveries: Sequence[Delivery]) -> None:
        self.flying += deliveries

    async def close(self) -> None:
        flying, self.flying = self.flying, []
        if flying:
            self.receipts.failed(flying, NotConnected("closed"))


class History:
    """Lanes in front, the endpoint behind, and all that must hold between them."""

    def __init__(self, rule: Rule, size: int, depth: int) -> None:
        self.rule, self.size = rule, size
        self.lanes = Lanes(capacity(size, rule.max_messages), depth, rule.ordered)
        self.played: list[Played] = []
        self.batcher = Batcher(rule, self._make, self, size=size)
        self.held: list[Lane] = []
        self.offered: list[Delivery] = []
        self.taken: list[str] = []  # by the endpoint, in this order
        self.done: list[Delivery] = []
        self.refused: list[Delivery] = []
        self.on_the_wire: set[str] = set()  # since it was last taken from its lane
        self._seqs: Counter[str] = Counter()

    def _make(self, receipts: Receipts) -> Played:
        self.played.append(Played(receipts))
        return self.played[0]

    # Receipts.

    def delivered(self, deliveries: Sequence[Delivery]) -> None:
        assert deliveries
        self.held += self.lanes.done(deliveries)
        self.done += deliveries

    def failed(self, deliveries: Sequence[Delivery], error: RunnerError) -> None:
        assert deliveries
        if isinstance(error, DeliveryRefused):
            assert len(deliveries) == 1, "only the one that is refused alone is bad"
            self.refused += deliveries
            self.held += self.lanes.done(deliveries)
            return
        for delivery in deliveries:
            unsent = name_of(delivery) not in self.on_the_wire
            if isinstance(error, DeliveryFailed):
                assert error.details.get("unsent", False) == unsent
                event("unsent" if unsent else "failed")
            self.on_the_wire.discard(name_of(delivery))
        self.held += self.lanes.failed(deliveries, error)

    def lost(self, error: RunnerError) -> None:
        assert not self.lanes.in_flight, "each has its receipt before the link is called lost"

    # What may happen.

    def offer(self, things: list[tuple[str, str, bool, int]]) -> None:
        """(key, path, poison, size)"""
        batch = []
        for key, path, poison, size in things:
            body = {"id": f"{key}-{self._seqs[key]}", "bad": poison, "pad": "x" * size}
            self._seqs[key] += 1
            headers = {"content-type": "application/json", "x": path}
            payload = json.dumps(body).encode()
            batch.append(Delivery(0, key, f"POST:/{path}", headers, payload))
        self.offered += batch
        self.lanes.offer(batch, 0.0)

    def pump(self) -> None:
        if batch := self.lanes.take():
            self.batcher.write(batch)
        self.check()

    def release(self, which: int) -> None:
        self.lanes.release(self.held.pop(which % len(self.held)))

    def answer(self, which: int, how: str) -> None:
        """The endpoint answers one request, in its own way where a message is bad."""
        played = self.played[0]
        carrying = played.flying.pop(which % len(played.flying))
        messages = json.loads(carrying.payload)
        if how == "kept back":  # by the client, while the endpoint wants nothing
            self.on_the_wire.difference_update(message["id"] for message in messages)
            self.batcher.failed((carrying,), DeliveryFailed("not sent", unsent=True))
            return
        self.on_the_wire.update(message["id"] for message in messages)
        if how in ("good", "taken and no answer"):
            if any(message["bad"] for message in messages):
                event("halved" if len(messages) > 1 else "refused alone")
                self.on_the_wire.difference_update(message["id"] for message in messages)
                refused = DeliveryRefused("endpoint answered 413", status=413)
                self.batcher.failed((carrying,), refused)
                return
            self.taken += [message["id"] for message in messages]
        if how == "good":
            self.batcher.delivered((carrying,))
        elif how == "retry after":
            self.batcher.failed((carrying,), DeliveryFailed("busy", retry_after_s=3.0))
            assert self.lanes.in_flight == sum(len(members(d)) for d in self.flying_with_rest())
        elif how == "lost":
            gone, played.flying = [carrying, *played.flying], []
            self.on_the_wire.update(m["id"] for d in gone for m in members(d))
            self.batcher.failed(gone, NotConnected("gone"))
            assert not played.flying, "nothing is sent on a link that is lost"
            self.batcher.lost(NotConnected("gone"))
        else:
            self.batcher.failed((carrying,), DeliveryFailed("no answer"))
        self.check()

    def flying_with_rest(self) -> list[Delivery]:
        """What is on its way, and the other parts of what was halved."""
        flights = self.batcher._flights.values()
        rest = [m.delivery for f in flights for part in f.rest for m in part]
        as_arrays = [Delivery(0, d.key, "", {}, b"[%b]" % d.payload) for d in rest]
        return [*self.played[0].flying, *as_arrays]

    def check(self) -> None:
        """What holds at any time."""
        flying = self.played[0].flying
        assert len(flying) <= self.size
        keys: Counter[str] = Counter()
        for carrying in flying:
            bodies = members(carrying)
            assert 0 < len(bodies) <= self.rule.max_messages
            assert len(bodies) == 1 or len(carrying.payload) <= self.rule.max_bytes
            assert carrying.headers["x"] == carrying.address.removeprefix("POST:/")
            keys.update({body["id"].partition("-")[0] for body in bodies})
        if self.rule.ordered:
            assert all(count == 1 for count in keys.values()), "two requests keep no order"


def members(carrying: Delivery) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(carrying.payload)
    return found


def name_of(delivery: Delivery) -> str:
    name: str = json.loads(delivery.payload)["id"]
    return name


def rule_of(**more: Any) -> Rule:
    given = {
        "form": FORMS["json-array"],
        "max_messages": 4,
        "max_bytes": 1 << 20,
        "delay_s": 0.0,
        "split_on": frozenset((413, 422)),
        "without": frozenset(("correlation-id",)),
        "bodiless": frozenset(("GET", "DELETE")),
        "ordered": True,
    }
    return Rule(**{**given, **more})


HOW = [
    *("good", "good", "good"),
    *("no answer", "taken and no answer", "kept back", "retry after", "lost"),
]
THING = st.tuples(
    st.sampled_from("abc"),
    st.sampled_from(["p", "p", "p", "q"]),
    st.integers(0, 9).map(lambda n: n == 0),
    st.sampled_from([0, 0, 10, 300]),
)


@settings(max_examples=300)
@given(
    rule=st.builds(
        rule_of,
        max_messages=st.integers(1, 6),
        max_bytes=st.sampled_from([60, 200, 1 << 20]),
        delay_s=st.sampled_from([0.0, 0.0, 60.0]),
        ordered=st.booleans(),
    ),
    size=st.integers(1, 3),
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("offer"), st.lists(THING, min_size=1, max_size=12)),
            st.tuples(st.just("answer"), st.integers(0, 5), st.sampled_from(HOW)),
            st.tuples(st.just("release"), st.integers(0, 5)),
        ),
        max_size=40,
    ),
)
def test_whatever_happens_each_arrives_once_settled_and_in_order(
    rule: Rule, size: int, steps: list[Any]
) -> None:
    async def live() -> History:
        history = History(rule, size, depth=1 << 20 if rule.ordered else 1)
        for what, *arguments in steps:
            if what == "offer":
                history.offer(*arguments)
            elif what == "answer" and history.played[0].flying:
                history.answer(*arguments)
            elif what == "release" and history.held:
                history.release(*arguments)
            history.pump()
        # In the end all is well, and everything arrives.
        for turn in range(10 * len(history.offered) + 10):
            if not len(history.lanes):
                break
            while history.held:
                history.release(0)
            history.pump()
            if history.played[0].flying:
                history.answer(turn, "good")
            elif rule.delay_s:
                asyncio.get_running_loop().time = later(61.0 * (turn + 1))  # type: ignore[method-assign]
                history.batcher._pump()
        await history.batcher.close()
        return history

    history = asyncio.run(live())
    assert not len(history.lanes), "one waits for ever"
    bad = {name_of(d) for d in history.offered if json.loads(d.payload)["bad"]}
    good = {name_of(d) for d in history.offered} - bad
    assert Counter(map(name_of, history.refused)) == Counter(bad)
    assert Counter(map(name_of, history.done)) == Counter(good)
    assert set(history.taken) == good
    assert all(d.attempts >= 1 for d in history.done)
    if rule.ordered:
        firsts: dict[str, list[int]] = defaultdict(list)
        for name in dict.fromkeys(history.taken):
            key, _, seq = name.partition("-")
            firsts[key].append(int(seq))
        assert all(seqs == sorted(seqs) for seqs in firsts.values())


def test_a_loss_fails_what_gathers_too() -> None:
    async def live() -> None:
        history = History(rule_of(delay_s=60.0), 1, depth=9)
        history.offer([("a", "p", False, 0), ("b", "p", False, 0)])
        history.pump()
        assert history.lanes.in_flight == 2
        history.batcher.lost(NotConnected("gone"))
        assert len(history.held) == 2
        await history.batcher.close()

    asyncio.run(live())


def later(seconds: float) -> Callable[[], float]:
    real = asyncio.get_running_loop().__class__.time
    loop = asyncio.get_running_loop()
    return lambda: real(loop) + seconds


# Real requests.


class Push:
    def __init__(self, server: Server, target: HttpPushTarget, tally: Tally) -> None:
        self.server, self.target, self.tally = server, target, tally

    def write(self, *bodies: Any, key: str = "", **more: Any) -> list[Delivery]:
        deliveries = [delivery(body, key=key or f"k{n}", **more) for n, body in enumerate(bodies)]
        self.tally.write(self.target, deliveries)
        return deliveries

    async def send(self, *bodies: Any, **more: Any) -> list[Delivery]:
        deliveries = self.write(*bodies, **more)
        await self.tally.all_in()
        return deliveries

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.body) for request in self.server.requests]


def delivery(
    body: Any, *, key: str = "k", address: str = "POST:/x", headers: dict[str, str] | None = None
) -> Delivery:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Delivery(0, key, address, headers or {"content-type": "a/b"}, payload)


@contextlib.asynccontextmanager
async def push(
    answer: Callable[[Request], Piece | list[Piece]] = lambda _: NO_CONTENT,
    *,
    parallelism: int = 1,
    ordering: Any = "entity",
    **batch: Any,
) -> AsyncIterator[Push]:
    server = Server(answer)
    port = await server.start()
    tally = Tally()
    batch.setdefault("max_delay", "0")
    target = HttpPushTarget(
        TargetSpec(
            identity=Identity(connection_id="c"),
            connection=Connection(
                id="c", connection_type="http-push", uri=f"http://127.0.0.1:{port}"
            ),
            options=HttpPushOptions(
                parallelism=parallelism, ordering=ordering, batch=Batching(**batch)
            ),
            receipts=tally,
        )
    )
    try:
        await target.open()
        yield Push(server, target, tally)
    finally:
        await soon(target.close())
        await server.close()
    tally.check()
    assert not tally.expected


async def test_messages_stand_in_an_array_and_each_has_its_receipt() -> None:
    async with push() as it:
        sent = await it.send({"a": 1}, [2], "three")
        assert it.bodies == [[{"a": 1}, [2], "three"]]
        (request,) = it.server.requests
        assert (request.method, request.target) == ("POST", "/x")
        assert request.headers["content-type"] == "application/json"
        assert it.tally.done == sent


async def test_or_a_line_each() -> None:
    async with push(format="ndjson") as it:
        await it.send(b'{"a":\r\n 1}', b'"two\\n"')
        (request,) = it.server.requests
        assert request.body == b'{"a":   1}\n"two\\n"\n'
        assert request.headers["content-type"] == "application/x-ndjson"


async def test_only_messages_with_equal_request_line_and_headers_share_a_request() -> None:
    async with push() as it:
        plain, other = {"content-type": "a/b"}, {"content-type": "a/b", "x": "1"}
        batch = [
            delivery(1, key="a"),
            delivery(2, key="b", address="POST:/y"),
            delivery(3, key="c", headers=other),
            delivery(4, key="d", headers=plain),
            delivery(5, key="e", address="PUT:/x"),
            delivery(6, key="f", headers={**plain, "http.query": "q=1"}),
        ]
        it.tally.write(it.target, batch)
        await it.tally.all_in()
        seen = [(r.method, r.target, r.headers.get("x"), r.body) for r in it.server.requests]
        assert sorted(seen, key=str) == sorted(
            [
                ("POST", "/x", None, b"[1,4]"),
                ("POST", "/y", None, b"[2]"),
                ("POST", "/x", "1", b"[3]"),
                ("PUT", "/x", None, b"[5]"),
                ("POST", "/x?q=1", None, b"[6]"),
            ],
            key=str,
        )


async def test_headers_that_differ_from_message_to_message_can_be_left_out() -> None:
    async def sent(**batch: Any) -> list[tuple[str | None, str | None, str]]:
        async with push(**batch) as it:
            for n in range(2):
                headers = {"Correlation-ID": str(n), "x": str(n), "content-type": "a/b"}
                it.tally.write(it.target, [delivery(n, key=str(n), headers=headers)])
            await it.tally.all_in()
            return [
                (r.headers.get("correlation-id"), r.headers.get("x"), r.body.decode())
                for r in it.server.requests
            ]

    delay = {"max_delay": "20ms"}
    assert await sent(**delay) == [(None, "0", "[0]"), (None, "1", "[1]")]
    assert await sent(**delay, without=["correlation-id", "X"]) == [(None, None, "[0,1]")]
    assert await sent(**delay, without=["x"]) == [("0", None, "[0]"), ("1", None, "[1]")]


async def test_a_request_has_at_most_so_many_messages() -> None:
    async with push(max_messages=3) as it:
        await it.send(*range(8))
        assert it.bodies == [[0, 1, 2], [3, 4, 5], [6, 7]]


async def test_what_a_loud_thing_says_is_not_cut_into_small_pieces() -> None:
    async with push(max_messages=10, parallelism=4) as it:
        others = [delivery(n, key=f"k{n}") for n in range(6)]
        it.tally.write(it.target, others + [delivery(n, key="loud") for n in range(10, 25)])
        await it.tally.all_in()
        assert sorted(it.bodies) == [
            list(range(6)),
            list(range(10, 20)),
            list(range(20, 25)),
        ]
    async with push(max_messages=10, parallelism=4) as it:
        it.tally.write(it.target, others[:4] + [delivery(n, key="loud") for n in range(10, 25)])
        await it.tally.all_in()
        assert sorted(it.bodies) == [[0, 1, 2, 3, *range(10, 16)], list(range(16, 25))]


@pytest.mark.parametrize(
    ("format_", "most", "sizes"),
    [
        ("json-array", 22, [22, 8, 102 + 2, 8]),
        ("json-array", 21, [15, 15, 102 + 2, 8]),
        ("ndjson", 21, [21, 7, 102 + 1, 7]),
        ("ndjson", 20, [14, 14, 102 + 1, 7]),
    ],
)
async def test_a_body_has_at_most_so_many_bytes_and_a_larger_message_goes_alone(
    format_: Any, most: int, sizes: list[int]
) -> None:
    async with push(max_bytes=most, format=format_) as it:
        await it.send("yyyy", "yyyy", "yyyy", "yyyy", "x" * 100, "yyyy")
        assert [len(request.body) for request in it.server.requests] == sizes


async def test_a_message_waits_for_others_no_longer_than_it_may() -> None:
    async with push(max_delay="150ms", max_messages=3) as it:
        begun = asyncio.get_running_loop().time()
        it.write(1, 2)
        await asyncio.sleep(0.02)
        assert not it.server.requests
        await it.tally.all_in()
        assert asyncio.get_running_loop().time() - begun >= 0.15
        assert it.bodies == [[1, 2]]


async def test_a_full_request_waits_for_nobody() -> None:
    async with push(max_delay="60s", max_messages=2) as it:
        it.write(1, 2, 3)
        await eventually(lambda: len(it.tally.done) == 2, "the full one was sent")
        assert it.bodies == [[1, 2]]
        await soon(it.target.close())
        ((left, error),) = it.tally.refused
        assert left.payload == b"3"
        assert isinstance(error, NotConnected)


async def test_what_comes_while_the_connection_is_busy_travels_together() -> None:
    gate = asyncio.Event()
    async with push() as it:
        it.server.answer = lambda _: [b"HTTP/1.1 ", b"204 -\r\n\r\n"]
        for number in range(20):
            it.write(number, key=f"k{number}")
        gate.set()
        await it.tally.all_in()
        assert it.bodies[0] == [0]
        assert it.bodies[1] == list(range(1, 20))


@pytest.mark.parametrize("status", [413, 422])
@pytest.mark.parametrize("bad", [{3}, {0}, {7}, {2, 5}, set(range(8)), set()])
async def test_a_refused_request_is_halved_until_the_bad_message_alone_is_refused(
    status: int, bad: set[int]
) -> None:
    def answer(request: Request) -> bytes:
        if bad & set(json.loads(request.body)):
            return b"HTTP/1.1 %d -\r\nContent-Length: 0\r\n\r\n" % status
        return NO_CONTENT

    async with push(answer) as it:
        await it.send(*range(8), key="one")
        refused = [(int(d.payload), error) for d, error in it.tally.refused]
        assert {number for number, _ in refused} == bad
        assert all(type(error) is DeliveryRefused for _, error in refused)
        assert [int(d.payload) for d in it.tally.done] == sorted(set(range(8)) - bad)
        taken = [body for body in it.bodies if not bad & set(body)]
        in_order = [number for body in taken for number in body]
        assert in_order == sorted(set(range(8)) - bad), "and each once"
        if len(bad) == 1:
            assert len(it.bodies) == 7  # 8, then twice each of 4, 2 and 1


async def test_another_refusal_is_that_of_all() -> None:
    refusal = b"HTTP/1.1 400 -\r\nContent-Length: 0\r\n\r\n"
    async with push(lambda _: refusal) as it:
        await it.send(1, 2, 3)
        assert len(it.server.requests) == 1
        assert len(it.tally.refused) == 3
    async with push(lambda r: refusal if b"3" in r.body else NO_CONTENT, split_on=[400]) as it:
        await it.send(1, 2, 3)
        assert [d.payload for d, _ in it.tally.refused] == [b"3"]


async def test_what_waits_behind_a_failed_one_of_its_thing_fails_unsent() -> None:
    async with push(lambda r: BUSY if b"1" in r.body else NO_CONTENT, max_messages=1) as it:
        sent = it.write(1, 2, 3, key="same")
        others = it.write(4, 5, key="other")
        await it.tally.all_in()
        assert it.bodies == [[1], [4], [5]]
        assert it.tally.done == others
        assert [d for d, _ in it.tally.refused] == sent
        assert [error.details.get("unsent") for _, error in it.tally.refused] == [None, True, True]
        assert [d.attempts for d in sent] == [0, -1, -1]  # as written by nobody but this test


async def test_nothing_is_sent_before_the_endpoint_allows() -> None:
    async with push(lambda _: WAIT, max_messages=2) as it:
        await it.send(*range(9))
        assert it.bodies == [[0, 1]]
        assert all(error.retry_after_s == 7 for _, error in it.tally.refused)
        assert len(it.tally.refused) == 9


async def test_without_order_one_thing_has_several_requests_on_their_way() -> None:
    async with push(max_messages=1, parallelism=4, ordering="none") as it:
        it.server.answer = lambda _: [b"HTTP/1.1 ", b"204 -\r\n\r\n"]
        await it.send(*range(8), key="same")
        assert it.server.most_connections == 4
    async with push(max_messages=1, parallelism=4) as it:
        await it.send(*range(8), key="same")
        assert it.server.most_connections == 1


async def test_methods_without_a_body_have_a_request_for_each_message() -> None:
    async with push() as it:
        await it.send(b"not JSON", b"", address="GET:/x")
        assert [(r.method, r.body) for r in it.server.requests] == [("GET", b"")] * 2


@pytest.mark.parametrize("payload", [b"1],[2", b"", b"{", b"NaN", b'"\xff"', b"1\n2"])
async def test_what_is_not_json_is_refused_alone(payload: bytes) -> None:
    async with push() as it:
        await it.send(b"1", payload, b"3")
        assert it.bodies == [[1, 3]]
        ((refused, error),) = it.tally.refused
        assert refused.payload == payload
        assert "not JSON" in str(error)


@given(st.recursive(st.none() | st.integers(-(2**63), 2**63) | st.text(), st.lists), st.booleans())
def test_a_fitted_payload_is_one_line_and_means_the_same(value: Any, indent: bool) -> None:
    text = json.dumps(value, indent=2 if indent else None, ensure_ascii=False)
    payload = text.replace("\n", "\r\n").encode()
    line = fitted(payload)
    assert json.loads(line) == value
    assert b"\n" not in line
    assert b"\r" not in line


async def test_a_lost_endpoint_fails_all_and_then_says_so() -> None:
    async with push(max_delay="60s", max_messages=2) as it:
        it.write(1, key="k")
        await it.server.close()
        await eventually(lambda: it.server.open_connections == 0, "the server is gone")
        it.write(2, 3, 4)
        await it.tally.all_in()
        await eventually(lambda: bool(it.tally.losses), "the loss is told")
        kinds = {type(error) for _, error in it.tally.refused}
        assert kinds <= {NotConnected, DeliveryFailed}
        assert len(it.tally.refused) == 4


def test_batches_bound_what_is_in_flight() -> None:
    assert capacity(1, 100) == 200
    assert capacity(64, 1000) == 10_000
    assert capacity(10_000, 1) == 10_000
    assert capacity(20_000, 5) == 20_000


def test_a_delay_that_is_no_duration_is_a_mistake() -> None:
    spec = TargetSpec(
        identity=Identity(connection_id="c"),
        connection=Connection(id="c", connection_type="http-push", uri="http://h"),
        options=HttpPushOptions(batch=Batching(max_delay="soon")),
        receipts=Tally(),
    )
    with pytest.raises(ConfigError, match=r"batch\.maxDelay 'soon'"):
        HttpPushTarget(spec)


async def test_what_a_batch_is_answered_its_messages_are() -> None:
    body = b"HTTP/1.1 %d -\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"
    for status, ack in ((200, 200), (503, 503)):
        async with push(lambda _, status=status: body % status) as it:
            sent = [Delivery(0, str(n), "POST:/x", {}, b"1") for n in range(3)]
            for delivery, most in zip(sent, (100, 1, None), strict=True):
                delivery.wanted = None if most is None else Wanted("c:done", most)
            it.tally.write(it.target, sent)
            await it.tally.all_in()
            first, second = (d.wanted.receipt() for d in sent[:2] if d.wanted is not None)
            assert (first.status, second.status, sent[2].wanted) == (ack, ack, None)
            assert second.payload == {"message": "the answer has more than 1 bytes"}
