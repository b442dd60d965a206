"""An address names an exchange and a routing key."""

from __future__ import annotations

import pytest

from streamproc.connectors.amqp091.address import parse
from streamproc.errors import DeliveryRefused


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("ex/key", ("ex", "key")),
        ("ex/a.b.c", ("ex", "a.b.c")),
        ("ex/a/b", ("ex", "a/b")),
        ("amq.topic/k", ("amq.topic", "k")),
        ("amq.default/queue", ("", "queue")),
    ],
)
def test_good(address, place):
    assert parse(address) == place


@pytest.mark.parametrize("address", ["", "ex", "ex/", "/key", "/"])
def test_bad_is_refused_for_good_and_named(address):
    with pytest.raises(DeliveryRefused) as caught:
        parse(address)
    assert repr(address) in str(caught.value)
