"""Every configuration that people are shown passes lint and fits the schema."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamproc.config.load import load
from streamproc.config.read_yaml import read_yaml
from streamproc.config.schema import schema
from tests.docs.blocks import ROOT, blocks
from tests.docs.json_schema import wrong

EXAMPLES = sorted((ROOT / "configs" / "examples").glob("*.yaml"))
FILES = [*sorted((ROOT / "configs").glob("*.yaml")), *EXAMPLES]
ENV = {"WORKERS": "2", "KAFKA_HOST": "localhost", "RECEIVER_PORT": "8080"}
MOST_LINES = 40
# A block that is a part of a file says so with this as its first line.
PART = "# part of a file"
BLOCKS = [block for block in blocks("yaml") if not block[1].startswith(PART)]


def name(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("path", FILES, ids=name)
def test_each_configuration_passes_lint_without_a_warning(path: Path) -> None:
    loaded = load(path, ENV)
    assert loaded.problems == []
    assert loaded.warnings == []
    assert loaded.service.connections


@pytest.mark.parametrize("path", FILES, ids=name)
def test_each_configuration_fits_the_schema(path: Path) -> None:
    root = schema()
    assert list(wrong(root, read_yaml(path.read_text()).value, root)) == []


@pytest.mark.parametrize("path", EXAMPLES, ids=name)
def test_each_example_is_short_and_says_what_it_shows(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# ")
    assert len(lines) <= MOST_LINES
    assert path.stem[:2].isdigit()
    assert len(path.stem.split("-")) >= 3


@pytest.mark.parametrize(("place", "text"), BLOCKS, ids=[place for place, _ in BLOCKS])
def test_each_block_of_yaml_in_the_documentation_passes_lint(
    place: str, text: str, tmp_path: Path
) -> None:
    path = tmp_path / "block.yaml"
    path.write_text(text)
    assert load(path, ENV).problems == []


def test_examples_have_numbers_without_a_gap() -> None:
    assert [int(path.stem[:2]) for path in EXAMPLES] == list(range(1, len(EXAMPLES) + 1))
