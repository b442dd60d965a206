"""``parking``: refused messages may go to a target that is there, at an address that is fixed."""

from __future__ import annotations

from typing import Any

import pytest

from streamproc.config import service_rules
from streamproc.config.connection import Connection, Target
from streamproc.config.service import Parking, Service


def found(address: str = "POST:/dead", status: str = "open", **parking: Any) -> list[str]:
    connection = Connection(
        id="dead",
        connection_type="http-push",
        connection_status=status,  # type: ignore[arg-type]
        targets=[Target(address=address, topics=[], authorization_context=["a:b"])],
    )
    service = Service(connections=[connection], parking=Parking(**parking))
    return [
        f"{'.'.join(map(str, each.path))}: {'warning' if each.warning else 'problem'}"
        for each in service_rules.check(service)
        if each.path[:1] == ("parking",)
    ]


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ({}, []),
        ({"connection": "dead"}, []),
        ({"connection": "none"}, ["parking.connection: problem"]),
        ({"connection": "dead", "target": 1}, ["parking.target: problem"]),
        ({"connection": "dead", "address": "POST:/{{ thing:id }}"}, ["parking.target: problem"]),
        ({"connection": "dead", "status": "closed"}, ["parking.connection: warning"]),
    ],
)
def test_where_refused_messages_may_go(case: dict[str, Any], expected: list[str]) -> None:
    assert found(**case) == expected
