"""Acknowledgements against a model: whatever comes of the deliveries of a message, and whenever,
it is settled once, by the rules, from the answers to what it asked; others as ever.

The data path, its kernels and the tally are real; targets and the clock are the test.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamproc.connectors.base import Batch, Verdict
from streamproc.errors import DeliveryFailed, DeliveryRefused, SignalError
from streamproc.kernels.delivery import Delivery
from streamproc.worker.acks import Asked, refused
from streamproc.worker.tally import Tally
from tests.unit.worker.test_flow import SOURCE, Bench, modify, target

A, B, NOBODY, TWIN = "out0:a", "out1:b", "who:ever", "twin-persisted"
LABELS = [A, B, NOBODY, TWIN]
AGAIN = {408, 424}

Fate = tuple[str, int | None]


class Scene(Bench):
    def __init__(self, folder: Path, **source: Any) -> None:
        topic = '_/_/things/twin/events?filter=ne(attributes/x,"quiet")'
        super().__init__(
            folder,
            [
                target(issuedAcknowledgementLabel="{{ connection:id }}:a"),
                target(topic, issuedAcknowledgementLabel="{{ connection:id }}:b"),
                target(),
            ],
            {**SOURCE, **source},
        )
        self.tally = Tally(self.block)
        self.settled: dict[int, Verdict | SignalError] = {}
        self.results: dict[int, dict[str, Any]] = {}

    def say(self, token: int, asked: list[str] | None, value: Any = 1, **headers: Any) -> None:
        if asked is not None:
            headers["requested-acks"] = asked
        message = modify(value=value)
        message["headers"] = headers
        payload = json.dumps(message).encode()
        batch = Batch([payload], [{"device_id": "ns:one"}], [token])
        entries = self.window.admit(None, batch.tokens, batch.payloads, 0.0)
        self.flow(batch, entries, self.window)

    def conclude(self, client: str, delivery: Delivery, fate: Fate) -> None:
        how, status = fate
        connection = client.partition("#")[0]
        if how == "delivered":
            if status is not None and delivery.wanted is not None:
                delivery.wanted.answered(status, {"from": connection})
            self.tally.delivered(connection, [delivery])
        elif how == "spilled":
            self.tally.spilled(connection, [delivery])
        else:
            if status is not None and delivery.wanted is not None:
                delivery.wanted.answered(status, {"from": connection})
            details = {} if status is None else {"status": status}
            error = DeliveryRefused("no", **details)
            refused([delivery], error)
            self.tally.parked(connection, [delivery], error.code)

    def look(self) -> None:
        for _, tokens, outcomes in self.window.take():
            for token in tokens:
                assert token not in self.settled, "settled twice"
                outcome = outcomes.get(token)
                if isinstance(outcome, Asked):
                    result = outcome.result()
                    self.results[token] = result.value()
                    self.settled[token] = outcome.verdict(result)
                else:
                    self.settled[token] = Verdict.ACCEPT if outcome is None else outcome


def expected(asked: list[str] | None, fates: dict[str, Fate]) -> tuple[dict[str, int], Verdict]:
    """The model: statuses by label, and the verdict."""
    if asked is None or not set(asked) - {TWIN}:
        return {}, Verdict.ACCEPT
    statuses, failed = {}, []
    for label in dict.fromkeys(asked):
        kept = False
        if label == TWIN:
            status = 204
        elif label == NOBODY:
            status = 404
        elif label not in fates:
            status = 200
        else:
            how, answered = fates[label]
            kept = how == "parked"
            default = {"delivered": 204, "spilled": 202, "parked": DeliveryRefused.status}[how]
            status = default if answered is None or how == "spilled" else answered
        statuses[label] = status
        if status >= 400:
            failed.append(400 if kept else status)
    if not failed:  # a redirect alone is none, but among others makes them disagree
        mixed = len(statuses) > 1 and any(status >= 300 for status in statuses.values())
        return statuses, Verdict.REJECT if mixed else Verdict.ACCEPT
    again = any(status in AGAIN or status >= 500 for status in failed)
    return statuses, Verdict.REDELIVER if again else Verdict.REJECT


FATES = st.one_of(
    st.tuples(st.just("delivered"), st.sampled_from([None, 200, 201, 404, 408, 500])),
    st.tuples(st.just("parked"), st.sampled_from([None, 302, 400, 408, 503])),
    st.tuples(st.just("spilled"), st.none()),
)
MESSAGES = st.tuples(
    st.none() | st.lists(st.sampled_from(LABELS), max_size=5), st.sampled_from([1, "quiet"])
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_random_histories_are_settled_once_by_the_rules(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(Path(folder))
        said = data.draw(st.lists(MESSAGES, max_size=6))
        fates: dict[int, dict[str, Fate]] = {token: {} for token in range(len(said))}
        open_: list[tuple[int, str, Delivery]] = []
        ended: set[int] = set()  # tokens whose link was lost before they were settled
        for token, (asked, value) in enumerate(said):
            scene.sent.clear()
            scene.say(token, asked, value)
            open_ += [(token, client, delivery) for client, delivery in scene.sent]
            while open_ and data.draw(st.booleans()):
                act(scene, data, open_, fates)
            scene.look()
            if data.draw(st.integers(0, 9)) == 0:
                scene.window.forget()
                ended |= set(range(token + 1)) - set(scene.settled)
        while open_:
            act(scene, data, open_, fates)
        scene.look()
        assert set(scene.settled) == set(range(len(said))) - ended
        assert scene.window.messages == scene.window.unsettled == 0
        for token, verdict in scene.settled.items():
            statuses, model = expected(said[token][0], fates[token])
            assert verdict is model
            found = scene.results.get(token, {})
            assert {label: ack["status"] for label, ack in found.items()} == statuses


def act(
    scene: Scene,
    data: st.DataObject,
    open_: list[tuple[int, str, Delivery]],
    fates: dict[int, dict[str, Fate]],
) -> None:
    which = data.draw(st.integers(0, len(open_) - 1))
    token, client, delivery = open_.pop(which)
    fate = data.draw(FATES)
    label = {"out0": A, "out1": B}.get(client.partition("#")[0])
    if label is not None:
        fates[token][label] = fate
    scene.conclude(client, delivery, fate)


def test_who_asks_for_nothing_costs_nothing(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    for token, asked in enumerate([None, [], [TWIN]]):
        scene.say(token, asked)
    assert all(delivery.wanted is None for _, delivery in scene.sent)
    for client, delivery in scene.sent:
        scene.conclude(client, delivery, ("delivered", None))
    scene.look()
    assert scene.settled == dict.fromkeys(range(3), Verdict.ACCEPT)
    assert not scene.results


def test_a_source_asks_by_its_own_rules(tmp_path: Path) -> None:
    requests = {"includes": [A], "filter": "fn:filter(header:qos,'ne','0')"}
    scene = Scene(tmp_path, acknowledgementRequests=requests)
    scene.say(0, None)
    wanted = [delivery.wanted.label for _, delivery in scene.sent if delivery.wanted is not None]
    assert wanted == [A]


def test_messages_that_are_settled_at_once_wait_for_nothing(tmp_path: Path) -> None:
    scene = Scene(tmp_path, qos=0, acknowledgementRequests={"includes": [A, NOBODY]})
    scene.say(0, [NOBODY])
    assert all(delivery.wanted is None for _, delivery in scene.sent)


def test_what_nobody_issues_is_answered_at_once_and_not_asked_for_again(tmp_path: Path) -> None:
    """Else any sender could fill the window, or have its message redelivered for ever."""
    scene = Scene(tmp_path)
    scene.say(0, [NOBODY])
    for client, delivery in scene.sent:
        scene.conclude(client, delivery, ("delivered", None))
    scene.look()
    assert scene.settled == {0: Verdict.REJECT}
    assert scene.results[0][NOBODY]["status"] == 404


def test_labels_share_the_budget(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.say(0, [A, B])
    wanted = [d.wanted for _, d in scene.sent if d.wanted is not None]
    assert [each.max_bytes for each in wanted] == [50_000, 50_000]
    wanted[0].answered(200, "x" * 49_998)
    assert wanted[0].receipt().payload == "x" * 49_998
    wanted[0].answered(200, "x" * 49_999)
    assert "50000 bytes" in wanted[0].receipt().payload["message"]


def test_an_answer_of_an_earlier_try_is_not_that_of_the_failure(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.say(0, [A])
    (wanted,) = [d.wanted for _, d in scene.sent if d.wanted is not None]
    wanted.answered(503, "busy")
    wanted.refused(DeliveryFailed("connection closed before the answer"))
    ack = wanted.receipt()
    assert ack.status == DeliveryFailed.status
    assert ack.payload == {"message": "connection closed before the answer"}
    wanted.answered(503, "busy")
    wanted.refused(DeliveryFailed("endpoint answered 503", status=503))
    assert (wanted.receipt().status, wanted.receipt().payload) == (503, "busy")
    wanted.refused(DeliveryRefused("endpoint answered 410", status=410))
    assert (wanted.receipt().status, wanted.receipt().payload) == (
        410,
        {"message": "endpoint answered 410"},
    )
