"""${env:...} and ${file:...}: put in before all else, missing ones told, values never shown."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.config.references import MAX_SECRET_BYTES, References

ENV = {"NAME": "value", "EMPTY": "", "ODD": "${env:NAME}", "BYTES": "\udcff"}


def resolved(value: Any, folder: Path = Path()) -> tuple[Any, References]:
    references = References(folder, ENV)
    return references.resolve(value), references


def test_a_reference_stands_for_its_value_also_inside_a_text() -> None:
    value, references = resolved({"a": ["${env:NAME}", "x${env:NAME}y${env:EMPTY}", 3, None]})
    assert value == {"a": ["value", "xvaluey", 3, None]}
    assert references.written == {("a", 0): "${env:NAME}", ("a", 1): "x${env:NAME}y${env:EMPTY}"}
    assert references.whole == {("a", 0)}
    assert references.values == {"value", ""}
    assert not references.findings


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${header:device_id}", "${header:device_id}"),
        ("$${header:x}", "$${header:x}"),
        ("$${env:NAME}", "${env:NAME}"),
        ("$$${env:NAME}", "$${env:NAME}"),
        ("$${file:x} ${env:NAME}", "${file:x} value"),
        ("${ENV:NAME}", "${ENV:NAME}"),
        ("${environment}", "${environment}"),
        ("$env:NAME", "$env:NAME"),
        ("${env:ODD}", "${env:NAME}"),
    ],
)
def test_only_the_two_prefixes_are_ours(text: str, value: str) -> None:
    assert resolved(text)[0] == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("${env:MISSING}", "MISSING is not set"),
        ("${env:NAM}", "NAM is not set"),
        ("${env:}", "names no environment variable"),
        ("${env:A-B}", "names no environment variable"),
        ("${env:BYTES}", "no UTF-8"),
        ("a ${env:NAME", "closing brace"),
        ("${file:}", "names no file"),
        ("${file:missing}", "no such file"),
        ("${file:.}", "cannot be read"),
        ("${file:a\x00b}", "cannot be read"),
        ("${file:latin}", "no UTF-8"),
        ("${file:large}", "larger than"),
        ("${file:pipe}", "not a regular file"),
    ],
)
def test_what_is_missing_is_told(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"\xe4")
    (tmp_path / "large").write_bytes(b"a" * (MAX_SECRET_BYTES + 1))
    os.mkfifo(tmp_path / "pipe")  # nobody writes to it: to read it would take for ever
    _, references = resolved({"k": text}, tmp_path)
    assert [finding.path for finding in references.findings] == [("k",)]
    assert words in references.findings[0].sentence
    assert references.lacks(("k",))
    assert not references.lacks(())


def test_a_name_that_is_near_is_offered() -> None:
    assert resolved("${env:NAM}")[1].findings[0].hint == "did you mean 'NAME'"


def test_a_file_is_found_beside_the_configuration_and_loses_its_last_line_end(
    tmp_path: Path,
) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "key").write_bytes(b"\xef\xbb\xbfline one\nline two\r\n")
    assert resolved("<${file:secrets/key}>", tmp_path)[0] == "<line one\nline two>"
    (tmp_path / "full").write_bytes(b"a" * MAX_SECRET_BYTES)
    assert resolved(f"${{file:{tmp_path}/full}}")[0] == "a" * MAX_SECRET_BYTES


@given(st.text("${}env:file$NAME_ab", max_size=40))
def test_text_without_our_prefixes_passes_untouched(text: str) -> None:
    value, references = resolved(text)
    if "${env:" not in text and "${file:" not in text:
        assert value == text
        assert not references.written
    elif not references.written:
        assert value == text.replace("$${env:", "${env:").replace("$${file:", "${file:")
