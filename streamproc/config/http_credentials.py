"""What HTTP push needs to sign requests and to keep connections, beyond Ditto's rules.

Found by asking the very functions that sign, so that lint and the service cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from streamproc.config.connection import Connection
from streamproc.config.duration import seconds
from streamproc.config.problem import Finding, Path, quoted
from streamproc.config.rules import option_texts
from streamproc.connectors.http_push.auth.hmac import hmac_signer
from streamproc.connectors.http_push.auth.webhook import secrets_in, webhook_signer
from streamproc.errors import ConfigError


def check(connection: Connection) -> Iterator[Finding]:
    """Findings about one connection; none repeats a secret."""
    if connection.connection_type != "http-push":
        return
    given = connection.credentials or {}
    parameters = given.get("parameters")
    if given.get("type") == "hmac" and isinstance(parameters, dict):
        path: Path = ("credentials", "parameters")
        yield from _tried(path, lambda: hmac_signer(given.get("algorithm"), parameters))
    options = option_texts(connection.specific_config)
    if secrets := secrets_in(options.get("webhookSecrets", "")):
        path = ("specificConfig", "webhookSecrets")
        yield from _tried(path, lambda: webhook_signer(secrets))
    keep = options.get("keepAlive")
    if keep is not None and seconds(keep) is None:
        yield Finding(
            path=("specificConfig", "keepAlive"),
            message="expected a duration such as 4s",
            found=quoted(keep),
        )


def _tried(path: Path, make: Callable[[], object]) -> Iterator[Finding]:
    try:
        make()
    except ConfigError as error:
        yield Finding(path=path, message=str(error))
