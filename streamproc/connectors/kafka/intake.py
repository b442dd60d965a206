"""The thread that owns a consumer: librdkafka is called from nowhere else.

It reads while there is room, hands batches to the event loop, commits what is settled, and
keeps serving the group while there is no room. It is never waited for without a deadline.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streamproc.connectors.kafka import faults
from streamproc.connectors.kafka.behind import Behind
from streamproc.connectors.kafka.brokers import Brokers
from streamproc.connectors.kafka.commits import EVERY_S, Commits
from streamproc.connectors.kafka.finished import Finished, Foreign
from streamproc.connectors.kafka.finished import decode as decode_metadata
from streamproc.connectors.kafka.owed import Owed
from streamproc.connectors.kafka.partition import Partition
from streamproc.connectors.kafka.records import Arrival, Record, correlation_ids, decode
from streamproc.connectors.kafka.remembered import Remembered
from streamproc.connectors.kafka.room import Room
from streamproc.connectors.kafka.settings import SESSION_TIMEOUT_S
from streamproc.errors import Misconfigured, NotConnected, RunnerError
from streamproc.kernels.kafka_records import RecordReader

TURN_S = 0.2  # longest native wait, but for an answer while it is opened
BATCH = 500  # messages of one native call
ASK_S = 5.0  # for offsets, at an assignment
ANSWER_S = 0.002  # between two looks for the answer to a commit
PAUSE_AFTER_S = 2.0  # without room for longer: pause, and serve the group
DRAIN_S = min(5.0, SESSION_TIMEOUT_S / 2)  # for the runner, at a revocation
UNBOUNDED = 1 << 62


class Loop(Protocol):
    """What the thread tells the event loop. Called on the thread; must not block."""

    def opened(self) -> None: ...
    def arrived(self, arrivals: list[Arrival]) -> None: ...
    def close_partitions(self, partitions: Sequence[Partition]) -> None: ...
    def committed(self) -> None: ...
    def noted(self, note: str) -> None: ...
    def ended(self, error: RunnerError | None) -> None: ...


class Intake(threading.Thread):
    """One consumer, from its making to its end. A new one is made for each ``open``."""

    def __init__(
        self,
        settings: dict[str, Any],
        topics: Sequence[str],
        room: Room,
        loop: Loop,
        remembered: Remembered,
        *,
        from_end: bool,
        skip_settled: bool,
        most: int,
    ) -> None:
        super().__init__(name=f"kafka-{settings['client.id']}", daemon=True)
        self._topics = list(topics)
        self._brokers = Brokers(self._topics, lambda: self._ending)
        self._settings = settings | {
            "error_cb": self._brokers.complained,
            "on_commit": self._on_commit,
        }
        self._room = room
        self._loop = loop
        self._remembered = remembered
        self._from_end = from_end
        self._skip_settled = skip_settled
        self._commits = Commits(skip_settled=skip_settled, most=most, tell=loop.noted)
        self.owed = Owed(most if skip_settled else UNBOUNDED, self._here)
        self._partitions: dict[tuple[str, int], Partition] = {}
        self._paused: set[Partition] = set()
        self._news: deque[Partition] = deque()  # something to commit
        self._settled = 0  # messages; written by the event loop
        self._orders: deque[Callable[[Consumer], None]] = deque()
        self._rewinds: dict[Partition, tuple[float, int]] = {}  # -> (when, offset)
        self._full_since: float | None = None
        self._reader = RecordReader(correlation_ids())
        self.behind = Behind()
        self._reading = True
        self._ending = False

    # Called on the event loop.

    def settled(self, partition: Partition, messages: int) -> None:
        """There is something new to commit."""
        self._news.append(partition)
        self._settled += messages
        if self._commits.are_many(self._settled):
            self._room.freed.set()

    def rewind(self, partition: Partition, offset: int, delay_s: float) -> None:
        """Read *partition* again from *offset*, after a while, as a new epoch."""
        at = time.monotonic() + delay_s
        self._orders.append(lambda _: self._rewinds.__setitem__(partition, (at, offset)))

    def stop_reading(self) -> None:
        """Take no more; go on committing, and stay in the group."""
        self._reading = False

    def end(self) -> None:
        """Commit, leave, and end."""
        self._ending = True
        self._room.freed.set()

    # The thread.

    def run(self) -> None:
        error: RunnerError | None = None
        consumer: Consumer | None = None
        try:
            consumer = Consumer(self._settings)
            self._brokers.check(consumer)
            consumer.subscribe(
                self._topics,
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
            self._loop.opened()
            while not self._ending:
                self._turn(consumer)
        except RunnerError as failure:
            error = failure
        except KafkaException as failure:
            error = faults.link_error(failure.args[0])
        except (ValueError, TypeError) as failure:  # a setting librdkafka does not take
            error = Misconfigured(str(failure)) if consumer is None else _surprise(failure)
        except Exception as failure:  # noqa: BLE001 - nobody else would hear of it
            error = _surprise(failure)
        finally:
            self._ending = True
            if consumer is not None:
                self._leave(consumer)
            self._loop.ended(error)

    def _turn(self, consumer: Consumer) -> None:
        self._brokers.check_fatal()
        self._obey(consumer)
        room = self._room.left() if self._reading else 0
        if not room:
            self._wait(consumer)
            return
        self._full_since = None
        self._hold(consumer, everything=False)
        messages = consumer.consume(1, self._patience(TURN_S))
        if not messages:
            self._brokers.probe(consumer)
            return
        if room > 1:
            messages += consumer.consume(min(room - 1, BATCH), 0)
        self._take(messages)

    def _wait(self, consumer: Consumer) -> None:
        """There is no room. Read nothing; when that lasts, pause, and serve the group."""
        now = time.monotonic()
        if self._full_since is None:
            self._full_since = now
        pausing = now - self._full_since >= PAUSE_AFTER_S or not self._reading
        if pausing:
            self._hold(consumer, everything=True)
        if pausing or self._commits.under_way:
            # Callbacks come before messages; one of these may come too, and is taken.
            message = consumer.poll(0)
            if message is not None:
                self._take([message])
        self._room.freed.clear()
        if not self._room.left() or not self._reading:
            self._room.freed.wait(self._patience(TURN_S / 2))

    def _here(self) -> list[Partition]:
        return list(self._partitions.values())

    def _patience(self, longest_s: float) -> float:
        """How long to wait at most: what may be settled meanwhile is to be committed soon."""
        if self._commits.under_way:
            return ANSWER_S
        waits = self._commits.pending or any(p.is_open for p in self._partitions.values())
        return min(EVERY_S, longest_s) if waits else longest_s

    def _take(self, messages: list[Message]) -> None:
        errors = [message for message in messages if message.error() is not None]
        for message in errors:
            self._judge(message)
        good = [message for message in messages if message.error() is None] if errors else messages
        self._brokers.answered()
        arrivals = decode(cast(list[Record], good), self._home, self._reader, time.time() * 1000)
        if arrivals and self._reading:
            self._room.put(arrivals)
            self._loop.arrived(arrivals)

    def _judge(self, message: Message) -> None:
        """Raise what ends the link."""
        error = message.error()
        if error is None or error.code() in faults.PASSING:
            return
        if error.code() in faults.NO_TOPIC:  # commits would be those of its next life
            gone = [key for key in self._partitions if key[0] == message.topic()]
            for partition in self._pop([TopicPartition(*key) for key in gone]):
                partition.gone = True
        raise faults.link_error(error)

    def _home(self, topic: str, number: int, offset: int) -> Partition | None:
        """Where a message of that *offset* belongs. One that was passed is of a log that has
        begun anew - its topic was made again, or its end was lost - and of another epoch."""
        partition = self._find(topic, number)
        if partition is None or offset > partition.newest:
            return partition
        partition.gone = True
        new = Partition(topic, number)
        if partition in self._paused:
            self._paused.add(new)
        self._pop([_place(partition)])
        self._partitions[topic, number] = new
        self._loop.noted(
            f"{topic}#{number} goes on at offset {offset} after {partition.newest}: its log has "
            "begun anew, and is read from there"
        )
        return new

    def _find(self, topic: str, number: int) -> Partition | None:
        partition = self._partitions.get((topic, number))
        return None if partition is None or partition.gone else partition

    def _obey(self, consumer: Consumer) -> None:
        while self._orders:
            self._orders.popleft()(consumer)
        settled = self._settled  # before the news: these are among them
        self._hear_news()
        if self._commits.serve(consumer, settled) and self.owed.is_full:
            self._loop.committed()
        now = time.monotonic()
        self.behind.look(consumer, self._here(), now, ask=self._full_since is not None)
        for old in [old for old, (at, _) in self._rewinds.items() if at <= now]:
            _, offset = self._rewinds.pop(old)
            self._seek(consumer, old, offset)

    def _seek(self, consumer: Consumer, old: Partition, offset: int) -> None:
        if self._partitions.get((old.topic, old.number)) is not old:
            return  # taken from us meanwhile
        here = TopicPartition(old.topic, old.number, offset)
        if old in self._paused:
            self._paused.discard(old)
            consumer.resume([here])
        consumer.seek(here)
        # Of what was handed out before, what is settled need not come again either.
        position, bits = old.snapshot()
        done = None if position is None else Finished(position, bits, old.leader_epoch)
        new = Partition(old.topic, old.number, offset, old.stored, done if bits else None)
        new.stored_bits, new.leader_epoch = old.stored_bits, old.leader_epoch
        new.began, new.confirmed = old.began, old.confirmed
        self._partitions[old.topic, old.number] = new
        self._news.append(new)

    def _hold(self, consumer: Consumer, *, everything: bool) -> None:
        """Pause what is not to be read now, and resume what is."""
        wanted = {
            partition
            for partition in self._partitions.values()
            if everything or partition.is_full or partition in self._rewinds
        }
        if wanted == self._paused:
            return
        if more := wanted - self._paused:
            consumer.pause([_place(partition) for partition in more])
        if less := self._paused - wanted:
            consumer.resume([_place(partition) for partition in less])
        self._paused = wanted

    def _hear_news(self) -> None:
        while self._news:
            partition = self._news.popleft()
            if self._partitions.get((partition.topic, partition.number)) is partition:
                self._commits.changed(partition)

    def _leave(self, consumer: Consumer) -> None:
        try:
            self._hear_news()
            consumer.close()  # revokes, which commits, and leaves the group
        except (KafkaException, RuntimeError):
            pass  # the group will find out; what was not committed comes again
        self._let_go(self._pop([_place(partition) for partition in self._here()]))

    # Callbacks of librdkafka, inside consume, poll and close.

    def _on_commit(self, error: KafkaError | None, places: list[TopicPartition]) -> None:
        self._commits.ended(error, places, self._find)
        if self.owed.is_full:
            self._loop.committed()

    def _on_assign(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        self.behind.rebalances += 1
        if not places:
            return
        fresh: list[TopicPartition] = []
        starts: list[TopicPartition] = []
        for place in consumer.committed(places, timeout=ASK_S):
            if place.error is not None:
                raise KafkaException(place.error)
            finished = self._finished(place) if self._skip_settled else None
            partition = Partition(place.topic, place.partition, finished=finished)
            partition.confirmed = place.offset
            self._partitions[place.topic, place.partition] = partition
            is_new = place.offset < 0 and place.partition < self._brokers.known.get(place.topic, 0)
            if is_new and self._from_end:
                place = self._end(consumer, place)
                fresh.append(place)
            partition.start = place.offset
            starts.append(TopicPartition(place.topic, place.partition, place.offset))
        consumer.incremental_assign(starts)
        # The client library keeps a pause over a rebalance; ``_hold`` knows of none here.
        consumer.resume(starts)
        if fresh:
            self._commits.send(consumer, fresh)

    def _end(self, consumer: Consumer, place: TopicPartition) -> TopicPartition:
        """Where the group has never been begins at its end, and says so, so that a restart
        does not begin at a later end. A partition that is new since begins at its beginning."""
        _, end = consumer.get_watermark_offsets(place, timeout=ASK_S)
        return TopicPartition(place.topic, place.partition, end)

    def _finished(self, place: TopicPartition) -> Finished | None:
        """What is known of messages above the offset of the last commit."""
        said = None
        try:
            said = decode_metadata(place.offset, place.metadata)
        except Foreign as why:
            self._loop.noted(
                f"the commit of {place.topic}#{place.partition} at {place.offset} has metadata "
                f"that is ignored: {why}"
            )
        return self._remembered.at(place.topic, place.partition, place.offset, said)

    def _on_revoke(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        """Hand out no more, give the runner a little time, commit, and let go.

        The client library sends the commit before it gives the partitions up, and waits for
        the answer.
        """
        self.behind.rebalances += 1
        leaving = self._pop(places)
        self._loop.close_partitions(leaving)
        if not self._ending:
            ends = time.monotonic() + DRAIN_S
            for partition in leaving:
                partition.drained.wait(max(ends - time.monotonic(), 0))
        self._commits.commit(consumer, leaving)
        self._let_go(leaving)

    def _on_lost(self, _: Consumer, places: list[TopicPartition]) -> None:
        """Others have them already: nothing of ours counts."""
        self.behind.rebalances += 1
        self._let_go(self._pop(places))

    def _let_go(self, leaving: list[Partition]) -> None:
        for partition in leaving:
            partition.gone = True
            self._remembered.keep(partition)

    def _pop(self, places: list[TopicPartition]) -> list[Partition]:
        found = [self._partitions.pop((place.topic, place.partition), None) for place in places]
        leaving = [partition for partition in found if partition is not None]
        self._paused.difference_update(leaving)
        return leaving


def _surprise(failure: Exception) -> NotConnected:
    """What should not happen ends the link, and says so."""
    return NotConnected(f"the consumer failed: {failure!r}")


def _place(partition: Partition) -> TopicPartition:
    return TopicPartition(partition.topic, partition.number)
