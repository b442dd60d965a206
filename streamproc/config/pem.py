"""Certificates and keys in PEM (RFC 7468): whether OpenSSL will take them.

Answers are sentences, empty where all is well; none repeats what it was given. Private keys
are read in memory and never reach a disk.
"""

from __future__ import annotations

import base64
import os
import re
import ssl

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\s*(.*?)\s*-----END \1-----", re.DOTALL)


def certificates(text: str) -> str:
    """One certificate or several, one after the other."""
    wrong = "expected certificates in PEM, from BEGIN CERTIFICATE to END CERTIFICATE"
    blocks = _BLOCK.findall(text)
    if not blocks or any(label != "CERTIFICATE" for label, _ in blocks):
        return wrong
    if not text.isascii():
        return "expected certificates in PEM without characters beyond ASCII"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        return f"{wrong}, found one that cannot be read"
    return ""


def private_key(text: str | None) -> str:
    """A private key in PKCS #8, not encrypted."""
    if text is None:
        return ""
    return _one_block(text, "PRIVATE KEY", "a private key in PEM, PKCS #8 without a passphrase")


def public_key(text: str | None) -> str:
    """A public key in X.509's form."""
    return "" if text is None else _one_block(text, "PUBLIC KEY", "a public key in PEM, X.509")


def pair(certificate: str, key: str) -> str:
    """Whether the key is of the first certificate; both were found good alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # strength is the peer's business
    chain = os.memfd_create("chain", os.MFD_CLOEXEC)
    try:
        os.write(chain, f"{key}\n{certificate}\n".encode())
        context.load_cert_chain(f"/proc/self/fd/{chain}", password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return "expected the private key of the certificate, found one of another"
        return "expected a private key that can be used, found one that cannot be read"
    finally:
        os.close(chain)
    return ""


def _one_block(text: str, label: str, what: str) -> str:
    blocks = _BLOCK.findall(text)
    if len(blocks) != 1 or blocks[0][0] != label:
        found = f", found {blocks[0][0]}" if blocks else ""
        return f"expected {what}{found}"
    try:
        data = base64.b64decode("".join(blocks[0][1].split()), validate=True)
    except ValueError:
        return f"expected {what}, found one that is no base64"
    return "" if _is_sequence(data) else f"expected {what}, found one that cannot be read"


def _is_sequence(data: bytes) -> bool:
    """Whether *data* is one ASN.1 SEQUENCE in DER, neither cut nor followed by more."""
    if len(data) < 2 or data[0] != 0x30:
        return False
    length, start = data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    return start + length == len(data)
