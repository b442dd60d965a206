"""Loading: a service, or every problem of it, exactly where it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from streamproc.config.document import MAX_FILE_BYTES
from streamproc.config.load import Loaded, load
from streamproc.config.service import Service
from streamproc.errors import ConfigError
from tests.unit.config import written
from tests.unit.config.connections import changed, good
from tests.unit.config.test_document import JSON

POLICY = {
    "entries": {
        "all": {
            "subjects": {"ditto:sub": {"type": "x"}},
            "resources": {"thing:/": {"grant": ["READ", "WRITE"], "revoke": []}},
        }
    }
}
ANY = {"policies": {"p": POLICY}, "namespaces": [{"namespace": "*", "policy": "p"}]}


def service(*connections: Any, **more: Any) -> dict[str, Any]:
    return {**ANY, "connections": list(connections), **more}


def source(id_: str = "in") -> dict[str, Any]:
    connection = good("kafka")
    del connection["targets"]
    return {**connection, "id": id_}


def target(id_: str = "out") -> dict[str, Any]:
    return {**good("http-push"), "id": id_}


def write(folder: Path, content: Any, name: str = "service.yaml") -> Path:
    path = folder / name
    text = content if isinstance(content, str) else json.dumps(content, indent=1)
    path.write_text(text, encoding="utf-8")
    return path


def told(loaded: Loaded) -> list[tuple[int, str]]:
    return [(problem.line, problem.path) for problem in loaded.problems]


def test_a_good_service_is_loaded_without_a_word(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, service(source(), target(), workers=3)), {})
    assert loaded.problems == []
    assert loaded.warnings == []
    assert loaded.service.workers == 3
    assert [c.id for c in loaded.service.connections] == ["in", "out"]
    assert loaded.service.data_dir == str(tmp_path / "data")
    assert loaded.files == [tmp_path / "service.yaml"]


@pytest.mark.parametrize("name", ["service.yaml", "service.json"])
def test_yaml_and_json_say_the_same(tmp_path: Path, name: str) -> None:
    content = service(source(), {**target(), "sources": []}, limits={"parkedBytes": 5000})
    loaded = load(write(tmp_path, content, name), {})
    assert not loaded.problems
    assert loaded.service.limits.parked_bytes == 5000


TEN = """\
workers: four
dataDir: data
limit: {parkedBytes: 5000}
namespaces:
  - {namespace: org.acme, policy: nobody}
connections:
  - id: in
    connectionType: kafka
    uri: tcp://localhost
    specificConfig: {bootstrapServers: "localhost:9092", grupId: x}
    sources:
      - adresses: [telemetry]
        authorizationContext: ["{{ thing:id }}"]
  - id: out
    connectionType: http-push
    uri: http://localhost:${env:PORT}
    targets:
      - address: "PSOT:/x"
        topics: ["_/_/things/twin/events?filter=eq(attributes/a"]
        authorizationContext: ["a:b"]
"""


def test_ten_mistakes_are_ten_problems_each_in_its_place(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, TEN), {})
    assert told(loaded) == [
        (1, "$.workers"),
        (3, "$.limit"),
        (5, "$.namespaces[0].policy"),
        (9, "$.connections[0].uri"),
        (10, "$.connections[0].specificConfig.grupId"),
        (12, "$.connections[0].sources[0].adresses"),
        (13, "$.connections[0].sources[0].authorizationContext[0]"),
        (16, "$.connections[1].uri"),
        (18, "$.connections[1].targets[0].address"),
        (19, "$.connections[1].targets[0].topics[0]"),
    ]
    columns = {problem.path: problem.column for problem in loaded.problems}
    assert columns["$.connections[0].specificConfig.grupId"] == 58
    assert columns["$.connections[1].targets[0].topics[0]"] == 18
    hints = {problem.path: problem.hint for problem in loaded.problems}
    assert hints["$.limit"] == "did you mean 'limits'"
    assert hints["$.connections[0].sources[0].adresses"] == "did you mean 'addresses'"
    with pytest.raises(ConfigError, match=r"service\.yaml:1:1: \$\.workers: .* and 9 more"):
        _ = loaded.service


def test_what_cannot_be_read_says_nothing_else(tmp_path: Path) -> None:
    """A type, an id, a list that are broken do not make the rest wrong as well."""
    broken = changed(
        source(),
        {
            "id": 5,
            "sources.0.declaredAcks": ["in:ack"],
            "connectionType": "kafak",
            "targets": "none",
        },
    )
    loaded = load(write(tmp_path, service(broken, target(), policies=3)), {})
    assert [p for _, p in told(loaded)] == [
        "$.policies",
        "$.connections[0].id",
        "$.connections[0].connectionType",
        "$.connections[0].targets",
    ]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "expected a mapping, found null"),
        ("[]", 1, "expected a mapping, found a list"),
        ("a: [", 2, "expected node content"),
        ("connections: 5", 1, "expected a list, found 5"),
        ("log: {level: info}\nlog: {level: info}", 2, "written twice"),
        ("connectionsDir: nowhere", 1, "cannot be read: no such file"),
        ('connectionsDir: "\\0"', 1, "cannot be read"),
        ("hosts: {blockedSubnets: [x]}", 1, "as CIDR"),
        ("hosts: {blockedRegex: '('}", 1, "regular expression"),
        ("httpProxy: {host: 'http://proxy:3128'}", 1, "a host name or an address"),
        ("httpProxy: {host: 'me:secret@proxy'}", 1, "a host name or an address"),
        ("httpProxy: {host: proxy, password: secret}", 1, "the user of the password"),
    ],
)
def test_a_broken_file_is_told(tmp_path: Path, text: str, line: int, words: str) -> None:
    loaded = load(write(tmp_path, text), {})
    assert [problem.line for problem in loaded.problems] == [line]
    assert words in loaded.problems[0].message


def test_a_file_that_is_not_there_or_too_large_is_told(tmp_path: Path) -> None:
    assert "no such file" in str(load(tmp_path / "missing.yaml", {}).problems[0])
    assert "not a regular file" in str(load(tmp_path, {}).problems[0])
    (tmp_path / "large.yaml").write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    assert "at most" in str(load(tmp_path / "large.yaml", {}).problems[0])
    (tmp_path / "latin.yaml").write_bytes(b"a: b\nname: \xe4")
    assert told(load(tmp_path / "latin.yaml", {})) == [(2, "$")]


def test_values_from_elsewhere_are_put_in_first(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("p%40ss\n")
    connection = changed(
        source(),
        {"uri": "tcp://u:${file:password}@${env:HOST}:9092", "clientCount": "${env:CLIENTS}"},
    )
    content = service(connection, target(), workers="${env:WORKERS}")
    env = {"HOST": "broker", "CLIENTS": "2", "WORKERS": "3"}
    loaded = load(write(tmp_path, content), env)
    assert not loaded.problems
    assert loaded.service.workers == 3
    first = loaded.service.connections[0]
    assert first.uri == "tcp://u:p%40ss@broker:9092"
    assert first.client_count == 2
    assert loaded.written["in"] == {
        ("uri",): "tcp://u:${file:password}@${env:HOST}:9092",
        ("clientCount",): "${env:CLIENTS}",
    }


def test_a_missing_value_is_one_problem(tmp_path: Path) -> None:
    connection = changed(source(), {"id": "${env:ID}", "sources.0.declaredAcks": ["x:ack"]})
    loaded = load(write(tmp_path, service(connection, target(), workers="${env:N}")), {})
    assert [p for _, p in told(loaded)] == ["$.connections[0].id", "$.workers"]


SECRETS = st.text("abcdefghij!{}()|:/#?%", min_size=3, max_size=12).map(lambda s: f"Zq{s}Xw")
PLACES = st.sampled_from(
    [
        *("id", "name", "connectionType", "connectionStatus", "uri", "clientCount", "ca", "tags"),
        *("specificConfig", "specificConfig.groupId", "specificConfig.bootstrapServers"),
        *("sources", "sources.0", "sources.0.addresses.0", "sources.0.qos", "mappingDefinitions"),
        *("sources.0.authorizationContext.0", "sources.0.declaredAcks", "credentials"),
        "sources.0.consumerCount",
    ]
)


@given(
    PLACES,
    SECRETS,
    st.sampled_from(["${env:SECRET}", "a{{ x:${env:SECRET} }}", "tcp://${env:SECRET}"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_value_from_elsewhere_is_in_no_message(
    tmp_path: Path, place: str, secret: str, text: str
) -> None:
    content = service(changed(source(), {place: text}), target(), workers=text)
    loaded = load(write(tmp_path, content), {"SECRET": secret})
    said = "\n".join(map(str, [*loaded.problems, *loaded.warnings]))
    event(f"{len(loaded.problems)} problems")
    assert "$.workers" in said
    assert secret not in said
    assert repr(secret)[1:-1] not in said


@pytest.mark.parametrize(
    ("place", "secret", "part"),
    [
        ("sources.0.headerMapping", "{{ header:x | fn:hunter2() }}", "hunter2"),  # a part is quoted
        ("sources.0.headerMapping", "{{ hunter2:x }}", "hunter2"),
        ("sources.0.addresses", "hun\nter2\\", "ter2"),  # not quoted as it is
        ("sources.0.addresses", "hunter2 " * 20, "hunter2"),  # cut
        ("sources.0.payloadMapping", "Dittoo", "did you mean"),  # near to something known
        ("sources.0.addresses", "//", "//"),  # too short to be looked for everywhere
    ],
)
def test_no_part_of_a_value_from_elsewhere_is_told(
    tmp_path: Path, place: str, secret: str, part: str
) -> None:
    value: Any = {"a": "${env:SECRET}"} if place.endswith("headerMapping") else ["${env:SECRET}"]
    content = service(changed(source(), {place: value}), target())
    problems = load(write(tmp_path, content), {"SECRET": secret}).problems
    assert len(problems) == 1
    assert "found what '${env:SECRET}' says" in problems[0].message
    assert part not in f"{problems[0].message} {problems[0].hint}"


def test_a_value_that_is_repeated_elsewhere_is_not_told_there_either(tmp_path: Path) -> None:
    first = changed(source(), {"name": "${env:SECRET}", "sources.0.qos": "sesame-open"})
    loaded = load(write(tmp_path, service(first, target())), {"SECRET": "sesame-open"})
    assert [p.message for p in loaded.problems] == ["expected one of 0, 1, 2"]


class TestFolder:
    def test_connections_come_from_files_in_order(self, tmp_path: Path) -> None:
        folder = tmp_path / "more"
        folder.mkdir()
        write(folder, target("b"), "20-b.json")
        write(folder, yaml.safe_dump(source("a")), "10-a.yaml")
        write(folder, "not a connection", "README.txt")
        write(folder, "not read", ".hidden.yaml")
        loaded = load(write(tmp_path, service(source("first"), connectionsDir="more")), {})
        assert not loaded.problems
        assert [c.id for c in loaded.service.connections] == ["first", "a", "b"]
        assert [p.name for p in loaded.files] == ["service.yaml", "10-a.yaml", "20-b.json"]
        assert ["README.txt" in w.message for w in loaded.warnings] == [True]

    def test_problems_are_told_in_their_own_file(self, tmp_path: Path) -> None:
        folder = tmp_path / "more"
        folder.mkdir()
        write(folder, {**target("in"), "uri": "x"}, "a.json")
        write(folder, "{", "b.json")
        write(folder, "[]", "c.yaml")
        content = service(source("in"), source("in"), connectionsDir="more")
        loaded = load(write(tmp_path, content), {})
        assert [(Path(p.file).name, p.path) for p in loaded.problems] == [
            ("service.yaml", "$.connections[1].id"),
            ("a.json", "$.id"),
            ("a.json", "$.uri"),
            ("b.json", "$"),
            ("c.yaml", "$"),
        ]
        assert "service.yaml, line" in loaded.problems[1].hint

    def test_references_are_relative_to_the_file_they_are_in(self, tmp_path: Path) -> None:
        folder = tmp_path / "more"
        folder.mkdir()
        (folder / "name").write_text("inner")
        write(folder, {**target(), "name": "${file:name}"}, "a.json")
        loaded = load(write(tmp_path, service(source(), connectionsDir="more")), {})
        assert loaded.service.connections[1].name == "inner"


def test_a_connection_alone_is_checked_as_one(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, good("kafka"), "connection.json"), {})
    assert not loaded.problems
    assert [c.id for c in loaded.service.connections] == ["conn-1"]
    loaded = load(write(tmp_path, {**good("kafka"), "uri": "x"}, "connection.json"), {})
    assert [p for _, p in told(loaded)] == ["$.uri"]


class TestService:
    def warned(self, tmp_path: Path, content: Any) -> list[str]:
        loaded = load(write(tmp_path, content), {})
        assert not loaded.problems
        return [warning.path for warning in loaded.warnings]

    def test_without_a_policy_nothing_gets_through(self, tmp_path: Path) -> None:
        content = service(source(), target(), namespaces=[])
        assert self.warned(tmp_path, content) == ["$"]

    def test_no_connection_is_sent_what_it_brought_itself(self, tmp_path: Path) -> None:
        assert self.warned(tmp_path, service(good("kafka"))) == ["$.connections[0].targets"]
        closed = {**source(), "connectionStatus": "closed"}
        content = service(good("kafka"), closed)
        assert self.warned(tmp_path, content) == ["$.connections[0].targets"]

    def test_labels_that_nobody_issues_are_told(self, tmp_path: Path) -> None:
        asking = source()
        labels = ["out:delivered", "in:stored", "twin-persisted", "live-response", "out:deliverd"]
        asking["sources"][0]["acknowledgementRequests"] = {
            "includes": [*labels, "{{connection:id}}:mine", "search-persisted"]
        }
        issuing = changed(
            target(), {"targets.0.issuedAcknowledgementLabel": "{{connection:id}}:delivered"}
        )
        loaded = load(write(tmp_path, service(asking, issuing)), {})
        assert not loaded.problems
        at = "$.connections[0].sources[0].acknowledgementRequests.includes"
        assert [w.path for w in loaded.warnings] == [f"{at}[{i}]" for i in (1, 4, 5, 6)]
        assert "'in:mine'" in str(loaded.warnings[2])
        assert "did you mean 'out:delivered'" in str(loaded.warnings[1])

    def test_old_shapes_are_taken_and_told(self, tmp_path: Path) -> None:
        old = changed(target(), {"authorizationContext": ["ditto:sub"]})
        del old["targets"][0]["authorizationContext"]
        loaded = load(write(tmp_path, service(source(), old)), {})
        assert not loaded.problems
        assert [w.path for w in loaded.warnings] == ["$.connections[1].authorizationContext"]
        assert loaded.service.connections[1].targets[0].authorization_context == ["ditto:sub"]

    def test_nothing_listens_where_the_management_does(self, tmp_path: Path) -> None:
        intake = {**good("http-ingest"), "uri": "http://0.0.0.0:9095"}
        folder = tmp_path / "more"
        folder.mkdir()
        write(folder, intake, "a.json")
        loaded = load(write(tmp_path, service(source(), connectionsDir="more")), {})
        assert [(Path(p.file).name, p.path) for p in loaded.problems] == [("a.json", "$.uri")]

    def test_two_connections_do_not_listen_on_one_address(self, tmp_path: Path) -> None:
        """Their clients may live on different workers, and each would refuse the other's."""
        one = {**good("http-ingest"), "id": "one", "uri": "http://127.0.0.1:8080"}
        two = {**one, "id": "two"}
        apart = {**one, "id": "three", "uri": "http://127.0.0.1:8081"}
        loaded = load(write(tmp_path, service(one, apart, two, target())), {})
        assert [p.path for p in loaded.problems] == ["$.connections[2].uri"]

    def test_host_rules_are_asked_only_where_there_are_some(self, tmp_path: Path) -> None:
        asked: list[str] = []

        def resolve(host: str, within_s: float) -> list[str]:
            asked.append(host)
            return ["127.0.0.1"]

        content = service(source(), target())
        assert not load(write(tmp_path, content), {}, resolve=resolve).problems
        assert asked == []
        content["hosts"] = {"blockedSubnets": ["192.0.2.0/24"]}
        loaded = load(write(tmp_path, content), {}, resolve=resolve)
        assert [p for _, p in told(loaded)] == ["$.connections[0].uri", "$.connections[1].uri"]
        assert asked == ["broker.example.com", "api.example.com"]


@given(st.binary(max_size=80) | st.text("{}[]:,-&*!|>'\"#% \nab1$env", max_size=80).map(str.encode))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_are_too_much(tmp_path: Path, data: bytes) -> None:
    for name in ("x.yaml", "x.json"):
        (tmp_path / name).write_bytes(data)
        check_told(load(tmp_path / name, {}))


@given(JSON | written.mapping(Service).flatmap(written.spoilt))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_no_values_are_too_much(tmp_path: Path, content: Any) -> None:
    if isinstance(content, dict):
        content.pop("hosts", None)  # nothing is looked up here
        content["connectionsDir"] = None
    loaded = load(write(tmp_path, content, "x.json"), {})
    event(f"{min(len(loaded.problems), 5)} problems")
    check_told(loaded)


def check_told(loaded: Loaded) -> None:
    """Either it is a service, or there are problems, each in a place."""
    if not loaded.problems:
        assert isinstance(loaded.service, Service)
    for problem in [*loaded.problems, *loaded.warnings]:
        assert problem.line >= 1
        assert problem.column >= 1
        assert problem.path.startswith("$")
        assert problem.message
        assert "\n" not in str(problem)
