"""Requests say what the delivery says, and nothing of a delivery can say more."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from streamproc.config.connection import Connection
from streamproc.connectors.http_push.endpoint import Endpoint
from streamproc.connectors.http_push.request import OUR_OWN, Requests
from streamproc.errors import ConfigError, DeliveryRefused
from streamproc.kernels.delivery import Delivery


class Parsed:
    """Requests in *data*, as another parser sees them."""

    def __init__(self, data: bytes) -> None:
        self.headers: list[tuple[str, str]] = []
        self.target = b""
        self.body = b""
        self.count = 0
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(data)
        self.method = self._parser.get_method().decode()

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode().lower(), value.decode()))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.count += 1

    def all(self, name: str) -> list[str]:
        return [value for found, value in self.headers if found == name]


def requests(uri: str = "http://user:pa%20ss@h:8080/base/", omit: str = "GET,DELETE") -> Requests:
    endpoint = Endpoint(Connection(id="c", connection_type="http-push", uri=uri))
    return Requests(endpoint, frozenset(omit.split(",")) - {""})


def rendered(made: Requests, address: str, headers: dict[str, str], payload: bytes) -> Parsed:
    request = made.render(Delivery(0, "k", address, headers, payload))
    parsed = Parsed(b"".join(request) if isinstance(request, tuple) else request)
    assert parsed.count == 1
    return parsed


def test_a_request_has_all_that_it_needs() -> None:
    made = requests()
    for _ in range(2):  # the second time, much of it is known
        parsed = rendered(
            made,
            "POST:things?x=1",
            {"content-type": "a/b", "x-n": "v w", "x-u": "1"},
            b"hi",
        )
        assert (parsed.method, parsed.target) == ("POST", b"/base/things?x=1")
        assert parsed.all("host") == ["h:8080"]
        assert parsed.all("authorization") == ["Basic dXNlcjpwYSBzcw=="]
        assert parsed.all("content-type") == ["a/b"]
        assert parsed.all("x-n") == ["v w"]
        assert parsed.all("content-length") == ["2"]
        assert parsed.all("user-agent")[0].startswith("streamproc/")
        assert parsed.body == b"hi"


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("http://h", "h"),
        ("http://h:80", "h"),
        ("https://h:443/x", "h"),
        ("https://h:80", "h:80"),
        ("http://[::1]:81", "[::1]:81"),
        ("http://exämple.org:81", "xn--exmple-cua.org:81"),
    ],
)
def test_the_host_header_names_the_port_where_it_is_not_the_schemes(uri: str, host: str) -> None:
    made = requests(uri)
    for _ in range(3):
        assert rendered(made, "POST:/", {"content-type": "a/b"}, b"").all("host") == [host]


def test_a_host_that_is_no_name_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="is no host name"):
        requests("http://" + "ä" * 70)


@pytest.mark.parametrize(
    ("user_info", "expected"),
    [("", []), ("user@", []), ("user:@", ["Basic dXNlcjo="]), (":@", ["Basic Og=="])],
)
def test_basic_authentication_needs_a_colon(user_info: str, expected: list[str]) -> None:
    made = requests(f"http://{user_info}h")
    assert rendered(made, "POST:/", {}, b"").all("authorization") == expected


def test_headers_of_a_message_replace_our_own_but_not_the_framing() -> None:
    theirs = {"Authorization": "Bearer t", "user-agent": "mine", "x-other": "1"}
    theirs |= {name.title(): "7" for name in OUR_OWN}
    made = requests()
    for _ in range(2):
        parsed = rendered(made, "POST:/", theirs, b"abc")
        assert parsed.all("authorization") == ["Bearer t"]
        assert parsed.all("user-agent") == ["mine"]
        assert parsed.all("host") == ["h:8080"]
        assert parsed.all("content-length") == ["3"]
        assert parsed.all("x-other") == ["1"]
        assert not set(OUR_OWN) - {"host", "content-length"} & {name for name, _ in parsed.headers}


def test_a_name_written_in_two_ways_goes_out_once() -> None:
    made = requests()
    for headers in (
        {"X-A": "1"},
        {"x-a": "1"},
        {"X-A": "1"},
        {"x-a": "2", "X-A": "1"},
        {"X-A": "2", "x-a": "1"},
    ):
        for _ in range(2):
            parsed = rendered(made, "POST:x", {"content-type": "a/b", **headers}, b"")
            assert parsed.all("x-a") == ["1"]


def test_names_are_known_again_whatever_came_first() -> None:
    made = requests()
    usual = {"content-type": "a/b", "x-a": "1"}
    for headers in ({}, {"Content-Type": "a/b", "X-A": "1"}, usual):
        rendered(made, "POST:x", headers, b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made, "_render_with_care", None)
        rendered(made, "POST:x", usual, b"")


def test_path_and_query_headers_are_not_sent() -> None:
    made = requests()
    for headers, target in (
        ({"http.path": "new", "HTTP.Query": "a=b"}, b"/new?a=b"),
        ({"content-type": "a/b"}, b"/base/x"),
        ({"content-type": "a/b", "http.query": "q"}, b"/base/x?q"),
        ({"content-type": "a/b"}, b"/base/x"),
    ):
        parsed = rendered(made, "POST:x", headers, b"")
        assert parsed.target == target
        assert not [name for name, _ in parsed.headers if name.startswith("http.")]


def test_a_body_can_be_left_out() -> None:
    made = requests(omit="GET,DELETE,POST")
    for address, lengths in (("GET:/", []), ("DELETE:/", []), ("POST:/", ["0"]), ("PUT:/", ["3"])):
        parsed = rendered(made, address, {"Content-Type": "a/b"}, b"abc")
        assert parsed.body == (b"abc" if address == "PUT:/" else b"")
        assert parsed.all("content-length") == lengths
        assert parsed.all("content-type") == (["a/b"] if address == "PUT:/" else [])
    assert rendered(requests(omit=""), "GET:/", {}, b"abc").body == b"abc"


def test_without_content_type_a_body_is_bytes() -> None:
    parsed = rendered(requests(), "POST:/", {}, b"abc")
    assert parsed.all("content-type") == ["application/octet-stream"]


def test_a_large_payload_is_not_copied() -> None:
    payload = b"x" * 100_000
    made = requests()
    for _ in range(2):
        request = made.render(Delivery(0, "k", "POST:/", {"content-type": "a/b"}, payload))
        assert isinstance(request, tuple)
        assert request[1] is payload
        assert Parsed(b"".join(request)).body == payload


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("bad", ["\r", "\n", "\0", "\r\nx-evil: 1", "\x1f", "\x7f", "\ud800"])
def test_a_value_cannot_end_its_line(bad: str, warm: bool) -> None:
    made = requests()
    if warm:
        rendered(made, "POST:/", {"content-type": "a/b", "x-n": "good"}, b"")
    for headers in (
        {"content-type": "a/b", "x-n": f"v{bad}"},
        {"content-type": f"a/b{bad}"},
        {"content-type": "a/b", f"x-n{bad}": "v"},
        {"content-type": "a/b", "http.path": f"/a{bad}"},
        {"content-type": "a/b", "http.query": f"a{bad}"},
    ):
        with pytest.raises(DeliveryRefused):
            made.render(Delivery(0, "k", "POST:/", headers, b""))
    with pytest.raises(DeliveryRefused):
        made.render(Delivery(0, "k", f"POST:/{bad}", {}, b""))


@pytest.mark.parametrize("name", ["", "a b", "a:", "ä", "a\t", "(a)"])
def test_a_name_is_a_token(name: str) -> None:
    with pytest.raises(DeliveryRefused):
        requests().render(Delivery(0, "k", "POST:/", {name: "v"}, b""))


def test_heads_are_bounded() -> None:
    made = requests()
    for headers in (
        {"content-type": "a/b", "x": "v" * 16_385},
        {"content-type": "a/b"} | {f"x-{n}": "v" * 16_000 for n in range(5)},
    ):
        for _ in range(2):
            with pytest.raises(DeliveryRefused):
                made.render(Delivery(0, "k", "POST:/", headers, b""))
    most = {"content-type": "a/b", "x": "v" * 16_384}
    for _ in range(2):
        assert rendered(made, "POST:/", most, b"").all("x") == ["v" * 16_384]


@pytest.mark.parametrize("address", ["HEAD:/x", "x", "", "TRACE:/"])
def test_an_address_that_became_wrong_is_refused(address: str) -> None:
    with pytest.raises(DeliveryRefused):
        requests().render(Delivery(0, "k", address, {}, b""))


@pytest.mark.parametrize(
    "uri", ["ftp://h", "http://", "http:///x", "http://h?q=1", "http://h/#f", "h:80"]
)
def test_a_uri_that_cannot_work_is_told_at_start(uri: str) -> None:
    with pytest.raises(ConfigError):
        requests(uri)


ORDINARY = ["content-type", "Content-Type", "x-a", "X-A", "X-B"]
SPECIAL = ["host", "http.path", "http.query", "content-length", "transfer-encoding"]
names = st.sampled_from([*ORDINARY, *SPECIAL, "authorization", "connection", "x:y"])
values = st.text(max_size=12) | st.sampled_from(["", "v", "chunked", "a\r\nb: c", "ü", "\t"])
deliveries = st.lists(
    st.tuples(
        st.builds(
            "{}:{}".format,
            st.sampled_from(["POST", "POST", "PUT", "GET", "DELETE", "PATCH", "HEAD"]),
            st.sampled_from(["/a", "/b?x=1", "", "a b"]) | st.text(max_size=8),
        ),
        st.dictionaries(names, values, max_size=4),
        st.binary(max_size=20),
    ),
    min_size=1,
    max_size=6,
)


@given(deliveries)
def test_whatever_comes_becomes_one_request_of_ours_or_none(
    history: list[tuple[str, dict[str, str], bytes]],
) -> None:
    """The same rules hold for the first delivery and for those that find things known."""
    made = requests()
    for address, headers, payload in history:
        outcomes = []
        for renderer in (made, requests()):
            try:
                outcomes.append(rendered(renderer, address, headers, payload))
            except DeliveryRefused:
                outcomes.append(None)
        warm, cold = outcomes
        event("refused" if cold is None else "sent")
        if warm is None or cold is None:
            assert warm is cold
            continue
        assert (warm.method, warm.target, warm.body) == (cold.method, cold.target, cold.body)
        assert sorted(warm.headers) == sorted(cold.headers)
        assert warm.method == address.partition(":")[0]
        assert warm.all("host") == ["h:8080"]
        assert warm.body == (b"" if warm.method in ("GET", "DELETE") else payload)
        allowed = {name.lower() for name in headers} - OUR_OWN
        ours = {"host", "user-agent", "authorization", "content-length", "content-type"}
        assert {name for name, _ in warm.headers} <= allowed | ours
