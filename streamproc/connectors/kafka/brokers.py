"""Whether the brokers answer, and have our topics; and what they last complained of.

Used by the consumer's thread alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException

from streamproc.connectors.kafka import faults
from streamproc.errors import Misconfigured, NotConnected, RunnerError

FIRST_ASK_S = 0.2
LONGEST_ASK_S = 3.0  # each question may take as long as all have so far: brokers may be far away
BETWEEN_S = 0.05
OPEN_S = 15.0  # for the brokers to answer
REFUSED_S = 2.0  # ... when none of them takes a connection
UNKNOWN_S = 2.0  # a topic may be too new for this broker
DOWN_S = 30.0  # all brokers away for longer: the link is lost


class Brokers:
    """``given_up`` says that nobody waits any more."""

    def __init__(self, topics: Sequence[str], given_up: Callable[[], bool]) -> None:
        self._topics = topics
        self._given_up = given_up
        self._complaint: KafkaError | None = None
        self._down_since: float | None = None
        self.known: dict[str, int] = {}  # topic -> its partitions when we opened

    def complained(self, error: KafkaError) -> None:
        """The client library's ``error_cb``."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            if self._down_since is None:
                self._down_since = time.monotonic()
            if self._complaint is not None:
                return  # said more
        self._complaint = error

    def answered(self) -> None:
        """Something came from them."""
        self._down_since = None

    def check_fatal(self) -> None:
        """Raise what no retry of the client library mends."""
        if self._complaint is not None and self._complaint.fatal():
            raise faults.link_error(self._complaint)

    def check(self, consumer: Consumer) -> None:
        """They answer and have our topics, or raise NotConnected or Misconfigured."""
        started = time.monotonic()
        for topic in self._topics:
            patience_s = FIRST_ASK_S
            while (why := self._ask(consumer, topic, patience_s)) is not None:
                waited = time.monotonic() - started
                if self._given_up():
                    raise NotConnected("closed while it was opened")
                if isinstance(why, Misconfigured) and waited > UNKNOWN_S:
                    raise why
                if waited > (OPEN_S if self._down_since is None else REFUSED_S):
                    raise why
                patience_s = min(max(FIRST_ASK_S, waited), LONGEST_ASK_S)
                time.sleep(BETWEEN_S)

    def _ask(self, consumer: Consumer, topic: str, patience_s: float) -> RunnerError | None:
        try:
            found = consumer.list_topics(topic, timeout=patience_s).topics[topic]
        except KafkaException as failure:
            consumer.poll(0)  # serves error_cb
            if self._complaint is None:
                return NotConnected(faults.words(failure.args[0]))
            return faults.link_error(self._complaint)
        if found.error is None:
            self.known[topic] = len(found.partitions)
            return None
        if found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return Misconfigured(f"topic {topic!r} does not exist")
        if found.error.code() in faults.PASSING:
            return NotConnected(faults.words(found.error))
        return Misconfigured(f"topic {topic!r}: {faults.words(found.error)}")

    def probe(self, consumer: Consumer) -> None:
        """Nothing comes. Are all down, as it seems, see whether one answers; not for ever."""
        if self._down_since is None:
            return
        try:
            consumer.list_topics(self._topics[0], timeout=FIRST_ASK_S)
        except KafkaException as failure:
            if time.monotonic() - self._down_since > DOWN_S:
                raise faults.link_error(self._complaint or failure.args[0]) from failure
        else:
            self._down_since = self._complaint = None
