"""Conversion: what msgspec takes is taken, what it refuses is told, all of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from msgspec import Meta

from streamproc.config.connection import Connection
from streamproc.config.convert import convert
from streamproc.config.problem import FIELD_MISSING, KEY_UNKNOWN, json_path
from streamproc.config.section import Section
from streamproc.config.service import Service
from tests.unit.config import written
from tests.unit.config.test_document import JSON

MODELS = st.sampled_from([Service, Connection])


@given(MODELS.flatmap(lambda model: st.tuples(st.just(model), written.mapping(model))))
def test_what_may_be_written_is_read_and_written_back(made: Any) -> None:
    model, raw = made
    read = convert(model, raw)
    assert read.findings == []
    assert read.broken == set()
    assert read.value == msgspec.convert(raw, model)
    again = convert(model, msgspec.to_builtins(read.value))
    assert again.findings == []
    assert again.value == read.value


@given(
    MODELS.flatmap(
        lambda model: st.tuples(st.just(model), written.mapping(model).flatmap(written.spoilt))
    )
)
def test_a_finding_is_there_exactly_where_msgspec_refuses(made: Any) -> None:
    model, raw = made
    read = convert(model, raw)
    try:
        oracle = msgspec.convert(raw, model)
    except msgspec.ValidationError as error:
        event("refused")
        assert read.findings
        # The one place that msgspec names is among ours: at it, or at a key it lacks or has.
        place = str(error).partition(" - at `")[2].rstrip("`") or "$"
        if "[...]" not in place:
            assert any(json_path(f.path).startswith(place) for f in read.findings)
    else:
        event("taken")
        assert read.findings == []
        assert read.value == oracle


@given(MODELS, JSON)
def test_anything_gives_findings_or_the_model(model: type[Any], raw: Any) -> None:
    read = convert(model, raw)
    assert isinstance(read.value, model)
    assert isinstance(raw, dict) or read.findings


class Inner(Section, frozen=True, kw_only=True):
    kind: Annotated[Literal["fast", "slow"], Meta(description="x")]
    size: Annotated[int, Meta(description="x", ge=1, le=9)] = 3
    word: Annotated[str, Meta(description="x", extra={"secret": True})] = "w"


class Outer(Section, frozen=True, kw_only=True):
    inner_parts: Annotated[list[Inner], Meta(description="x")] = []  # noqa: RUF012
    one_part: Annotated[Inner | None, Meta(description="x")] = None
    names: Annotated[dict[str, Inner], Meta(description="x")] = {}  # noqa: RUF012
    share: Annotated[float, Meta(description="x", gt=0)] = 1.0


def told(raw: Any) -> list[tuple[str, str, str]]:
    return [(json_path(f.path), f.sentence, f.hint) for f in convert(Outer, raw).findings]


def test_every_mistake_is_told_with_its_path() -> None:
    raw = {
        "innerParts": [{"kind": "fat"}, {"kind": "slow", "size": 10}, 7],
        "onePart": {"kind": 1, "sise": 2},
        "names": {"a b": {}, "c": {"kind": "fast", "word": 5}},
        "share": 0,
        "inner_part": [],
    }
    assert told(raw) == [
        ("$.inner_part", "is not an option here", "did you mean 'innerParts'"),
        (
            "$.innerParts[0].kind",
            "expected one of 'fast', 'slow', found 'fat'",
            "did you mean 'fast'",
        ),
        ("$.innerParts[1].size", "expected a whole number from 1 to 9, found 10", ""),
        ("$.innerParts[2]", "expected a mapping, found 7", ""),
        ("$.onePart.sise", "is not an option here", "did you mean 'size'"),
        ("$.onePart.kind", "expected one of 'fast', 'slow', found 1", ""),
        ("$.names['a b'].kind", "is missing, expected one of 'fast', 'slow'", ""),
        ("$.names.c.word", "expected text", ""),
        ("$.share", "expected a number above 0, found 0", ""),
    ]


def test_a_required_name_misspelt_is_one_mistake() -> None:
    found = convert(Inner, {"Kind": "fast"})
    assert [f.code for f in found.findings] == [KEY_UNKNOWN]
    assert found.broken == {("kind",)}
    assert [f.code for f in convert(Inner, {"x": 1}).findings] == [KEY_UNKNOWN, FIELD_MISSING]


def test_blanks_keep_every_index_in_its_place() -> None:
    read = convert(Outer, {"innerParts": [3, {"kind": "fast"}], "share": "x"})
    assert len(read.value.inner_parts) == 2
    assert read.value.inner_parts[1].kind == "fast"
    assert read.value.share == 1.0
    assert read.spoils(("innerParts", 0, "size"))
    assert not read.spoils(("innerParts", 1, "size"))


@pytest.mark.parametrize(("text", "value"), [("7", 7), ("x", None), ("7.5", None), ("", None)])
def test_a_number_may_be_text_only_where_it_came_from_elsewhere(text: str, value: Any) -> None:
    raw = {"kind": "fast", "size": text}
    assert convert(Inner, raw).findings
    read = convert(Inner, raw, text={("size",)})
    assert bool(read.findings) == (value is None)
    assert value is None or read.value.size == value
