"""``streamproc parked``: what is shown, selected and refused; how a replay goes on and ends."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamproc.cli import parked as command
from streamproc.cli import replay as module
from streamproc.cli.main import main
from streamproc.cli.replay import Clock, NoService, management_url, poster, replay
from streamproc.config.service import Listener, Service
from streamproc.errors import StreamprocError
from streamproc.store.parked import Parked, parked_store

NOW = time.time()


def fill(folder: Path) -> None:
    store = parked_store(Service(data_dir=str(folder)))
    store.add(
        [
            entry(0, age_s=7200, reason="old"),
            entry(1, connection="d", payload=b"\xff\x00"),
            entry(2, payload=b"text \x1b[31m", message="bad \x1b[2J news"),
            entry(3, target=-1),
        ]
    )
    store.close()


def entry(n: int, *, age_s: float = 60, **more: Any) -> Parked:
    fields: dict[str, Any] = {
        "time": NOW - age_s,
        "connection": "c",
        "target": 0,
        "reason": "delivery_refused",
        "message": "no",
        "attempts": 1,
        "address": "a",
        "key": f"ns:{n}",
        "headers": {"h": "1"},
        "payload": b'{"n":1}',
        **more,
    }
    return Parked(**fields)


@pytest.fixture
def run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    fill(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        status = main(["parked", *arguments, "--data-dir", str(tmp_path)])
        out, err = capfd.readouterr()
        return status, out, err

    return call


Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ([], [1, 2, 3, 4]),
        (["--connection", "d"], [2]),
        (["--reason", "old"], [1]),
        (["--key", "ns:2"], [3]),
        (["--since", "1h"], [2, 3, 4]),
        (["--before", "1h"], [1]),
        (["--before", "2001-01-01"], []),
        (["--since", "2001-01-01T00:00:00Z", "--connection", "c"], [1, 3, 4]),
        (["--limit", "2"], [1, 2]),
        (["--after", "2", "--limit", "1"], [3]),
    ],
)
def test_lists_what_is_asked_for(run: Run, filters: list[str], ids: list[int]) -> None:
    status, out, _ = run("list", "--json", *filters)
    assert status == 0
    assert [json.loads(line)["id"] for line in out.splitlines()] == ids
    status, out, err = run("list", *filters)
    assert status == 0
    assert len(out.splitlines()) == (len(ids) + 1 if ids else 0)
    assert f"{len(ids)} shown; 4 parked" in err


def test_shows_one_without_steering_the_terminal(run: Run) -> None:
    status, out, _ = run("list")
    assert "\x1b" not in out
    assert "bad ?[2J news" in out
    status, out, _ = run("show", "1")
    shown = json.loads(out)
    assert (status, shown["payload"], shown["headers"]) == (0, {"n": 1}, {"h": "1"})
    assert json.loads(run("show", "2")[1])["payloadBase64"] == "/wA="
    assert json.loads(run("show", "3")[1])["payload"] == "text \x1b[31m"
    assert run("show", "1", "--payload")[1] == '{"n":1}'
    status, out, err = run("show", "99")
    assert (status, out) == (1, "")
    assert "99" in err


def test_shows_no_secret_that_was_made_for_a_target(tmp_path: Path, capfd: Any) -> None:
    """Of the message nothing is hidden: its payload is what a person must look at."""
    store = parked_store(Service(data_dir=str(tmp_path)))
    store.add(
        [
            entry(
                1,
                headers={"Authorization": "Basic c3RyYW5nZXI6aHVudGVyMg==", "device": "d"},
                address="POST:https://me:hunter2@host/x",
                message="401 for https://me:hunter2@host/x, said password=hunter2",
                payload=b'{"password":"hunter3"}',
            )
        ]
    )
    store.close()
    for action in (["list"], ["list", "--json"], ["show", "1"]):
        capfd.readouterr()
        assert main(["parked", *action, "--data-dir", str(tmp_path)]) == 0
        shown = capfd.readouterr().out
        assert "hunter2" not in shown
        assert "c3Ry" not in shown
    found = json.loads(shown)
    assert found["headers"] == {"Authorization": "***", "device": "d"}
    assert found["payload"] == {"password": "hunter3"}


def test_drops_only_what_is_named_and_confirmed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("drop", "1")[0] == 2
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: "n")
    assert run("drop", "1")[0] == 2
    monkeypatch.setattr("builtins.input", lambda _: "y")
    assert run("drop", "1", "77")[:2] == (0, "dropped 1\n")
    assert run("drop", "--connection", "c", "--yes")[1] == "dropped 2\n"
    assert run("drop", "--connection", "nobody", "--yes")[1] == "dropped 0\n"
    assert run("drop", "--all", "--yes")[1] == "dropped 1\n"
    assert run("list", "--json")[1] == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["drop", "--yes"],
        ["drop", "1", "--all"],
        ["drop", "1", "--connection", "c"],
        ["replay"],
        ["replay", "--all", "--rate", "0"],
        ["replay", "--all", "--rate", "fast"],
        ["show", "-1"],
        ["show", "99999999999999999999"],
        ["list", "--since", "yesterday"],
        ["list", "--limit", "0"],
    ],
)
def test_what_cannot_be_meant(run: Run, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2


def test_where_nothing_was_parked_nothing_is_made(tmp_path: Path, capsys: Any) -> None:
    assert main(["parked", "list", "--data-dir", str(tmp_path / "none")]) == 0
    assert not (tmp_path / "none").exists()
    assert main(["parked", "show", "1", "--data-dir", str(tmp_path / "none")]) == 1


def test_a_configuration_that_is_wrong_elsewhere_still_says_where_the_store_is(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "kept")
    file = tmp_path / "service.yaml"
    file.write_text("dataDir: kept\nconnections: [{id: x}]\n")
    assert main(["parked", "list", "--json", "--config", str(file)]) == 0
    assert len(capfd.readouterr().out.splitlines()) == 4
    file.write_text("dataDir: [kept]\n")
    assert main(["parked", "list", "--config", str(file)]) == 2
    assert main(["parked", "list", "--config", str(tmp_path / "none.yaml")]) == 2


def test_what_has_no_target_is_not_replayed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[int]] = []

    def done(numbers: list[int]) -> dict[str, list[int]]:
        asked.append(numbers)
        return {"delivered": numbers}

    monkeypatch.setattr(module, "poster", lambda _: done)
    status, _, err = run("replay", "--connection", "c", "--url", "http://x")
    assert (status, asked) == (1, [[1, 3]])
    assert "1 were parked before" in err
    assert run("replay", "1", "3", "--url", "http://x")[0] == 0


# How a replay goes on.


class Fake:
    """Time that passes as it is told to, and a service that answers from a script."""

    def __init__(self, *answers: dict[str, list[int]] | Exception) -> None:
        self.time = 0.0
        self.answers = list(answers)
        self.asked: list[tuple[float, list[int]]] = []
        self.said: list[str] = []
        self.takes_s = 0.0

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def post(self, numbers: list[int]) -> dict[str, list[int]]:
        self.asked.append((self.time, numbers))
        self.time += self.takes_s
        answer = self.answers.pop(0) if self.answers else {"delivered": numbers}
        if isinstance(answer, Exception):
            raise answer
        return answer

    def replay(self, count: int, rate: float | None = None, wait_s: float = 60.0) -> bool:
        return replay(
            range(1, count + 1),
            self.post,
            rate=rate,
            wait_s=wait_s,
            clock=Clock(lambda: self.time, self.sleep),
            say=self.said.append,
        )


def test_all_is_asked_for_once_in_order() -> None:
    fake = Fake()
    assert fake.replay(1234)
    assert [n for _, numbers in fake.asked for n in numbers] == list(range(1, 1235))
    assert max(len(numbers) for _, numbers in fake.asked) == 500
    assert fake.said[-1] == "of 1234: 1234 delivered"


def test_the_rate_is_kept() -> None:
    fake = Fake()
    fake.takes_s = 0.1
    assert fake.replay(100, rate=20)
    sent = 0
    for at, numbers in fake.asked:
        sent += len(numbers)
        assert sent <= 20 * at + 1 + 1e-6
    assert 4 < fake.time < 7


def test_what_waits_is_asked_for_again_and_failures_stay_failures() -> None:
    fake = Fake({"delivered": [1], "waiting": [2, 3]}, {"parked": [2], "waiting": [3]})
    assert not fake.replay(3)
    assert [numbers for _, numbers in fake.asked] == [[1, 2, 3], [2, 3], [3]]
    assert fake.said[-1] == "of 3: 2 delivered, 1 failed again"


def test_it_ends_when_nothing_happens() -> None:
    fake = Fake(*[{"waiting": [1, 2]}] * 9)
    fake.takes_s = 5.0
    assert not fake.replay(2, wait_s=12)
    assert len(fake.asked) == 3
    assert "of 2: 2 waiting" in fake.said
    assert "stays parked" in fake.said[-1]


def test_what_has_no_place_holds_up_no_other() -> None:
    def answer(numbers: list[int]) -> dict[str, list[int]]:
        fake.asked.append((fake.time, numbers))
        return {
            "unplaced": [n for n in numbers if n <= 600],
            "delivered": [n for n in numbers if n > 600],
        }

    fake = Fake()
    fake.post = answer  # type: ignore[method-assign]
    assert not fake.replay(700)
    assert "of 700: 100 delivered, 600 waiting" in fake.said
    assert "600 are for connections that are not open" in fake.said[-1]
    assert fake.time < 60


def test_a_service_that_restarts_is_waited_for_but_not_one_that_never_was() -> None:
    fake = Fake({"waiting": [1, 2]}, NoService("away"), NoService("away"))
    assert fake.replay(2)
    with pytest.raises(NoService):
        Fake(NoService("away")).replay(2)
    gone = Fake({"waiting": [1]}, *[NoService("away")] * 99)
    assert not gone.replay(1, wait_s=5)
    assert gone.time < 10


def test_where_the_service_is(tmp_path: Path) -> None:
    def at(host: str, port: int = 80) -> str:
        return management_url(Service(management=Listener(host=host, port=port)), None)

    assert at("10.0.0.1") == "http://10.0.0.1:80"
    assert at("0.0.0.0") == "http://127.0.0.1:80"
    assert at("::") == "http://[::1]:80"
    with pytest.raises(NoService, match="runtime-dir"):
        at("127.0.0.1", 0)
    with pytest.raises(NoService):
        management_url(Service(), tmp_path)
    (tmp_path / "management").write_text("127.0.0.1:4711\n")
    assert management_url(Service(), tmp_path) == "http://127.0.0.1:4711"
    with pytest.raises(StreamprocError):
        poster("file:///etc/passwd")
    with pytest.raises(NoService, match="needs it running"):
        poster("http://127.0.0.1:1")([1])


def test_times_may_be_ago_or_of_the_calendar() -> None:
    assert abs(command._moment("2h") - (time.time() - 7200)) < 60
    assert command._moment("1970-01-01T00:00:10Z") == 10
