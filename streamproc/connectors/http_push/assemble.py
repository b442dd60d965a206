"""Puts a connection's endpoint, requests and credentials together to a client, at start-up."""

from __future__ import annotations

import importlib

from streamproc.config.duration import seconds
from streamproc.config.service import Service
from streamproc.connectors.base import Receipts, TargetSpec
from streamproc.connectors.http_push.answer import Answers
from streamproc.connectors.http_push.auth.signers import signers_of
from streamproc.connectors.http_push.auth.token import KINDS
from streamproc.connectors.http_push.auth.tokens import Tokens
from streamproc.connectors.http_push.client import Client
from streamproc.connectors.http_push.endpoint import Endpoint
from streamproc.connectors.http_push.request import Requests
from streamproc.errors import ConfigError

CREDENTIALS = (None, "client-cert", "hmac", *KINDS)


def client_of(
    spec: TargetSpec, receipts: Receipts, *, omit: frozenset[str], deadline_s: float
) -> Client:
    """A client whose receipts go to *receipts*. *omit*: methods sent without a body."""
    kind = (spec.connection.credentials or {}).get("type")
    if kind not in CREDENTIALS:
        raise ConfigError(f"http-push has no credentials of type {kind!r}")
    service: Service = spec.service or Service()
    endpoint = Endpoint(spec.connection, service.hosts, service.http_proxy)
    requests = Requests(endpoint, omit, signers_of(spec.connection, spec.options))
    tokens = None
    if kind in KINDS:
        # Brings aiohttp, which no other connection needs.
        oauth = importlib.import_module("streamproc.connectors.http_push.auth.oauth")
        fetch = oauth.TokenEndpoint(spec.connection, service).fetch
        tokens = Tokens(fetch, requests.authorize)
    return Client(
        endpoint,
        requests,
        receipts,
        size=spec.options.parallelism,
        deadline_s=deadline_s,
        idle_s=_idle_s(spec.options.keep_alive),
        tokens=tokens,
        answers=Answers(spec.options),
    )


def _idle_s(duration: str) -> float | None:
    """``keepAlive`` in seconds; 0 is for ever."""
    found = seconds(duration)
    if found is None:
        raise ConfigError(f"keepAlive {duration!r} is not a duration such as 4s")
    return found or None
