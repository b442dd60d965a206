"""Neither reading nor publishing keeps a message, whatever became of it."""

from __future__ import annotations

import contextlib
import gc
import tracemalloc

import pamqp.frame
import pytest
from pamqp import commands

from streamproc.kernels.amqp091 import Decoder
from streamproc.kernels.amqp091_publish import Publisher
from streamproc.kernels.delivery import Delivery
from tests.reference.amqp091 import Message, frames

HEADERS = {"content-type": "text/plain", "n": 1, "list": [1, {"a": None}], "t": "text"}
PUBLISH = {"ex/key": pamqp.frame.marshal(commands.Basic.Publish(0, "ex", "key", True), 1)}


def reads():
    properties = commands.Basic.Properties(headers=HEADERS, correlation_id="c", message_id="m")
    message = Message(1, 7, properties, b"x" * 500)
    good = frames(message, 100)
    spoiled = good.replace(b"\x04listA", b"\x04list?")
    returned = frames(message._replace(reply=(312, "NO_ROUTE", "ex", "key")))
    data = (good + spoiled + returned) * 20

    def run():
        decoder = Decoder(131_072, 1000)
        for at in range(0, len(data), 333):
            decoder.feed(data[at : at + 333])
        with contextlib.suppress(ValueError):
            decoder.feed(b"\x07" * 100)

    return run


def publishes():
    publisher = Publisher(1, 4096, "lead")

    def run():
        sent = [Delivery(0, "", "ex/key", {"h": f"v{n}"}, b"x" * 5000) for n in range(60)]
        sent[50] = Delivery(0, "", "ex/key", {"h": "\ud800"}, b"x")
        count, _, problem = publisher.publish(sent, PUBLISH, 1 << 30)
        assert count == 50
        assert problem is not None
        for tag in range(publisher.oldest, publisher.tag, 2):
            publisher.confirm(tag, False)
        publisher.confirm(0, True)

    return run


@pytest.mark.parametrize("make", [reads, publishes])
def test_messages_leave_nothing_behind(make):
    run = make()
    tracemalloc.start()
    try:
        for _ in range(3):  # what is cached on first use
            run()
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(20):
            run()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 2000  # bytes; an object kept a message would be 40,000 or more
