"""Certificates and keys are taken exactly where OpenSSL would take them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.config import pem
from tests.unit.config.keys import (
    CERTIFICATE,
    KEY,
    KEY_OF_ITS_OWN_FORM,
    KEY_WITH_PASSPHRASE,
    OTHER_CERTIFICATE,
    OTHER_KEY,
    PUBLIC_KEY,
)

CUT = CERTIFICATE.replace(CERTIFICATE.splitlines()[3] + "\n", "")


@pytest.mark.parametrize(
    "text", [CERTIFICATE, CERTIFICATE + OTHER_CERTIFICATE, f"mine\n{CERTIFICATE}"]
)
def test_certificates_are_taken(text: str) -> None:
    assert pem.certificates(text) == ""


@pytest.mark.parametrize("text", ["", "Wurst", KEY, CERTIFICATE[:100], CUT, CERTIFICATE + KEY])
def test_what_is_no_certificate_is_refused(text: str) -> None:
    assert "expected certificates" in pem.certificates(text)


def test_a_private_key_is_taken_without_a_passphrase_only() -> None:
    assert pem.private_key(KEY) == ""
    assert "ENCRYPTED" in pem.private_key(KEY_WITH_PASSPHRASE)
    assert "EC PRIVATE KEY" in pem.private_key(KEY_OF_ITS_OWN_FORM)
    assert pem.private_key("-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----")
    assert pem.private_key(KEY.replace(KEY.splitlines()[1], KEY.splitlines()[1][:-4]))


def test_a_public_key_is_not_a_private_one() -> None:
    assert pem.public_key(PUBLIC_KEY) == ""
    assert pem.public_key(KEY)
    assert pem.private_key(PUBLIC_KEY)


def test_a_key_must_be_of_the_certificate() -> None:
    assert pem.pair(CERTIFICATE, KEY) == ""
    assert "another" in pem.pair(CERTIFICATE, OTHER_KEY)


@given(st.text())
def test_no_text_gets_past_as_certificate_or_key(text: str) -> None:
    assert pem.certificates(text)
    assert pem.private_key(text)
    assert pem.certificates(f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----")
    assert pem.public_key(f"-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----")
