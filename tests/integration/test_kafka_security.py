"""Logins and certificates, against real brokers that ask for them."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import (
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from streamproc.errors import Misconfigured, RunnerError
from tests.brokers.kafka import Kafka
from tests.integration.kafka_bed import Bed, delivery, payloads, read
from tests.integration.receipts import DEADLINE_S, Receipts, until

CERTIFICATES = Path(__file__).parents[1] / "unit" / "connectors" / "http_push" / "certificates"
PASSWORD = "p@ss:word/ü"
QUOTED = "p%40ss%3Aword%2F%C3%BC"
MECHANISMS = ["plain", "scram-sha-256", "scram-sha-512"]
SCRAM = {
    "scram-sha-256": ScramMechanism.SCRAM_SHA_256,
    "scram-sha-512": ScramMechanism.SCRAM_SHA_512,
}


def pem(name: str) -> str:
    return (CERTIFICATES / f"{name}.pem").read_text()


def certificate(name: str) -> dict[str, str]:
    """A client's credentials: the files hold the key, then the certificate."""
    key, _, rest = pem(name).partition("-----BEGIN CERT")
    return {"type": "client-cert", "cert": "-----BEGIN CERT" + rest, "key": key}


def keystore(folder: Path, name: str) -> Path:
    """As Kafka wants it: the key in PKCS #8."""
    made = folder / f"{name}-keystore.pem"
    command = ["openssl", "pkcs8", "-topk8", "-nocrypt", "-in", str(CERTIFICATES / f"{name}.pem")]
    key = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    made.write_text(key + certificate(name)["cert"])
    return made


def listener(folder: Path, protocol: str) -> dict[str, Any]:
    """server.properties of a second listener with TLS that asks for a client certificate."""
    of = "listener.name.proxied"
    tls = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": keystore(folder, "server"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": CERTIFICATES / "ca.pem",
        "ssl.client.auth": "required",
    }
    protocols = f"PLAINTEXT:PLAINTEXT,PROXIED:{protocol},CONTROLLER:PLAINTEXT"
    return {
        "listener.security.protocol.map": protocols,
        **{f"{of}.{name}": value for name, value in tls.items()},
    }


def logins() -> dict[str, Any]:
    """server.properties for SASL on the second listener. Backslashes: it is a Java file."""
    of = "listener.name.proxied"
    package = "org.apache.kafka.common.security"
    password = PASSWORD.encode("ascii", "backslashreplace").decode().replace("\\xfc", "\\u00fc")
    plain = f'{package}.plain.PlainLoginModule required user_dev="{password}";'
    scram = f"{package}.scram.ScramLoginModule required;"
    return {
        f"{of}.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        f"{of}.plain.sasl.jaas.config": plain,
        f"{of}.scram-sha-256.sasl.jaas.config": scram,
        f"{of}.scram-sha-512.sasl.jaas.config": scram,
    }


def _running(folder: Path, properties: dict[str, Any]) -> Iterator[Kafka]:
    with Kafka(properties) as kafka:
        kafka.create_topic("t")
        yield kafka


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def guarded(request, folder) -> Iterator[Kafka]:
    """TLS with client certificates, and logins."""
    if Kafka.missing():
        request.getfixturevalue("kafka")  # decides whether that is a failure
        pytest.skip(Kafka.missing())
    for kafka in _running(folder, listener(folder, "SASL_SSL") | logins()):
        admin = kafka.admin()  # kept: its answers come only as long as it lives
        for mechanism in SCRAM.values():
            admin.alter_user_scram_credentials(
                [
                    UserScramCredentialUpsertion(
                        "dev", ScramCredentialInfo(mechanism, 4096), PASSWORD.encode()
                    )
                ]
            )["dev"].result(60)
        yield kafka


@pytest.fixture(scope="module")
def certified(request, folder) -> Iterator[Kafka]:
    """TLS with client certificates, and no logins."""
    if Kafka.missing():
        request.getfixturevalue("kafka")
        pytest.skip(Kafka.missing())
    yield from _running(folder, listener(folder, "SSL"))


@pytest.fixture(scope="module")
def open_door(request) -> Iterator[Kafka]:
    """Logins without TLS."""
    if Kafka.missing():
        request.getfixturevalue("kafka")
        pytest.skip(Kafka.missing())
    protocols = "PLAINTEXT:PLAINTEXT,PROXIED:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT"
    with Kafka({"listener.security.protocol.map": protocols} | logins()) as kafka:
        yield kafka


async def exchange(bed: Bed, *, options: dict[str, Any] | None = None) -> None:
    """A message goes out and comes in, both on links as *bed* makes them."""
    receipts = Receipts()
    target = await bed.target(receipts, options=options)
    source = await bed.source(options=options)
    target.write([delivery(bed.topic, b"hello")])
    await until(lambda: receipts.count)
    assert not receipts.bad
    assert b"hello" in payloads(await read(source, 1))


async def refused(bed: Bed, *, options: dict[str, Any] | None = None) -> list[RunnerError]:
    """What both ends raise."""
    ends = bed.make_source(options=options), bed.make_target(Receipts(), options=options)
    errors = []
    for end in ends:
        with pytest.raises(RunnerError) as caught:
            async with asyncio.timeout(DEADLINE_S):
                await end.open()
        errors.append(caught.value)
    return errors


def link(kafka: Kafka, topic: str, scheme: str, login: str = "", **more: Any) -> Bed:
    address = f"127.0.0.1:{kafka.proxied_port}"
    return Bed(kafka, topic, address, uri=f"{scheme}://{login}{address}", **more)


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_tls_client_certificate_and_login_together(guarded, fresh_name, mechanism):
    guarded.create_topic(fresh_name)
    tls = {"ca": pem("ca"), "credentials": certificate("client")}
    options = {"sasl_mechanism": mechanism}
    bed = link(guarded, fresh_name, "ssl", f"dev:{QUOTED}@", **tls)
    await exchange(bed, options=options)
    await bed.close()
    wrong = link(guarded, fresh_name, "ssl", "dev:wrong-one@", **tls)
    for error in await refused(wrong, options=options):
        assert isinstance(error, Misconfigured)
        assert "_AUTHENTICATION" in str(error)
        assert "wrong-one" not in str(error)


async def test_a_client_certificate_alone(certified, fresh_name):
    certified.create_topic(fresh_name)
    bed = link(certified, fresh_name, "ssl", ca=pem("ca"), credentials=certificate("client"))
    await exchange(bed)
    await bed.close()


@pytest.mark.parametrize(
    "given",
    [
        {"ca": pem("ca")},
        {"ca": pem("other-ca"), "credentials": certificate("client")},
        {"ca": "no certificate", "credentials": certificate("client")},
        {"ca": pem("ca"), "credentials": {"type": "client-cert", "cert": "x", "key": "y"}},
    ],
    ids=["no certificate", "unknown authority", "ca is no pem", "certificate is no pem"],
)
async def test_a_link_without_the_right_certificates_needs_a_person(certified, fresh_name, given):
    for error in await refused(link(certified, fresh_name, "ssl", **given)):
        assert isinstance(error, Misconfigured), error


async def test_the_name_in_the_certificate_counts_unless_told_otherwise(
    real_kafka, folder, fresh_name
):
    given = listener(folder, "SSL") | {
        "listener.name.proxied.ssl.keystore.location": keystore(folder, "wrong-host"),
    }
    with real_kafka(given) as kafka:
        kafka.create_topic(fresh_name)
        tls = {"ca": pem("ca"), "credentials": certificate("client")}
        for error in await refused(link(kafka, fresh_name, "ssl", **tls)):
            assert isinstance(error, Misconfigured), error
        lax = link(kafka, fresh_name, "ssl", **tls, validate_certificates=False)
        await exchange(lax)
        await lax.close()


@pytest.mark.parametrize("mechanism", ["plain"])
async def test_a_login_without_tls(open_door, fresh_name, mechanism):
    open_door.create_topic(fresh_name)
    options = {"sasl_mechanism": mechanism}
    bed = link(open_door, fresh_name, "tcp", f"dev:{QUOTED}@")
    await exchange(bed, options=options)
    await bed.close()
    for error in await refused(link(open_door, fresh_name, "tcp", "dev:wrong-one@")):
        assert isinstance(error, Misconfigured)
        assert "wrong-one" not in str(error)
