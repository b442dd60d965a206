"""Parked deliveries: whole lines, within the bound, readable afterwards."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from streamproc.errors import DeliveryRefused
from streamproc.kernels.delivery import Delivery
from streamproc.worker.parking import ParkingFile

REFUSED = DeliveryRefused("the endpoint answered 400")


def delivery(payload: bytes) -> Delivery:
    return Delivery(1, "ns:thing", "POST:/x", {"a": "b"}, payload)


def test_a_line_says_what_where_and_why(tmp_path: Path) -> None:
    parking = ParkingFile(tmp_path / "deep" / "parked.ndjson", 1 << 20)
    assert parking.park("conn", [delivery(b'{"x":1}'), delivery(b"\xff")], REFUSED) == 2
    first, second = map(json.loads, (tmp_path / "deep" / "parked.ndjson").read_text().splitlines())
    assert first["connection"] == "conn"
    assert first["target"] == 1
    assert first["reason"] == "delivery_refused"
    assert first["message"] == "the endpoint answered 400"
    assert first["payload"] == '{"x":1}'
    assert first["headers"] == {"a": "b"}
    assert second["payloadBase64"] == "/w=="
    parking.close()


def test_the_bound_holds_over_restarts(tmp_path: Path) -> None:
    path = tmp_path / "parked"
    first = ParkingFile(path, 1000)
    assert first.park("c", [delivery(b"x" * 300)] * 5, REFUSED) == 1
    first.close()
    second = ParkingFile(path, 1000)
    assert second.park("c", [delivery(b"x" * 300)], REFUSED) == 0
    assert path.stat().st_size <= 1000
    second.close()


def test_others_cannot_read_it(tmp_path: Path) -> None:
    ParkingFile(tmp_path / "parked", 1000).close()
    assert (tmp_path / "parked").stat().st_mode & 0o077 == 0


@given(payloads=st.lists(st.binary(max_size=200), max_size=8), room=st.integers(0, 3000))
def test_what_is_counted_is_what_can_be_read(tmp_path_factory, payloads, room) -> None:
    path = tmp_path_factory.mktemp("parking") / "parked"
    parking = ParkingFile(path, room)
    count = parking.park("c", [delivery(payload) for payload in payloads], REFUSED)
    parking.close()
    lines = path.read_bytes().splitlines()
    assert len(lines) == count
    assert path.stat().st_size == parking.used_bytes <= room
    for line in lines:
        json.loads(line)
