"""``streamproc explain`` shows every rule, its value, and who set it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from streamproc.cli import explain
from streamproc.cli.rules import SECTIONS
from streamproc.config.annotation import options
from streamproc.config.endpoint import EndpointOptions
from streamproc.config.service import Breaker, Retry
from streamproc.connectors import CONNECTORS

EXAMPLES = sorted((Path(__file__).parents[3] / "configs").rglob("*.yaml"))
HOOK: dict[str, Any] = {
    "id": "hook",
    "connectionType": "http-push",
    "connectionStatus": "open",
    "uri": "https://user:hunter2@example.com:443/base",
    "clientCount": 4,
    "specificConfig": {
        "parallelism": "8",
        "maxRate": "100",
        "retryMaxAttempts": "5",
        "successStatus": "2xx,409",
        "webhookSecrets": "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTE=",
    },
    "targets": [
        {
            "address": "POST:/x?token=hunter3",
            "topics": ["_/_/things/twin/events?namespaces=org.acme"],
            "authorizationContext": ["acme:hook"],
        }
    ],
}
SERVICE: dict[str, Any] = {
    "retry": {"maxAttempts": 7, "maxAgeS": 60},
    "breaker": {"windowS": 5},
    "connections": [HOOK],
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "service.yaml"
    path.write_text(yaml.safe_dump(SERVICE))
    return path


def told(file: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[tuple[str, str], Any]:
    assert explain.main([*more, "--config", str(file), "--json"]) == 0
    rules = json.loads(capsys.readouterr().out)["rules"]
    return {(each["section"], each["rule"]): (each["value"], each["from"]) for each in rules}


def test_each_value_has_its_origin(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = told(file, capsys, "hook")
    assert rules["retry", "attempts before parking"] == ("5 attempts", "connection")
    assert rules["retry", "deadline per message before parking"] == ("60 s", "service")
    assert rules["retry", "Retry-After kept, up to"] == ("3600 s", "default")
    assert rules["breaker", "within"] == ("5 s", "service")
    assert rules["breaker", "breaker"] == ("on", "default")
    assert rules["answer", "delivered after"] == ("200-299, 409", "connection")
    assert rules["answer", "nothing more is sent after"] == ("410", "default")
    assert rules["answer", "tried again after"] == (
        "408, 425, 429, 500, 502-504, 506-599",
        "default",
    )
    rate = ("100 messages a second, 25 a client", "connection")
    assert rules["concurrency", "rate limit"] == rate


def test_no_option_is_left_out(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A new option shows by itself; one that a section means to show is shown there."""
    spec: dict[str, Any] = {"retry": {}, "breaker": {}}
    changed = {int: 3, float: 0.7, bool: True, str: "x"}
    for section, model in (("retry", Retry), ("breaker", Breaker)):
        for option in options(model):
            default = option.default
            spec[section][option.encode_name] = (
                "off" if option.name == "mode" else changed[type(default or 1)]
            )
    file.write_text(yaml.safe_dump({**SERVICE, **spec}))
    of_service = sum(source == "service" for _, source in told(file, capsys).values())
    overridden = 1  # retryMaxAttempts
    assert of_service == len(options(Retry)) + len(options(Breaker)) - overridden
    rules = told(file, capsys)
    shown = {rule for section, rule in rules if section == "option"}
    for option in options(CONNECTORS["http-push"].options):
        if option.encode_name in shown:
            assert option.name not in {each.name for each in options(EndpointOptions)}


@pytest.mark.parametrize(
    ("section", "spec"),
    [
        ("spill", {"mode": "auto", "afterS": 3, "windowMessages": 9, "maxBytes": 1 << 24}),
        ("parking", {"connection": "hook", "target": 0, "afterS": 9}),
        ("hosts", {"allowed": ["example.com"], "blocked": [], "blockedSubnets": []}),
    ],
)
def test_so_it_is_with_other_sections(
    section: str, spec: dict[str, Any], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(yaml.safe_dump({"connections": [HOOK], section: spec}))
    assert sum(source == "service" for _, source in told(file, capsys).values()) == len(spec)


def test_secrets_are_not_shown(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain.main(["hook", "--file", str(file)]) == 0
    out = capsys.readouterr().out
    assert "hunter" not in out
    assert "c2VjcmV0" not in out
    assert "set (hidden)" in out
    assert "example.com" in out


def test_sections_can_be_chosen(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = told(file, capsys, "hook", "--section", "breaker")
    assert {section for section, _ in rules} == {"breaker"}
    with pytest.raises(SystemExit):
        explain.main(["hook", "--file", str(file), "--section", "nope"])


def test_the_only_connection_needs_no_name(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(file, capsys) == told(file, capsys, "hook")


def test_a_mistyped_connection_gets_a_hint(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain.main(["hok", "--file", str(file)]) == 2
    assert "did you mean 'hook'? (there are: hook)" in capsys.readouterr().err


def test_a_file_with_problems_says_which(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = {**HOOK, "specificConfig": {"retryStatus": "often"}}
    file.write_text(yaml.safe_dump({**SERVICE, "connections": [bad]}))
    assert explain.main(["hook", "--file", str(file)]) == 1
    assert "$.connections[0].specificConfig.retryStatus" in capsys.readouterr().err


def test_one_connection_alone_is_explained_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "hook.json"
    path.write_text(json.dumps(HOOK))
    rules = told(path, capsys)
    assert rules["retry", "attempts before parking"] == ("5 attempts", "connection")
    assert rules["retry", "deadline per message before parking"] == ("no limit", "default")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_every_example_can_be_explained(
    example: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = yaml.safe_load(example.read_text())
    for name in [each["id"] for each in content.get("connections", [])]:
        status = explain.main([name, "--file", str(example)])
        out = capsys.readouterr()
        if status == 0:
            assert "placement" in out.out
        else:
            assert "$" in out.err  # needs the environment of its users


def test_every_section_says_what_it_is_about() -> None:
    assert all(section.__doc__ for section in SECTIONS.values())
