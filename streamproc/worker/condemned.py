"""Parks a message of a source that workers die of: no target was to get it yet."""

from __future__ import annotations

import time

from streamproc.config.connection import Connection
from streamproc.errors import DeliveryPoisonous
from streamproc.store.parked import Parked
from streamproc.telemetry import events as tell
from streamproc.telemetry import metrics
from streamproc.telemetry.slots import Block
from streamproc.worker.parking import Parking, Then
from streamproc.worker.poison import POISONOUS, Park

NO_TARGET = -1


def poison_of_source(parking: Parking, connection: Connection, index: int, block: Block) -> Park:
    """What keeps such messages of the source *index* of *connection*."""
    source = str(index)
    rejected = block.counter(
        metrics.MESSAGES_REJECTED,
        connection=connection.id,
        source=source,
        cause=DeliveryPoisonous.code,
    )

    def park(payload: bytes, headers: dict[str, str], then: Then) -> None:
        entry = Parked(
            time.time(),
            connection.id,
            NO_TARGET,
            DeliveryPoisonous.code,
            POISONOUS,
            0,
            ",".join(connection.sources[index].addresses),
            "",
            headers,
            payload,
        )

        def done(count: int) -> None:
            if count:
                rejected.add(count)
                tell.message_poisoned(connection.id, source)
            then(count)

        parking.keep(entry, done)

    return park
