"""Signed pushes over mutual TLS: a secret changes while the service runs, and is seen nowhere."""

from __future__ import annotations

import asyncio
import base64
import hmac
import signal
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.brokers.ports import Port
from tests.conformance.far_http import NO_CONTENT, Request, Server
from tests.e2e import ends
from tests.e2e.play import NAMESPACE
from tests.e2e.service import Service
from tests.unit.config.keys import CERTIFICATE, KEY

PEM = Path(__file__).parents[1] / "unit/connectors/http_push/certificates"
OLD, NEW = (base64.b64encode(letter * 32).decode() for letter in (b"o", b"n"))


class Signed:
    """Which of the two secrets each request was signed with."""

    def __init__(self) -> None:
        self.seen = {"old": 0, "new": 0, "neither": 0}
        self.names: set[str] = set()
        self.clients: set[str] = set()

    def answer(self, request: Request) -> bytes:
        headers = request.headers
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + request.body
        given = headers["webhook-signature"].split(" ")
        found = [
            name
            for name, secret in (("old", OLD), ("new", NEW))
            if f"v1,{signature(secret, signed)}" in given
        ]
        for name in found or ["neither"]:
            self.seen[name] += 1
        self.names.add(headers["webhook-id"])
        return NO_CONTENT


def signature(secret: str, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(base64.b64decode(secret), signed, "sha256")).decode()


@contextmanager
def serving(signed: Signed) -> Iterator[str]:
    """An endpoint in a thread of its own, which asks for a certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(PEM / "server.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=CERTIFICATE)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    loop = asyncio.new_event_loop()
    server = Server(signed.answer)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        port = asyncio.run_coroutine_threadsafe(server.start(context), loop).result(60)
        yield f"https://localhost:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()


def config(url: str) -> dict[str, Any]:
    hook = ends.push("hook", url)
    hook["ca"] = "${file:ca.pem}"
    hook["credentials"] = {
        "type": "client-cert",
        "cert": "${file:cert.pem}",
        "key": "${file:key.pem}",
    }
    hook["specificConfig"] = {"parallelism": "4", "webhookSecrets": "${file:secret}"}
    return {
        "workers": 1,
        **ends.policies(),
        "connections": [
            {
                "id": "devices",
                "connectionType": "generator",
                "specificConfig": {"namespace": NAMESPACE, "devices": 20, "rate": 100},
                "sources": [{"addresses": ["d"], "authorizationContext": ["e2e:devices"]}],
            },
            hook,
        ],
    }


def test_a_secret_changes_while_the_service_runs(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text((PEM / "ca.pem").read_text())
    (tmp_path / "key.pem").write_text(KEY)
    (tmp_path / "cert.pem").write_text(CERTIFICATE)
    secret = tmp_path / "secret"
    secret.write_text(f"whsec_{OLD}")
    signed = Signed()
    with serving(signed) as url, Service(tmp_path, config(url)) as service:
        service.start()
        service.eventually(lambda: signed.seen["old"] > 20, "signed with the first secret")
        assert signed.seen["new"] == 0
        secret.write_text(f"whsec_{OLD},whsec_{NEW}")
        service.signal(signal.SIGHUP)
        service.eventually(lambda: signed.seen["new"] > 20, "signed with both")
        secret.write_text(f"whsec_{NEW}")
        service.signal(signal.SIGHUP)
        before = signed.seen["old"]
        service.eventually(
            lambda: signed.seen["new"] - signed.seen["old"] + before > 50, "with the second alone"
        )
        settled = signed.seen["old"]
        count = signed.seen["new"]
        service.eventually(lambda: signed.seen["new"] > count + 20, "and so on")
        assert signed.seen["old"] == settled
        assert signed.seen["neither"] == 0
        said = service.log.read_text() + service.get("/status").decode()
        said += service.get("/metrics").decode()
        assert service.terminate() == 0
    said += service.log.read_text()
    for each in (OLD, NEW, KEY.splitlines()[1]):
        assert each not in said
    assert len(signed.names) >= signed.seen["new"]


def test_the_settings_of_the_service_reach_its_connections(tmp_path: Path) -> None:
    """A proxy that nobody runs: the link says so, and nothing goes around it."""
    signed = Signed()
    port = Port()
    with serving(signed) as url:
        made = config(url)
        made["connections"][1] = ends.push("hook", url)
        made["httpProxy"] = {
            "host": "127.0.0.1",
            "port": int(port),
            "username": "me",
            "password": "pr0xy-pass",
        }
        with Service(tmp_path, made) as service:
            service.launch()

            def said() -> str:
                clients = service.status()["clients"]
                return str([each["links"] for each in clients if each["connection"] == "hook"])

            service.eventually(lambda: f"proxy 127.0.0.1:{int(port)}" in said(), "refused")
            assert "pr0xy-pass" not in service.log.read_text() + said()
    assert not any(signed.seen.values())
