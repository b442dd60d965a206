"""What a device is answered that asks for the endpoint's acknowledgement, on two workers."""

from __future__ import annotations

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.e2e import ends
from tests.e2e.play import NAMESPACE
from tests.e2e.service import Service
from tests.e2e.ways import Port

LABEL = "hook:delivered"
THINGS = 12  # of a kind: enough that both clients of the target get some


class Endpoint:
    """Answers by the kind of thing it is told of: the first word of its name."""

    def __init__(self) -> None:
        self.told: Counter[str] = Counter()
        told = self.told

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                thing = self.path.rpartition(":")[2]
                told[thing] += 1
                kind = thing.partition("-")[0]
                status, body = 200, json.dumps({"heard": thing})
                if kind == "bad":
                    status, body = 400, json.dumps({"why": f"no {thing}"})
                elif kind == "shaky" and told[thing] == 1:
                    status = 503
                elif kind == "large":
                    body = json.dumps("x" * 200_000)
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def config(port: Port, url: str) -> dict[str, Any]:
    target = {
        "address": "POST:/x/{{ thing:id }}",
        "authorizationContext": ["e2e:targets"],
    }
    return {
        "workers": 2,
        "retry": {"firstDelayS": 0.05, "maxDelayS": 0.2},
        **_policies(),
        "connections": [
            {
                "id": "devices",
                "connectionType": "http-ingest",
                "connectionStatus": "open",
                "uri": f"http://127.0.0.1:{port}",
                "sources": [ends.source("/things")],
            },
            {
                "id": "hook",
                "connectionType": "http-push",
                "connectionStatus": "open",
                "uri": url,
                "clientCount": 2,
                "specificConfig": {"parallelism": 4},
                "targets": [
                    target
                    | {
                        "topics": ['_/_/things/twin/events?filter=ne(attributes/x,"quiet")'],
                        "issuedAcknowledgementLabel": "{{ connection:id }}:delivered",
                    },
                    target
                    | {
                        "topics": ["_/_/things/live/messages"],
                        "issuedAcknowledgementLabel": "live-response",
                    },
                ],
            },
        ],
    }


def _policies() -> dict[str, Any]:
    found = ends.policies()
    entries = found["policies"]["e2e"]["entries"]
    for name, right in (("devices", "WRITE"), ("targets", "READ")):
        entries[name]["resources"]["message:/"] = {"grant": [right], "revoke": []}
    return found


class Device:
    def __init__(self, port: Port) -> None:
        self._url = f"http://127.0.0.1:{port}/things"

    def say(
        self, thing: str, value: Any = 1, *, live: bool = False, **headers: Any
    ) -> tuple[int, Any]:
        topic = "live/messages/ask" if live else "twin/commands/modify"
        message = {
            "topic": f"{NAMESPACE}/{thing}/things/{topic}",
            "path": "/inbox/messages/ask" if live else "/attributes/x",
            "headers": {name.replace("_", "-"): found for name, found in headers.items()},
            "value": value,
        }
        request = Request(
            self._url, json.dumps(message).encode(), {"device_id": f"{NAMESPACE}:{thing}"}
        )
        try:
            with urlopen(request, timeout=60) as answer:
                return answer.status, _json(answer.read())
        except HTTPError as error:
            return error.code, _json(error.read())


def _json(body: bytes) -> Any:
    return json.loads(body) if body else None


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Any:
    port = Port()
    with (
        Endpoint() as far,
        Service(Path(tmp_path_factory.mktemp("acks")), config(port, far.url)) as service,
    ):
        service.start()
        assert service.workers_of("hook") == {0, 1}
        yield Device(port), far, service
        service.balanced("devices", "hook")
        assert service.terminate() == 0


def test_the_endpoint_s_answer_is_the_device_s(scene: Any) -> None:
    device, far, _ = scene
    for i in range(THINGS):
        assert device.say(f"good-{i}", requested_acks=[LABEL]) == (200, {"heard": f"good-{i}"})
        assert far.told[f"good-{i}"] == 1


def test_what_the_endpoint_refuses_is_told_and_parked(scene: Any) -> None:
    device, far, service = scene
    before = service.metric("deliveries_parked_total", "hook")
    for i in range(THINGS):
        assert device.say(f"bad-{i}", requested_acks=[LABEL]) == (400, {"why": f"no bad-{i}"})
        assert far.told[f"bad-{i}"] == 1
    service.eventually(
        lambda: service.metric("deliveries_parked_total", "hook") >= before + THINGS, "parked"
    )


def test_our_own_retries_are_not_heard_of(scene: Any) -> None:
    device, far, _ = scene
    for i in range(THINGS):
        assert device.say(f"shaky-{i}", requested_acks=[LABEL]) == (200, {"heard": f"shaky-{i}"})
        assert far.told[f"shaky-{i}"] == 2


def test_several_labels_are_answered_together(scene: Any) -> None:
    device, _, _ = scene
    labels = ["twin-persisted", LABEL]
    assert device.say("good-a", requested_acks=labels) == (
        200,
        {"twin-persisted": {"status": 204}, LABEL: {"status": 200, "payload": {"heard": "good-a"}}},
    )
    status, found = device.say("bad-a", requested_acks=labels)
    assert (status, found[LABEL]["status"]) == (424, 400)


def test_an_answer_beyond_the_budget_is_no_failure(scene: Any) -> None:
    device, _, _ = scene
    for i in range(4):
        status, found = device.say(f"large-{i}", requested_acks=[LABEL])
        assert status == 200
        assert "more than 100000 bytes" in found["message"]


def test_a_target_that_does_not_want_it_acknowledges_weakly(scene: Any) -> None:
    device, far, _ = scene
    status, found = device.say("good-quiet", "quiet", requested_acks=[LABEL])
    assert status == 200
    assert "weak ack" in found["message"]
    assert not far.told["good-quiet"]


def test_a_label_that_nobody_issues_is_not_waited_for(scene: Any) -> None:
    device, far, _ = scene
    status, found = device.say("good-t", requested_acks=["who:knows"])
    assert (status, found["message"]) == (404, "No target here issues this acknowledgement.")
    status, found = device.say("good-u", requested_acks=["who:knows", LABEL])
    assert (status, found["who:knows"]["status"], found[LABEL]["status"]) == (424, 404, 200)
    assert far.told["good-t"] == far.told["good-u"] == 1


def test_a_live_message_is_answered_by_whoever_answers_it(scene: Any) -> None:
    device, far, _ = scene
    for i in range(4):
        assert device.say(f"good-l{i}", live=True) == (200, {"heard": f"good-l{i}"})
        status, _ = device.say(f"good-l{i}", live=True, response_required=False)
        assert status == 204
        assert far.told[f"good-l{i}"] == 2


def test_who_asks_for_nothing_is_answered_as_ever(scene: Any) -> None:
    device, _, _ = scene
    assert device.say("good-n") == (204, None)
    assert device.say("good-n", requested_acks=["twin-persisted"]) == (204, None)
    assert device.say("good-n", requested_acks=[]) == (204, None)


def test_no_time_for_what_is_asked_is_an_error(scene: Any) -> None:
    device, far, _ = scene
    status, found = device.say("good-z", requested_acks=[LABEL], timeout="0")
    assert (status, found["error"]) == (400, "header.invalid")
    assert not far.told["good-z"]
