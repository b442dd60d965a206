"""The op ``http``: addresses, requests and omitted bodies, for people and the corpus."""

from __future__ import annotations

from typing import Any

import pytest

from streamproc.errors import ConfigError, DeliveryRefused, StreamprocError
from streamproc.evaluate.http import http


@pytest.mark.parametrize(
    "address",
    ["POST:/x", "PUT:a:b:c", "DELETE:", "PATCH:/{{ thing:name | fn:upper() }}?x={{ header:y }}"],
)
def test_addresses(address: str) -> None:
    assert http({"kind": "validate", "address": address}) == "valid"


@pytest.mark.parametrize(
    "address", ["", "x", "/x", "HEAD:/x", "post:/x", "{{ header:verb }}:/x", "POST:/{{ nope:x }}"]
)
def test_no_addresses(address: str) -> None:
    assert set(http({"kind": "validate", "address": address})) == {"invalid"}


def request(uri: str, address: str, **headers: str) -> Any:
    return http(
        {
            "kind": "requestUri",
            "connectionUri": uri,
            "address": address,
            "headers": {name.replace("_", "."): value for name, value in headers.items()},
        }
    )


def test_requests() -> None:
    assert request("https://u:p%40@h/base/", "PATCH:x?y#z") == {
        "method": "PATCH",
        "host": "h",
        "port": 443,
        "path": "/base/x",
        "query": "y",
        "basicAuth": ["u", "p@"],
    }
    found = request("http://h:81", "POST:/x?y", HTTP_PATH="n", http_query="")
    assert (found["path"], found["query"]) == ("/n", "")
    assert "query" not in request("http://h", "POST:/x")
    with pytest.raises(DeliveryRefused):
        request("http://h", "POST:/x", http_path="a\r\nb")
    with pytest.raises(ConfigError):
        request("ftp://h", "POST:/x")


@pytest.mark.parametrize(
    ("omitted", "expected"),
    [
        (None, {"GET", "DELETE"}),
        ("", set()),
        ("POST, PUT", {"POST", "PUT"}),
        (["PATCH"], {"PATCH"}),
    ],
)
def test_omitted_bodies(omitted: Any, expected: set[str]) -> None:
    config = {} if omitted is None else {"omitRequestBody": omitted}
    methods = ["GET", "PUT", "POST", "PATCH", "DELETE"]
    case = {"kind": "omitBody", "specificConfig": config}
    assert {method for method in methods if http({**case, "method": method})} == expected


def test_a_kind_nobody_knows() -> None:
    with pytest.raises(StreamprocError, match="requestUri"):
        http({"kind": "guess"})
