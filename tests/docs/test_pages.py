"""Generated pages are what the declarations say, and say where they come from."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from streamproc.cli import docs, schema
from streamproc.cli.docs import PAGES
from streamproc.cli.pages.errors import MEANINGS
from streamproc.errors import STATUS
from tests.docs.blocks import ROOT, pages


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A project with fresh pages."""
    (tmp_path / "docs").mkdir()
    assert docs.main(["--root", str(tmp_path)]) == 0
    return tmp_path


@pytest.mark.parametrize("place", PAGES)
def test_the_page_in_the_project_is_fresh(place: str) -> None:
    path = ROOT / place
    assert path.is_file(), "run streamproc docs"
    assert path.read_text(encoding="utf-8") == PAGES[place](), "run streamproc docs"


def test_nothing_is_left_of_pages_that_are_gone() -> None:
    assert docs.left_over(ROOT) == []


@pytest.mark.parametrize("place", [place for place in PAGES if place.endswith(".md")])
def test_a_page_says_first_what_to_edit_and_that_is_there(place: str) -> None:
    first = PAGES[place]().splitlines()[0]
    assert first.startswith("Generated from `")
    sources = re.findall(r"`(streamproc/[^`]*)`", first)
    assert sources
    assert all((ROOT / source).is_file() for source in sources)


def test_a_page_is_the_same_each_time() -> None:
    for page in PAGES.values():
        assert page() == page()


def test_check_is_quiet_about_fresh_pages_and_names_the_others(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert docs.main(["--root", str(copy), "--check"]) == 0
    assert capsys.readouterr().out == ""
    (copy / "docs/reference/errors.md").write_text("old")
    (copy / "configs/schema.json").unlink()
    (copy / "docs/reference/connectors/gone.md").write_text("Generated from `x`")
    (copy / "docs/reference/compatibility.md").write_text("Written by hand.")
    assert docs.main(["--root", str(copy), "--check"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "configs/schema.json is stale: run streamproc docs",
        "docs/reference/errors.md is stale: run streamproc docs",
        "docs/reference/connectors/gone.md is no longer generated: run streamproc docs",
    ]
    assert (copy / "docs/reference/errors.md").read_text() == "old"
    assert docs.main(["--root", str(copy)]) == 0
    assert docs.main(["--root", str(copy), "--check"]) == 0
    assert (copy / "docs/reference/compatibility.md").exists()
    assert not (copy / "docs/reference/connectors/gone.md").exists()


def test_a_folder_without_docs_is_no_project(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert docs.main(["--root", str(tmp_path)]) == 2
    assert "no folder docs" in capsys.readouterr().err
    shutil.rmtree(tmp_path)


def test_schema_prints_what_the_file_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert schema.main([]) == 0
    printed = capsys.readouterr().out
    assert printed == (ROOT / "configs/schema.json").read_text()
    assert json.loads(printed)["$defs"]["Connection"]["allOf"]


def test_every_code_has_a_meaning_and_no_meaning_is_left_over() -> None:
    assert STATUS.keys() - MEANINGS.keys() == set()
    assert MEANINGS.keys() - STATUS.keys() == set()
    page = PAGES["docs/reference/errors.md"]()
    assert all(f"`{code}`" in page for code in STATUS)


@pytest.mark.parametrize("page", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), target
