"""What decides about certificates: who is trusted, and as whom we present ourselves."""

from __future__ import annotations

import ssl
import tempfile

from streamproc.config.connection import Connection
from streamproc.errors import Misconfigured


def client_context(ca: str | None) -> ssl.SSLContext:
    """TLS 1.2 or later, host name verified; *ca* in the place of the system's authorities.

    The same on every Python: any certificate in *ca* is an anchor, as in Ditto, and private
    authorities whose certificates lack key identifiers are good enough.
    """
    context = ssl.create_default_context(cadata=ca or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


class Tls:
    """What a connection says of certificates, kept until the first connect."""

    def __init__(self, connection: Connection) -> None:
        self._ca = connection.ca
        self._validate = connection.validate_certificates
        self._credentials = connection.credentials or {}

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or later, host name verified. Raises Misconfigured."""
        try:
            context = client_context(self._ca)
            if not self._validate:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self._credentials.get("type") == "client-cert":
                self._load_client_certificate(context)
        except (ssl.SSLError, ValueError, OSError) as error:
            raise Misconfigured(f"certificates cannot be used: {error}") from error
        return context

    def _load_client_certificate(self, context: ssl.SSLContext) -> None:
        # The ssl module reads certificates from files only.
        with tempfile.NamedTemporaryFile("w", prefix="streamproc-", suffix=".pem") as pem:
            pem.write(f"{self._credentials['key']}\n{self._credentials['cert']}\n")
            pem.flush()
            context.load_cert_chain(pem.name)
