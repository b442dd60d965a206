"""Fixtures of the integration tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.integration.kafka_bed import Bed


@pytest.fixture
async def bed(kafka, fresh_name) -> AsyncIterator[Bed]:
    """A topic of one partition (the mock has four), and what is made of it."""
    await asyncio.to_thread(kafka.create_topic, fresh_name, 1)
    made = Bed(kafka, fresh_name)
    yield made
    await made.close()


@pytest.fixture
async def wide(kafka, fresh_name) -> AsyncIterator[Bed]:
    """A topic of four partitions."""
    await asyncio.to_thread(kafka.create_topic, fresh_name, 4)
    made = Bed(kafka, fresh_name)
    yield made
    await made.close()
