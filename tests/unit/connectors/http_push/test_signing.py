"""Signed requests: what the signer saw is what stands on the wire, and secrets stand nowhere."""

from __future__ import annotations

import base64
import hashlib
import hmac as digests
from datetime import UTC, datetime
from typing import Any

import httptools
import pytest

from streamproc.config.connection import Connection
from streamproc.connectors.http_push.auth.hmac import ALGORITHMS, hmac_signer
from streamproc.connectors.http_push.auth.identity import message_id
from streamproc.connectors.http_push.auth.signers import signers_of
from streamproc.connectors.http_push.auth.signing import (
    ParameterInvalid,
    Parameters,
    Signable,
)
from streamproc.connectors.http_push.auth.webhook import secrets_in, webhook_signer
from streamproc.connectors.http_push.config import HttpPushOptions
from streamproc.connectors.http_push.endpoint import Endpoint
from streamproc.connectors.http_push.request import Requests
from streamproc.errors import ConfigError, DeliveryRefused
from streamproc.kernels.delivery import Delivery
from streamproc.kernels.lanes import Lanes

AWS = {
    "region": "eu-central-1",
    "service": "sns",
    "accessKey": "AKIDEXAMPLE",
    "secretKey": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
}
KEY = base64.b64encode(b"k" * 32).decode()
OTHER = base64.b64encode(b"o" * 32).decode()


class Parsed:
    """A request as another parser sees it."""

    def __init__(self, data: bytes) -> None:
        self.headers: dict[str, list[str]] = {}
        self.target = b""
        self.body = b""
        parser = httptools.HttpRequestParser(self)
        parser.feed_data(data)
        self.method = parser.get_method().decode()

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.setdefault(name.decode().lower(), []).append(value.decode())

    def on_body(self, body: bytes) -> None:
        self.body += body


def requests(
    credentials: dict[str, Any] | None = None,
    uri: str = "https://h.example:8443/base",
    **options: Any,
) -> Requests:
    connection = Connection(id="c", connection_type="http-push", uri=uri, credentials=credentials)
    signers = signers_of(connection, HttpPushOptions(**options))
    return Requests(Endpoint(connection), frozenset({"GET"}), signers)


def rendered(made: Requests, delivery: Delivery) -> Parsed:
    request = made.render(delivery)
    return Parsed(b"".join(request) if isinstance(request, tuple) else request)


def push(payload: bytes = b"hello", **headers: str) -> Delivery:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Delivery(0, "k", "POST:/a b?x=1 2", {"content-type": "a/b; charset=x", **named}, payload)


def test_a_monitor_signature_is_over_what_is_sent() -> None:
    parameters = {"workspaceId": "w", "sharedKey": KEY}
    credentials = {
        "type": "hmac",
        "algorithm": "az-monitor-2016-04-01",
        "parameters": parameters,
    }
    made = requests(credentials)
    for payload in (b"", b"hello", b"x" * 100_000):
        parsed = rendered(made, push(payload))
        (date,) = parsed.headers["x-ms-date"]
        (kind,) = parsed.headers["content-type"]
        path = parsed.target.decode().partition("?")[0]
        text = f"POST\n{len(parsed.body)}\n{kind}\nx-ms-date:{date}\n{path}"
        wanted = base64.b64encode(digests.digest(b"k" * 32, text.encode(), "sha256")).decode()
        assert parsed.headers["authorization"] == [f"SharedKey w:{wanted}"]
        assert parsed.body == payload


def test_an_aws_signature_is_over_what_is_sent() -> None:
    """Computed again, from the wire, the long way round."""
    parameters = {**AWS, "doubleEncode": False, "xAmzContentSha256": "INCLUDED"}
    parameters["canonicalHeaders"] = ["host", "x-amz-date", "content-type", "x-n"]
    made = requests(
        {"type": "hmac", "algorithm": "aws4-hmac-sha256", "parameters": parameters},
        uri="https://h.example/base",
    )
    parsed = rendered(made, push(b"hello", x_n="a   b"))
    (date,), (authorization,) = parsed.headers["x-amz-date"], parsed.headers["authorization"]
    body = hashlib.sha256(parsed.body).hexdigest()
    assert parsed.headers["x-amz-content-sha256"] == [body]
    headers = "".join(
        f"{name}:{' '.join(parsed.headers[name][0].split())}\n"
        for name in ("content-type", "host", "x-amz-content-sha256", "x-amz-date", "x-n")
    )
    names = "content-type;host;x-amz-content-sha256;x-amz-date;x-n"
    path, _, query = parsed.target.decode().partition("?")
    canonical = f"POST\n{path}\n{query}\n{headers}\n{names}\n{body}"
    scope = f"{date[:8]}/eu-central-1/sns/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = ("AWS4" + AWS["secretKey"]).encode()
    for part in scope.split("/"):
        key = digests.new(key, part.encode(), "sha256").digest()
    signature = digests.new(key, text.encode(), "sha256").hexdigest()
    assert authorization == (
        f"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope}, SignedHeaders={names}, "
        f"Signature={signature}"
    )


def test_what_a_message_says_of_signatures_is_replaced() -> None:
    made = requests({"type": "hmac", "algorithm": "aws4-hmac-sha256", "parameters": AWS})
    parsed = rendered(made, push(Authorization="mine", x_amz_date="mine"))
    assert len(parsed.headers["authorization"]) == len(parsed.headers["x-amz-date"]) == 1
    assert parsed.headers["authorization"][0].startswith("AWS4-HMAC-SHA256 ")
    assert parsed.headers["x-amz-date"] != ["mine"]


def test_a_request_that_cannot_be_sent_is_not_signed() -> None:
    made = requests({"type": "hmac", "algorithm": "aws4-hmac-sha256", "parameters": AWS})
    for bad in ("a\r\nb", "\ud800", "\x00"):
        with pytest.raises(DeliveryRefused):
            made.render(push(x_n=bad))


def test_the_key_follows_the_day() -> None:
    sign = hmac_signer("aws4-hmac-sha256", AWS)
    request = Signable("GET", "h", "/", None, [], None, b"")
    days = [datetime(2024, 1, day, 23, tzinfo=UTC) for day in (1, 2, 1)]
    first, second, again = (dict(sign(request, day))["Authorization"] for day in days)
    assert first == again != second
    assert dict(hmac_signer("aws4-hmac-sha256", AWS)(request, days[1]))["Authorization"] == second


def webhook(parsed: Parsed, key: bytes) -> str:
    name, stamp = parsed.headers["webhook-id"][0], parsed.headers["webhook-timestamp"][0]
    signed = f"{name}.{stamp}.".encode() + parsed.body
    return "v1," + base64.b64encode(digests.digest(key, signed, "sha256")).decode()


def test_a_webhook_is_signed_with_each_secret() -> None:
    made = requests(webhook_secrets=f"whsec_{KEY}, {OTHER}")
    parsed = rendered(made, push())
    (signatures,) = parsed.headers["webhook-signature"]
    assert signatures.split(" ") == [webhook(parsed, b"k" * 32), webhook(parsed, b"o" * 32)]
    stamp = int(parsed.headers["webhook-timestamp"][0])
    assert abs(stamp - datetime.now(UTC).timestamp()) < 60


def test_a_webhook_keeps_the_name_that_the_message_brings() -> None:
    made = requests(webhook_secrets=[f"whsec_{KEY}"])
    parsed = rendered(made, push(Webhook_Id="mine"))
    assert parsed.headers["webhook-id"] == ["mine"]
    assert parsed.headers["webhook-signature"] == [webhook(parsed, b"k" * 32)]


def test_both_signatures_stand_together() -> None:
    hmac = {"type": "hmac", "algorithm": "aws4-hmac-sha256", "parameters": AWS}
    parsed = rendered(requests(hmac, webhook_secrets=KEY), push())
    assert parsed.headers.keys() >= {"authorization", "x-amz-date", "webhook-signature"}


def test_a_delivery_keeps_its_name_and_shares_it_with_none() -> None:
    lanes = Lanes(64, 64)
    deliveries = [Delivery(0, "k", "POST:/", {}, b"same") for _ in range(64)]
    lanes.offer(deliveries, 123.5)
    names = [message_id(each) for each in deliveries]
    assert len(set(names)) == 64
    assert [message_id(each) for each in deliveries] == names
    nowhere = Delivery(0, "k", "POST:/", {}, b"same")  # in no lane yet
    assert message_id(nowhere) != message_id(nowhere)


@pytest.mark.parametrize("secrets", ["nonsense!", "whsec_" + "QQ==", "A" * 200, "a,a,a,a,a"])
def test_webhook_secrets_that_are_none_are_told_and_not_shown(secrets: str) -> None:
    with pytest.raises(ConfigError) as told:
        webhook_signer(secrets_in(secrets))
    assert not any(part in str(told.value) for part in secrets.split(",") if len(part) > 3)


@pytest.mark.parametrize(
    ("algorithm", "parameters", "code"),
    [
        ("aws4-hmac-sha256", {"region": "r"}, "json.field.missing"),
        ("aws4-hmac-sha256", AWS | {"region": 1}, "json.invalid"),
        ("aws4-hmac-sha256", AWS | {"doubleEncode": "true"}, "json.invalid"),
        ("aws4-hmac-sha256", AWS | {"canonicalHeaders": "host"}, "json.invalid"),
        ("aws4-hmac-sha256", AWS | {"xAmzContentSha256": "x"}, "json.invalid"),
        ("az-monitor-2016-04-01", {"workspaceId": "w", "sharedKey": "*secret*"}, "connectivity"),
        ("az-sasl", {"sharedKeyName": "n", "sharedKey": KEY}, "json.field.missing"),
        ("az-sasl", {"sharedKeyName": "n", "sharedKey": KEY, "endpoint": "e", "ttl": "x"}, "conn"),
        ("az-sasl", None, "json.field.missing"),
    ],
)
def test_parameters_that_cannot_be_used(algorithm: str, parameters: Any, code: str) -> None:
    with pytest.raises(ParameterInvalid) as told:
        hmac_signer(algorithm, parameters)
    assert told.value.code.startswith(code)
    assert "secret*" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("", b""),
        ("QQ", b"A"),
        ("QQ==", b"A"),
        ("QUI", b"AB"),
        ("QUI=", b"AB"),
        ("QUJD", b"ABC"),
        ("QR", b"A"),
        ("QQ=", None),
        ("QUJD=", None),
        ("Q", None),
        ("QQ==QQ", None),
        ("Q_==", None),
        ("QU JD", None),
        ("QUJD\n", None),
    ],
)
def test_base64_as_java_reads_it(text: str, key: bytes | None) -> None:
    given = Parameters({"k": text})
    if key is None:
        with pytest.raises(ParameterInvalid, match="base64"):
            given.key("k")
    else:
        assert given.key("k") == key


def test_every_algorithm_of_ditto_is_there() -> None:
    assert set(ALGORITHMS) == {"aws4-hmac-sha256", "az-monitor-2016-04-01", "az-sasl"}
    with pytest.raises(ConfigError, match="has the algorithms"):
        hmac_signer("none", {})
