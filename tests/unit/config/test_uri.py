"""Connection uris: taken apart as Ditto does, and never shown with a password."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.config.uri import MASK, ConnectionUri, UriInvalid, masked

PLAIN = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=8)
HOSTS = PLAIN | st.sampled_from(["a.b-c.example.org", "127.0.0.1", "::1", "fe80::1:2", "my_broker"])


@given(HOSTS, st.integers(1, 65535), st.text(max_size=8), st.text(max_size=8), PLAIN)
def test_what_is_put_together_comes_apart_again(
    host: str, port: int, user: str, password: str, path: str
) -> None:
    place = f"[{host}]" if ":" in host else host
    text = f"amqps://{quote(user, safe='')}:{quote(password, safe='')}@{place}:{port}/{path}"
    uri = ConnectionUri.parse(text)
    assert uri == ConnectionUri("amqps", host, port, user, password, f"/{path}")
    assert uri.authority == f"{place}:{port}"
    assert uri.masked() == f"amqps://{user}:{MASK}@{place}:{port}/{path}"


@given(st.text(min_size=4, max_size=12), st.text("ab:/?@%", max_size=6))
def test_no_password_is_shown_whatever_else_is_wrong(password: str, end: str) -> None:
    secret = f"pw{quote(password, safe='')}"
    for text in (f"tcp://user:{secret}@h:1{end}", f"user:{secret}@{end}", f"//{secret}@h{end}"):
        assert secret not in masked(text)
        assert secret not in said_of(text)


def said_of(text: str) -> str:
    try:
        uri = ConnectionUri.parse(text)
    except UriInvalid as error:
        return f"{error} {error.as_dict()}"
    return f"{uri} {uri!r} {uri.masked()}"


@given(st.text(max_size=30) | st.text("tcp://[]@:1a%?#", max_size=30))
def test_any_text_is_a_uri_or_is_refused(text: str) -> None:
    try:
        uri = ConnectionUri.parse(text)
    except UriInvalid:
        return
    assert 0 < uri.port < 65536
    assert uri.host


@pytest.mark.parametrize(
    ("text", "user", "password"),
    [
        ("tcp://h:1", None, None),
        ("tcp://user@h:1", None, None),
        ("tcp://:p@h:1", "", "p"),
        ("tcp://u:@h:1", "u", ""),
        ("tcp://u:p:q@h:1", "u", "p:q"),
        ("tcp://u:a%252Bb@h:1", "u", "a%2Bb"),
        ("tcp://u:a+b@h:1", "u", "a+b"),
        ("tcp://u:%40%3A%2F@h:1", "u", "@:/"),
    ],
)
def test_user_and_password_are_split_first_and_decoded_once(
    text: str, user: str | None, password: str | None
) -> None:
    uri = ConnectionUri.parse(text)
    assert (uri.user, uri.password) == (user, password)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "scheme"),
        ("h:1", "scheme"),
        ("://h:1", "scheme"),
        ("tcp://h", "a port"),
        ("tcp://h:", "a port"),
        ("tcp://:1", "a host"),
        ("tcp://u:p@:1", "a host"),
        ("tcp://h:0", "1 to 65535"),
        ("tcp://h:65536", "1 to 65535"),
        ("tcp://h:-1", "1 to 65535"),
        ("tcp://h:1?x=y", "no query"),
        ("tcp://h:1/p?x", "no query"),
        ("tcp://h:1/#x", "fragment"),
        ("tcp://h h:1", "letters"),
        ("tcp://::1:1", "brackets"),
        ("tcp://[::1:1", r"\[address\]"),
        ("tcp://[::g]:1", "IPv6"),
        ("tcp://[::1]", "a port"),
        ("tcp://u:p@q@h:1", "percent-encoded"),
        ("tcp://u:%ff@h:1", "UTF-8"),
        ("tcp://u:%zz@h:1", "percent-encoded"),
        ("tcp://h:1/%zz", "two hex digits"),
        ("tcp://h:1/a b", "blanks"),
    ],
)
def test_what_is_no_uri_is_refused(text: str, words: str) -> None:
    with pytest.raises(UriInvalid, match=words) as caught:
        ConnectionUri.parse(text)
    assert caught.value.code == "connectivity:connection.uri.invalid"
