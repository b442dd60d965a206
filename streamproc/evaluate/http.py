"""``http``: what an HTTP push target would request, and whether its address is one."""

from __future__ import annotations

from typing import Any

from streamproc.config.connection import Connection
from streamproc.connectors.http_push.address import (
    PATH_HEADER,
    QUERY_HEADER,
    on_the_wire,
    request_target,
    split,
)
from streamproc.connectors.http_push.config import HttpPushOptions
from streamproc.connectors.http_push.endpoint import Endpoint
from streamproc.connectors.http_push.target import bodiless
from streamproc.errors import StreamprocError
from streamproc.evaluate.connection import findings


def http(case: dict[str, Any]) -> Any:
    """The answer to one case; see ``kind``."""
    kind = case.get("kind")
    if kind not in _KINDS:
        raise StreamprocError(f"expected the kind {', '.join(_KINDS)}, found {kind!r}")
    return _KINDS[kind](case)


def _validate(case: dict[str, Any]) -> Any:
    """As ``lint`` judges the address of a target in a connection that is otherwise right."""
    found = findings(
        {
            "id": "http",
            "connectionType": "http-push",
            "connectionStatus": "open",
            "uri": "http://localhost:80",
            "targets": [
                {
                    "address": case.get("address"),
                    "topics": ["_/_/things/twin/events"],
                    "authorizationContext": ["test:subject"],
                }
            ],
        }
    )
    return {"invalid": found[0].message} if found else "valid"


def _parse(case: dict[str, Any]) -> Any:
    method, path = split(str(case.get("address", "")))
    return {"method": method, "path": path}


def _request_uri(case: dict[str, Any]) -> Any:
    uri = str(case.get("connectionUri", ""))
    endpoint = Endpoint(Connection(id="http", connection_type="http-push", uri=uri))
    headers = {str(name).lower(): str(value) for name, value in (case.get("headers") or {}).items()}
    method, path = split(str(case.get("address", "")))
    target = on_the_wire(
        *request_target(
            endpoint.base,
            path,
            new_path=headers.get(PATH_HEADER),
            new_query=headers.get(QUERY_HEADER),
        )
    )
    path, mark, query = target.partition("?")
    answer = {"method": method, "host": endpoint.host, "port": endpoint.port, "path": path}
    if mark:
        answer["query"] = query
    if endpoint.basic is not None:
        answer["basicAuth"] = list(endpoint.basic)
    return answer


def _omit_body(case: dict[str, Any]) -> Any:
    options = case.get("specificConfig") or {}
    default = HttpPushOptions().omit_request_body
    return case.get("method") in bodiless(options.get("omitRequestBody", default))


_KINDS = {
    "validate": _validate,
    "parse": _parse,
    "requestUri": _request_uri,
    "omitBody": _omit_body,
}
