"""``hmac``: what signing adds to a request, or one step on the way there (spec: Ditto 10.4)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from streamproc.connectors.http_push.auth import aws4
from streamproc.connectors.http_push.auth.azure import az_sasl_plain
from streamproc.connectors.http_push.auth.hmac import hmac_signer
from streamproc.connectors.http_push.auth.signing import Parameters, Signable
from streamproc.evaluate.context import bad_case, text

Case = dict[str, Any]


def hmac(case: Case) -> Any:
    """``{"headers": ...}``; user and password for AMQP 1.0; a text for a ``component``."""
    if "component" in case:
        component = COMPONENTS.get(str(case["component"]))
        if component is None:
            raise bad_case(f"component must be one of {', '.join(COMPONENTS)}")
        return component(_mapping(case.get("input"), "input"))
    now = _moment(case.get("timestamp"))
    parameters = case.get("parameters")
    if case.get("connectionType") == "amqp-10":
        if case.get("algorithm") != "az-sasl":
            raise bad_case("amqp-10 signs with az-sasl alone")
        username, password = az_sasl_plain(_mapping(parameters, "parameters"), now)
        return {"username": username, "password": password}
    sign = hmac_signer(case.get("algorithm"), parameters)
    headers = sign(_request(case.get("request")), now)
    return {"headers": {name.lower(): value for name, value in headers}}


def _canonical_query(given: Case) -> str:
    return aws4.canonical_query(text(given.get("query"), "query"))


def _canonical_uri(given: Case) -> str:
    double = given.get("doubleEncode", True)
    return aws4.canonical_uri(text(given.get("path"), "path"), bool(double))


def _canonical_headers(given: Case) -> str:
    read = Parameters(given)
    hashed = read.word("xAmzContentSha256", "EXCLUDED", aws4.HASHES)
    names = aws4.signed_names(read.texts("canonicalHeaders", ["host"]), hashed)
    request = _request(given.get("request"))
    date = _moment(given.get("timestamp")).strftime("%Y%m%dT%H%M%SZ")
    payload = aws4.payload_hash(request.body, hashed)
    return aws4.canonical_headers(names, request, date, payload)


def _signing_key(given: Case) -> str:
    step = given.get("step", aws4.STEPS[-1])
    if step not in aws4.STEPS:
        raise bad_case(f"step must be one of {', '.join(aws4.STEPS)}")
    secret, day = text(given.get("secretKey"), "secretKey"), text(given.get("date"), "date")
    region, service = text(given.get("region"), "region"), text(given.get("service"), "service")
    return aws4.signing_key(secret, day, region, service, step).hex()


COMPONENTS: Final[dict[str, Callable[[Case], str]]] = {
    "canonicalQuery": _canonical_query,
    "canonicalUri": _canonical_uri,
    "canonicalHeaders": _canonical_headers,
    "signingKey": _signing_key,
}


def _request(value: object) -> Signable:
    """A request as Ditto's HTTP library holds it: its content type in one spelling."""
    given = _mapping(value, "request")
    uri = urlsplit(text(given.get("uri"), "uri"))
    kind = given.get("contentType")
    if kind is not None:
        kind = "; ".join(part.strip() for part in text(kind, "contentType").split(";"))
    return Signable(
        method=text(given.get("method"), "method"),
        host=uri.hostname or "",
        path=uri.path,
        query=uri.query,
        headers=[_header(each) for each in given.get("headers") or ()],
        content_type=kind,
        body=text(given.get("body", ""), "body").encode(),
    )


def _header(value: object) -> tuple[str, str]:
    if not isinstance(value, list) or len(value) != 2:
        raise bad_case("headers must be pairs of name and value")
    return text(value[0], "headers"), text(value[1], "headers")


def _moment(value: object) -> datetime:
    if value is None:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(text(value, "timestamp"))
    except ValueError:
        raise bad_case("timestamp must be an ISO-8601 instant") from None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _mapping(value: object, name: str) -> Case:
    if not isinstance(value, dict):
        raise bad_case(f"{name} must be a JSON object")
    return value
