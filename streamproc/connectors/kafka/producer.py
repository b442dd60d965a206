"""One producer, from its making to its end, and what its callbacks said.

``begin`` and ``end`` block, and run in a thread of their own; all else runs on the event loop.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streamproc.connectors.kafka import faults
from streamproc.errors import Misconfigured, NotConnected, RunnerError
from streamproc.kernels.delivery import Delivery
from streamproc.kernels.kafka_reports import Reports

T = TypeVar("T")
OPEN_S = 15.0  # for the brokers to answer
REFUSED_S = 2.0  # ... when none of them takes a connection
ASK_S = 0.2  # the first native call; the next ones as long as it has taken so far
LONGEST_ASK_S = 3.0  # brokers may be far away
FLUSH_S = 2.0  # at close, for what is in flight
PURGE_S = 0.5


class Run:
    """``reports``: what was written and what was said of it. ``lost``: why the producer is of no
    more use. *tells_place*: acknowledgements say where the record is."""

    def __init__(self, settings: dict[str, Any], *, tells_place: bool = False) -> None:
        self.reports = Reports()
        self.reports.placed = _tell_place if tells_place else None
        self.lost: RunnerError | None = None
        self.is_down = False  # all brokers, and nothing was delivered since
        self._last_error: KafkaError | None = None
        self.producer = Producer(settings | {"error_cb": self._on_error})

    @staticmethod
    def begin(
        settings: dict[str, Any],
        topic: str | None,
        given_up: threading.Event,
        *,
        tells_place: bool = False,
    ) -> Run:
        """Return when a broker answers. Raises NotConnected or Misconfigured."""
        try:
            run = Run(settings, tells_place=tells_place)
            try:
                run._ask(topic, given_up)
            except BaseException:
                run.end()
                raise
        except KafkaException as failure:
            raise faults.link_error(failure.args[0]) from failure
        except (ValueError, TypeError) as failure:  # a setting librdkafka does not take
            raise Misconfigured(str(failure)) from failure
        if given_up.is_set():
            run.end()
        return run

    def end(self, flush_s: float = 0.0) -> None:
        """Give what is in flight a little time, then let go."""
        producer = self.producer
        with suppress(KafkaException):
            if flush_s:
                producer.flush(flush_s)
            if len(producer):
                producer.purge(blocking=False)
                producer.flush(PURGE_S)
        # It knows our callback, and we know it: its threads and sockets would stay until
        # somebody looks for cycles.
        del self.producer

    def _ask(self, topic: str | None, given_up: threading.Event) -> None:
        started = time.monotonic()
        waited = 0.0
        while not given_up.is_set():
            patience = min(max(ASK_S, waited), LONGEST_ASK_S)
            try:
                if topic is None:
                    self.producer.list_topics(timeout=patience)
                else:
                    self.producer.list_topics(topic, timeout=patience)
            except KafkaException as failure:
                self.producer.poll(0)  # serves error_cb
                error = faults.link_error(self._last_error or failure.args[0])
                waited = time.monotonic() - started
                if isinstance(error, Misconfigured):
                    raise error from failure
                if waited > (REFUSED_S if self.is_down else OPEN_S):
                    raise error from failure
                time.sleep(ASK_S / 4)
            else:
                self.is_down, self._last_error = False, None
                return

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self.lost = faults.link_error(error)
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.is_down = True
            if self._last_error is None:
                self._last_error = error
        else:
            self._last_error = error

    def why_down(self) -> RunnerError:
        """What was last heard of the brokers."""
        if self._last_error is None:
            return NotConnected("no broker can be reached")
        return faults.link_error(self._last_error)


def _tell_place(delivery: Delivery, message: Message) -> None:
    """The acknowledgement that *delivery* brings says where its record is."""
    if delivery.wanted is not None:
        delivery.wanted.answered(200, record_metadata(message))


def record_metadata(message: Message) -> dict[str, Any]:
    """Where a message that was taken is, as Ditto writes it."""
    key, value = message.key(), message.value()
    return {
        "timestamp": message.timestamp()[1],
        "serializedKeySize": -1 if key is None else len(key),
        "serializedValueSize": -1 if value is None else len(value),
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
    }


async def in_thread(work: Callable[[], T], name: str) -> T:
    """Run *work* in a thread of its own: the loop's pool is small, and others wait for it."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def finish(result: T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(result)  # type: ignore[arg-type]
        else:
            done.set_exception(error)

    def run() -> None:
        result, failure = None, None
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - it is raised where it is awaited
            failure = error
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(finish, result, failure)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done
