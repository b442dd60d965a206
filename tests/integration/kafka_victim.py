"""A consumer to be killed: settles all that it reads but the messages of one key.

Run as a process: bootstrap servers, topic, number of messages, key, and perhaps the name of
a static member with a session that outlasts every test. It says ``settled``, and then waits
for its end.
"""

from __future__ import annotations

import asyncio
import sys

from streamproc.config.connection import Connection, Source
from streamproc.connectors.base import Identity, SourceSpec, Verdict
from streamproc.connectors.kafka import settings
from streamproc.connectors.kafka.config import KafkaOptions
from streamproc.connectors.kafka.source import KafkaSource


async def main(bootstrap: str, topic: str, count: int, stuck: str, member: str = "") -> None:
    if member:
        usual, long = settings.consumer, {"session.timeout.ms": 600_000}
        settings.consumer = lambda spec: usual(spec) | long | {"max.poll.interval.ms": 600_000}
    read_from = Source(addresses=[topic], authorization_context=["s"], qos=1)
    connection = Connection(
        id=f"of-{topic}", connection_type="kafka", uri=f"tcp://{bootstrap}", sources=[read_from]
    )
    source = KafkaSource(
        SourceSpec(
            identity=Identity(connection_id=connection.id),
            connection=connection,
            options=KafkaOptions(
                bootstrap_servers=bootstrap,
                consumer_offset_reset="earliest",
                group_instance_id=member or None,
            ),
            source=read_from,
        )
    )
    await source.open()
    seen = 0
    while seen < count:
        batch = await source.read()
        seen += len(batch.tokens)
        done = [
            token
            for token, headers in zip(batch.tokens, batch.headers, strict=True)
            if headers["kafka.key"] != stuck
        ]
        source.settle(batch.origin, done, Verdict.ACCEPT, {})
    sys.stdout.write("settled\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:]))
