"""``streamproc eval``: for programs a line in, a line out; for people what happens and why."""

from __future__ import annotations

import io
import json
import os
import selectors
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.cli.caret import WIDTH, pointed
from streamproc.cli.evaluate import main
from streamproc.cli.main import main as command
from streamproc.evaluate import OPS, cases

DEADLINE_S = 60.0
GOOD = {"id": "1", "op": "topic-path", "topic": "a/b/things/twin/errors"}


def answers(text: bytes, limit: int = cases.MAX_LINE_BYTES) -> list[dict[str, Any]]:
    sink = io.BytesIO()
    count = cases.answer_all(io.BytesIO(text), sink, limit)
    lines = sink.getvalue().splitlines()
    assert len(lines) == count
    return [json.loads(line) for line in lines]


def line(case: Any) -> bytes:
    return json.dumps(case).encode() + b"\n"


def test_each_line_is_answered_in_order_with_its_id() -> None:
    found = answers(line(GOOD) + line(GOOD | {"id": "2", "topic": "x"}) + line(GOOD | {"id": 3}))
    assert [answer["id"] for answer in found] == ["1", "2", 3]
    assert found[0]["result"]["criterion"] == "errors"
    assert found[1]["error"] == "protocoladapter:unknown.topicpath"
    assert "an entity name" in found[1]["message"]
    assert "result" not in found[1]
    assert set(found[2]) == {"id", "result"}


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (b"\n", "not JSON"),
        (b"no json\n", "not JSON"),
        (b"[]\n", "not a JSON object"),
        (b"null\n", "not a JSON object"),
        (b"\xff\n", "not JSON"),
        (b"[" * 100_000 + b"\n", "not JSON"),
        (b"{}\n", "the op is None"),
        (b'{"op":"nope"}\n', "the op is 'nope'"),
        (b'{"op":["template"]}\n', "the op is ['template']"),
        (b'{"op":"topic-path"}\n', "'topic'"),
    ],
)
def test_a_bad_line_is_answered_and_the_next_is_read(bad: bytes, said: str) -> None:
    first, second = answers(bad + line(GOOD))
    assert first["error"]
    assert said in first["message"]
    assert second["id"] == "1"
    assert "result" in second


def test_the_last_line_needs_no_end() -> None:
    assert [answer["id"] for answer in answers(line(GOOD) + line(GOOD).rstrip())] == ["1", "1"]


def test_a_bug_in_one_case_does_not_silence_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPS, "bug", "streamproc.evaluate.cases:no_such_function")
    first, second = answers(line({"id": "b", "op": "bug"}) + line(GOOD))
    assert (first["id"], first["error"]) == ("b", "internal")
    assert "no_such_function" in first["message"]
    assert "result" in second


def test_what_json_can_barely_say_is_answered() -> None:
    context = {"headers": {"a": "\x00"}}
    case = {"id": "x", "op": "template", "template": "{{ header:a }}", "context": context}
    [answer] = answers(line(case))
    assert answer == {"id": "x", "result": "\x00"}
    assert json.loads(cases._encode({"id": "\ud800", "result": 2**80})) == {
        "id": "\ud800",
        "result": 2**80,
    }


@given(
    lengths=st.lists(st.integers(0, 300), min_size=1, max_size=6),
    chunk=st.integers(1, 200),
    ended=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_lines_are_found_however_they_arrive(lengths: list[int], chunk: int, ended: bool) -> None:
    """Too long ones are told apart from the others, whatever the pieces they come in."""
    limit = 120
    lines = [b"x" * length for length in lengths]
    stream = b"\n".join(lines) + (b"\n" if ended else b"")

    class Pieces:
        at = 0

        def read1(self, size: int, /) -> bytes:
            piece = stream[self.at : self.at + chunk]
            self.at += chunk
            return piece

    expected = [None if len(each) > limit else each for each in lines]
    if not ended and not lines[-1]:
        expected.pop()  # nothing follows the last line end
    found = [each for batch in cases._lines(Pieces(), limit) for each in batch]
    assert found == expected


def test_a_line_that_is_too_long_says_so() -> None:
    long = line(GOOD | {"topic": "x" * 1000})
    first, second = answers(long + line(GOOD), limit=200)
    assert "200 bytes" in first["message"]
    assert first["id"] is None
    assert "result" in second


def run(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "streamproc", "eval", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"},
    )


def test_it_answers_before_it_is_told_more() -> None:
    with run() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            for _ in range(2):
                process.stdin.write(line(GOOD))
                process.stdin.flush()
                assert ready.select(DEADLINE_S), "no answer while the input is open"
                assert json.loads(process.stdout.readline())["id"] == "1"
        process.stdin.close()
        assert process.wait(DEADLINE_S) == 0


def test_a_reader_that_leaves_is_not_an_accident() -> None:
    with run() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write(line(GOOD) * 1000)
        process.stdin.close()
        assert process.wait(DEADLINE_S) == 1
        assert process.stderr.read() == b""


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(list(arguments))
    out, err = capsys.readouterr()
    return status, out, err


def test_a_template_shows_each_stage(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "ctx.json"
    file.write_text('{"thingId": "org.acme:sensor-1"}')
    text = "t/{{ thing:name | fn:upper() }}/{{ header:x | fn:default('a|b') }}${header:y}"
    status, out, _ = shown(capsys, "--template", text, "--context", str(file), "--header", "y=1=2")
    assert status == 0
    assert out.splitlines() == [
        "{{ thing:name | fn:upper() }}",
        '    thing:name  "sensor-1"',
        '  | fn:upper()  "SENSOR-1"',
        "{{ header:x | fn:default('a|b') }}",
        "    header:x           unresolved: no value",
        "  | fn:default('a|b')  \"a|b\"",
        "${header:y}",
        '    header:y  "1=2"',
        'result  "t/SENSOR-1/a|b1=2"',
    ]


def test_states_of_a_template_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    for text, said in [
        ("{{ fn:delete() }}", "result  deleted"),
        ("{{ header:x }}", "result  unresolved"),
        ("{{ request:subjectId }}", 'result  ["a:1","b:2"]'),
        ("plain {{ open", 'result  "plain {{ open"'),
        ("", 'result  ""'),
    ]:
        status, out, _ = shown(
            capsys, "--template", text, "--context", '{"subjects":["a:1","b:2"]}'
        )
        assert status == 0
        assert said in out.splitlines()[-1]


def test_a_mistake_is_pointed_at(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = shown(capsys, "--template", "a/{{ thing:name | fn:uper() }}")
    assert (status, out) == (1, "")
    lines = err.splitlines()
    assert lines[1] == "  a/{{ thing:name | fn:uper() }}"
    assert lines[2].index("^") == lines[1].index("fn:uper")
    assert any("fn:upper" in text for text in lines)
    assert "code: placeholder:function.unknown" in err
    status, _, err = shown(capsys, "--rql", "gt(attribute/x,4)", "--thing", "{}")
    assert status == 1
    assert err.splitlines()[2].index("^") == len("  gt(")


def test_a_filter_says_why(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "thing.json"
    file.write_text('{"thingId":"a:b","attributes":{"x":5,"y":null}}')
    text = 'and(gt(attributes/x,4),or(eq(attributes/y,"a"),exists(features/f)))'
    status, out, _ = shown(capsys, "--rql", text, "--thing", str(file))
    assert (status, out.splitlines()[0]) == (0, "result  false")
    assert "--explain" in out
    status, out, _ = shown(capsys, "--rql", text, "--thing", str(file), "--explain")
    assert out.splitlines() == [
        f"no   {text}",
        "  yes  gt(attributes/x,4)   saw 5",
        '  no   or(eq(attributes/y,"a"),exists(features/f))',
        '    no   eq(attributes/y,"a")   saw null',
        "    no   exists(features/f)   saw nothing there",
        "result  false",
    ]


def test_a_filter_looks_at_a_message_from_standard_input() -> None:
    message = {
        "topic": "a/b/things/twin/events/modified",
        "path": "/attributes/x",
        "value": 7,
        "headers": {"h": "1"},
    }
    with run("--rql", 'and(gt(attributes/x,4),eq(topic:action,"modified"))', "--message", "-") as p:
        out, err = p.communicate(json.dumps(message).encode(), timeout=DEADLINE_S)
        assert (p.returncode, out, err) == (0, b"result  true\n", b"")


def test_headers_of_a_message_are_headers_of_its_template(
    capsys: pytest.CaptureFixture[str],
) -> None:
    message = '{"topic":"a/b/things/twin/errors","path":"/","headers":{"h":"1","n":2}}'
    status, out, _ = shown(
        capsys, "--template", "{{ header:h }}{{ topic:criterion }}", "--message", message
    )
    assert (status, out.splitlines()[-1]) == (0, 'result  "1errors"')


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rql", "exists(attributes)"], "--thing or --message"),
        (["--template", "x", "--context", "/no/such/file"], "No such file"),
        (["--template", "x", "--context", "{"], "not JSON"),
        (["--template", "x", "--context", "/dev/null"], "not JSON"),
        (["--template", "x", "--context", '{"headers":[1]}'], "headers"),
        (["--template", "x", "--header", "name"], "NAME=VALUE"),
        (["--template", "x", "--context", '{"topic":"y"}'], "topic path"),
    ],
)
def test_what_is_missing_is_said(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    status, out, err = shown(capsys, *arguments)
    assert (status, out) == (1, "")
    assert said in err


def test_help_has_examples_and_operations(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command(["eval", "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "--explain" in out
    assert all(op in out for op in OPS)


@pytest.mark.parametrize(
    ("text", "position", "expected"),
    [
        ("abc", 1, "abc\n ^"),
        ("abc", 3, "abc\n   ^"),
        ("abc", 99, "abc\n   ^"),
        ("", 0, "\n^"),
        ("a\tb\nc", 4, "a b c\n    ^"),
        ("日本x", 2, "日本x\n    ^"),
        ("e\u0301x", 2, "e\u0301x\n ^"),
        ("\ud800x", 1, "\N{REPLACEMENT CHARACTER}x\n ^"),
    ],
)
def test_carets(text: str, position: int, expected: str) -> None:
    assert pointed(text, position) == expected


@given(position=st.integers(0, 999))
def test_of_a_long_text_the_part_that_matters_is_shown(position: int) -> None:
    text = "".join(chr(0x100 + i % 0x40) for i in range(1000))
    line, caret = pointed(text, position).split("\n")
    assert len(line) <= WIDTH + 2
    assert line[caret.index("^")] == text[position]
