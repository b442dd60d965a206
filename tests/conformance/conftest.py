"""Adaptors are started once a session, when first needed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import uvloop

from tests.brokers import available
from tests.brokers.broker import BrokerMissing
from tests.conformance.brokers import Adaptor, adaptor


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that workers run on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def started(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Adaptor]]:
    """Gives the adaptor of a connection type, started."""
    found: dict[str, Adaptor] = {}

    def start(name: str) -> Adaptor:
        if name not in found:
            candidate = adaptor(name)
            if reason := candidate.missing():
                if available.required():
                    raise BrokerMissing(reason)
                pytest.skip(reason)
            candidate.start(lambda fixture: request.getfixturevalue(fixture))
            found[name] = candidate
        return found[name]

    yield start
    for each in found.values():
        each.close()


@pytest.fixture
async def broker(name: str, started: Callable[[str], Adaptor]) -> AsyncIterator[Any]:
    """The adaptor of connector *name*, with a place of its own for this test."""
    chosen = started(name)
    await chosen.begin()
    try:
        yield chosen
    finally:
        await chosen.end()
