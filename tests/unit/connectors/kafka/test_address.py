"""A resolved address names a topic, and perhaps a key or a partition."""

from __future__ import annotations

import pytest

from streamproc.connectors.kafka.address import ANY_PARTITION, parse
from streamproc.errors import DeliveryRefused

GOOD = [
    ("events", ("events", None, ANY_PARTITION)),
    ("a.b_c-D9", ("a.b_c-D9", None, ANY_PARTITION)),
    ("events/key", ("events", "key", ANY_PARTITION)),
    ("events/a/b", ("events", "a/b", ANY_PARTITION)),
    ("events/a#5", ("events", "a#5", ANY_PARTITION)),
    ("events/ü", ("events", "ü", ANY_PARTITION)),
    ("events#0", ("events", None, 0)),
    ("events#12", ("events", None, 12)),
    ("events/", ("events", None, ANY_PARTITION)),
    ("events#", ("events", None, ANY_PARTITION)),
    ("t" * 249, ("t" * 249, None, ANY_PARTITION)),
]
BAD = [
    "",
    ".",
    "..",
    "/key",
    "#1",
    "with blank",
    "tö",
    "t\n",
    "t" * 250,
    "events#one",
    "events#-1",
    "events#2147483648",
    "events#1#2",
    "events#\uff11",
]


@pytest.mark.parametrize(("address", "place"), GOOD)
def test_a_good_address(address, place):
    assert parse(address) == place


@pytest.mark.parametrize("address", BAD)
def test_a_bad_address_is_refused_for_good_and_named(address):
    with pytest.raises(DeliveryRefused) as caught:
        parse(address)
    assert repr(address) in str(caught.value)
