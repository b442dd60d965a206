"""Whatever is settled in whatever order, the broker hears of each message once, and in range."""

from __future__ import annotations

import asyncio
import random

import pamqp.frame
from hypothesis import event, given
from hypothesis import strategies as st
from pamqp import commands

from streamproc.connectors.amqp091.intake import Intake
from streamproc.connectors.base import Verdict
from streamproc.errors import NotConnected
from streamproc.kernels.amqp091 import Decoder
from tests.reference.amqp091 import Message, frames, unmarshalled

NESTED = {"h": [[[[[[[[[[[[[[[[["deep"]]]]]]]]]]]]]]]]]}


class Far:
    """In place of a link: a broker that holds what it delivered until it hears of it."""

    answer_s = close_s = 30.0
    error = None

    def __init__(self) -> None:
        self.held: dict[int, bytes] = {}
        self.requeued: list[bytes] = []
        self.accepted: list[bytes] = []
        self.rejected: list[bytes] = []
        self.frames = 0
        self.reading = True
        self._tag = 0
        self._decoder = Decoder(131_072, 1000)

    async def channel(self, number, listener) -> None:
        self.listener = listener
        listener.bind(self, number)

    def read(self, go_on: bool) -> None:
        self.reading = go_on

    def send(self, data: bytes) -> None:
        for _, frame in unmarshalled(data):
            self.frames += 1
            match frame:
                case commands.Basic.Ack():
                    self._settle(frame, self.accepted)
                case commands.Basic.Nack():
                    self._settle(frame, self.requeued if frame.requeue else self.rejected)
                case commands.Queue.Declare():
                    self._say(pamqp.frame.marshal(commands.Queue.DeclareOk("q", 0, 0), 1))
                case commands.Basic.Qos():
                    self._say(pamqp.frame.marshal(commands.Basic.QosOk(), 1))
                case commands.Basic.Consume():
                    self._say(pamqp.frame.marshal(commands.Basic.ConsumeOk("0"), 1))

    def _settle(self, frame, into: list[bytes]) -> None:
        """As RabbitMQ does: a tag that is not held ends the channel."""
        assert frame.delivery_tag in self.held, "unknown delivery tag"
        tags = [tag for tag in self.held if tag <= frame.delivery_tag]
        into += [self.held.pop(tag) for tag in (tags if frame.multiple else [frame.delivery_tag])]

    def deliver(self, count: int, *, spoiled: bool = False) -> None:
        data = b""
        for _ in range(count):
            self._tag += 1
            self.held[self._tag] = b"%d" % self._tag
            properties = commands.Basic.Properties(headers=NESTED if spoiled else None)
            data += frames(Message(1, self._tag, properties, self.held[self._tag]))
        self._say(data)

    def _say(self, data: bytes) -> None:
        for _, method, content in self._decoder.feed(data):
            self.listener.take(method, content)

    async def close(self) -> None:
        pass


async def opened(far: Far, *, most_age_s: float = 0.0, told=None, prefetch_bytes=1 << 20) -> Intake:
    intake = Intake(100, prefetch_bytes, most_age_s, (told if told is not None else []).append)
    await intake.begin(far, ["q"])
    far.frames = 0
    return intake


def some(tags: list[int], seed: int) -> list[int]:
    """A part of *tags*, most of the time, in any order."""
    chance = random.Random(seed)
    return chance.sample(tags, chance.randint(len(tags) // 2, len(tags)))


steps = st.lists(
    st.one_of(
        st.tuples(st.just("deliver"), st.integers(1, 12)),
        st.tuples(st.just("spoiled"), st.integers(1, 2)),
        st.tuples(st.just("read"), st.just(0)),
        st.tuples(st.sampled_from(Verdict), st.integers(0, 2**32)),
        st.tuples(st.just("late"), st.integers(0, 2**32)),
        st.tuples(st.just("old"), st.integers(0, 20)),
    ),
    max_size=40,
)


@given(steps=steps)
def test_the_broker_hears_of_each_message_once(steps):
    async def run() -> None:
        far, told = Far(), []
        intake = await opened(far, most_age_s=1e6, told=told)
        open_: list[int] = []
        gone: list[int] = []
        verdicts: dict[bytes, str] = {}
        for step, number in steps:
            if step == "deliver":
                far.deliver(number)
                if number % 4:
                    open_ += intake.batch().tokens
            elif step == "spoiled":
                far.deliver(number, spoiled=True)
            elif step == "read":
                batch = intake.batch()
                open_ += [] if batch is None else batch.tokens
            elif step == "late":
                intake.settle(some(gone, number), Verdict.ACCEPT)
            elif step == "old":
                old = max(far.held, default=0) - number
                oldest = min(far.held, default=0)
                if old >= oldest > 0:
                    before = set(far.held)
                    intake._give_back(oldest, old)
                    assert before - set(far.held) == {tag for tag in before if tag <= old}
                    gone += [tag for tag in open_ if tag <= old]
                    open_ = [tag for tag in open_ if tag > old]
                    event("given back")
            else:
                chosen = some(open_, number)
                open_ = [tag for tag in open_ if tag not in chosen]
                if chosen:
                    verdicts |= {b"%d" % tag: step.value for tag in chosen}
                    before = far.frames
                    intake.settle(chosen, step)
                    if step is Verdict.ACCEPT:
                        event("accepted all that is open" if not open_ else "accepted some")
                    if step is Verdict.ACCEPT and not open_:
                        assert far.frames - before == 1
        assert sorted(far.held) == sorted([*open_, *intake._tags])
        said = [*((one, "accept") for one in far.accepted)]
        said += [*((one, "redeliver") for one in far.requeued)]
        said += [*((one, "reject") for one in far.rejected)]
        assert len(said) == len(dict(said)) == far._tag - len(far.held)
        assert verdicts.items() <= dict(said).items()
        assert not intake.error

    asyncio.run(run())


async def test_reading_stops_when_too_much_waits_and_goes_on_when_it_is_read():
    far = Far()
    intake = await opened(far, prefetch_bytes=5)
    far.deliver(5)
    assert far.reading
    far.deliver(1)
    assert not far.reading
    assert len(intake.batch().tokens) == 6
    assert far.reading
    assert intake.waiting_bytes == 0


async def test_of_the_times_at_which_messages_came_few_are_kept():
    far = Far()
    intake = await opened(far, most_age_s=1e6)
    for _ in range(500):
        far.deliver(1)
    assert len(intake._came) == 1
    assert intake._came[0][0] == 500
    without = await opened(Far())
    without.link.deliver(3)
    assert not without._came


async def test_only_what_is_too_old_is_given_back():
    far, told = Far(), []
    intake = await opened(far, most_age_s=100.0, told=told)
    now = asyncio.get_running_loop().time()
    far.deliver(3)
    far.deliver(3)
    tags = intake.batch().tokens
    far.deliver(1)
    intake._came.clear()
    intake._came += [(3, now - 101), (6, now - 99), (7, now - 98)]
    intake.settle([tags[1]], Verdict.ACCEPT)
    intake._look()
    assert far.requeued == [b"1", b"3"]
    assert sorted(far.held) == [4, 5, 6, 7]
    assert told == [
        "gave 2 messages back to their queue, unsettled for 100 s: they may be delivered twice"
    ]
    intake.settle(tags, Verdict.ACCEPT)
    assert far.accepted == [b"2", b"4", b"5", b"6"]
    intake._look()
    assert len(told) == 1
    await intake.close()


async def test_a_consumer_that_the_broker_ends_is_a_loss_with_its_queue():
    far = Far()
    intake = await opened(far)
    far.deliver(2)
    batch = intake.batch()
    far._say(pamqp.frame.marshal(commands.Basic.Cancel("0", True), 1))
    assert isinstance(intake.error, NotConnected)
    assert str(intake.error) == "the broker ended the consumer of queue 'q'"
    intake.settle(batch.tokens, Verdict.ACCEPT)  # its link is gone
    assert len(far.held) == 2
