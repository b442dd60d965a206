"""Ditto's address rules, and that nothing unsafe reaches a request line."""

from __future__ import annotations

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from streamproc.connectors.http_push.address import (
    MAX_TARGET_BYTES,
    base_path,
    on_the_wire,
    problem,
    request_target,
    split,
)
from streamproc.errors import DeliveryRefused


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("POST:events", ("POST", "events")),
        ("PUT:a:b:c", ("PUT", "a:b:c")),
        ("DELETE:", ("DELETE", "")),
        ("HEAD:/x", ("HEAD", "/x")),
        ("FOO:/x", ("POST", "FOO:/x")),
        ("post:/x", ("POST", "post:/x")),
        (":/x", ("POST", ":/x")),
        ("events", ("POST", "events")),
        ("", ("POST", "")),
    ],
)
def test_an_address_is_split_at_its_first_colon(address: str, expected: tuple[str, str]) -> None:
    assert split(address) == expected


@pytest.mark.parametrize("verb", ["GET", "PUT", "POST", "PATCH", "DELETE"])
def test_the_five_verbs_are_targets(verb: str) -> None:
    assert problem(f"{verb}:/x") is None


@pytest.mark.parametrize("address", ["", "events", "/x", ":/x", "HEAD:/x", "put:/x", "OPTIONS:x"])
def test_any_other_address_is_refused_with_the_verbs_named(address: str) -> None:
    assert "PATCH" in (problem(address) or "")


@pytest.mark.parametrize(
    ("base", "path", "expected"),
    [
        ("", "/events", ("/events", None)),
        ("/", "events", ("/events", None)),
        ("/a", "", ("/a/", None)),
        ("/a/", "b", ("/a/b", None)),
        ("/a/", "/b/", ("/a/b/", None)),
        ("/a//", "b", ("/a//b", None)),
        ("/a", "?x=1", ("/a", "x=1")),
        ("", "?x=1", ("/", "x=1")),
        ("/a", "#part", ("/a", None)),
        ("/a", "b#part?x=1", ("/a/b", None)),
        ("/a", "b?", ("/a/b", "")),
        ("/a", "b?x=1?y", ("/a/b", "x=1?y")),
    ],
)
def test_the_path_is_appended_to_the_base(
    base: str, path: str, expected: tuple[str, str | None]
) -> None:
    assert request_target(base_path(base), path) == expected


@pytest.mark.parametrize(
    ("path", "new_path", "new_query", "expected"),
    [
        ("/a?x=1", "new", None, ("/new", "x=1")),
        ("/a?x=1", None, "y=2", ("/base/a", "y=2")),
        ("/a?x=1", "/n/", "y=2", ("/n/", "y=2")),
        ("/a", "", None, ("/", None)),
        ("/a?x", None, "", ("/base/a", "")),
        ("/a", "n?q#f", None, ("/n%3Fq", None)),
        ("/a", None, "y#f", ("/base/a", "y")),
    ],
)
def test_two_headers_replace_path_and_query(
    path: str, new_path: str | None, new_query: str | None, expected: tuple[str, str | None]
) -> None:
    found = request_target("/base", path, new_path=new_path, new_query=new_query)
    assert found == expected


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("/a b", None, "/a%20b"),
        ("/ä", "ö=€", "/%C3%A4?%C3%B6=%E2%82%AC"),
        ("/a%20b", "x=%41", "/a%20b?x=%41"),
        ("/org:dev", "a=[1]&b={2}", "/org:dev?a=[1]&b=%7B2%7D"),
    ],
)
def test_what_a_request_line_cannot_hold_is_encoded(
    path: str, query: str | None, expected: str
) -> None:
    assert on_the_wire(path, query) == expected


@pytest.mark.parametrize("bad", ["\r", "\n", "\0", "\t", "\x7f", "\r\nHost: evil"])
def test_control_characters_are_refused(bad: str) -> None:
    with pytest.raises(DeliveryRefused):
        on_the_wire(f"/a{bad}b", None)
    with pytest.raises(DeliveryRefused):
        on_the_wire("/a", f"x={bad}")


def test_a_target_has_a_longest_length() -> None:
    assert on_the_wire("/" + "x" * (MAX_TARGET_BYTES - 1), None)
    with pytest.raises(DeliveryRefused):
        on_the_wire("/" + "x" * MAX_TARGET_BYTES, None)


@given(
    base=st.sampled_from(["", "/", "/a", "/a/"]),
    path=st.text(max_size=20),
    new_path=st.none() | st.text(max_size=10),
    new_query=st.none() | st.text(max_size=10),
)
def test_whatever_is_sent_is_one_word_that_begins_with_a_slash(
    base: str, path: str, new_path: str | None, new_query: str | None
) -> None:
    try:
        target = on_the_wire(
            *request_target(base_path(base), path, new_path=new_path, new_query=new_query)
        )
    except DeliveryRefused:
        event("refused")
        return
    event("sent")
    assert target.startswith("/")
    assert target.isascii()
    assert target.isprintable()
    assert " " not in target
    assert "#" not in target
