"""The memory broker: queues by name inside this process, and a link to them that can be cut.

It behaves as a real broker does where tests look: what a session has not settled goes back,
in order, when the session ends; a cut ends all sessions; a full queue takes no more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from streamproc.errors import NotConnected, SignalError

QUEUE_MESSAGES = 100_000
REJECTED_MESSAGES = 10_000


class Item(NamedTuple):
    """A message in a queue."""

    payload: bytes
    headers: dict[str, str]
    key: str = ""
    place: int = 0  # in its queue's order; set by ``put``


class Queue:
    """Messages that wait, in order. ``rejected`` keeps the last ones that were refused."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: deque[Item] = deque()
        self.rejected: deque[tuple[Item, SignalError | None]] = deque(maxlen=REJECTED_MESSAGES)
        self.unsettled = 0
        self._places = 0

    @property
    def full(self) -> bool:
        """Whether it takes no more."""
        return len(self.waiting) >= QUEUE_MESSAGES

    def put(self, items: Iterable[Item]) -> None:
        """Append them."""
        for item in items:
            self.waiting.append(item._replace(place=self._places))
            self._places += 1

    def put_back(self, items: Iterable[Item]) -> None:
        """Put them where they were."""
        back = sorted(items, key=_place)
        last = back[-1].place if back else -1
        while self.waiting and self.waiting[0].place < last:
            back.append(self.waiting.popleft())
        back.sort(key=_place)
        self.waiting.extendleft(reversed(back))


def _place(item: Item) -> int:
    return item.place


class Memory:
    """All queues of the process, and the link that every session and writer uses."""

    def __init__(self) -> None:
        self.link_up = True
        self._queues: dict[str, Queue] = {}
        self._sleepers: set[asyncio.Future[None]] = set()
        self._watchers: set[Callable[[], None]] = set()

    def queue(self, name: str) -> Queue:
        """The queue called *name*; made when first asked for."""
        if (queue := self._queues.get(name)) is None:
            queue = self._queues[name] = Queue(name)
        return queue

    def drop(self, name: str) -> None:
        """Forget a queue and what is in it."""
        self._queues.pop(name, None)

    def put(self, name: str, items: Iterable[Item]) -> None:
        """Append *items*, as a producer would; a full queue is the caller's to check."""
        self.queue(name).put(items)
        self.wake()

    def cut(self) -> None:
        """End every session and refuse new ones, until ``mend``."""
        self.link_up = False
        for watcher in list(self._watchers):
            watcher()
        self.wake()

    def mend(self) -> None:
        """The link is back."""
        self.link_up = True

    def check(self) -> None:
        """Raise NotConnected while the link is cut."""
        if not self.link_up:
            raise NotConnected("the memory broker cannot be reached: its link is cut")

    def watch(self, watcher: Callable[[], None]) -> None:
        """Have *watcher* called when the link is cut."""
        self._watchers.add(watcher)

    def unwatch(self, watcher: Callable[[], None]) -> None:
        self._watchers.discard(watcher)

    async def change(self) -> None:
        """Wait until something may have arrived, or the link was cut."""
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.add(sleeper)
        try:
            await sleeper
        finally:
            self._sleepers.discard(sleeper)

    def wake(self) -> None:
        """End every ``change`` that waits."""
        for sleeper in self._sleepers:
            if not sleeper.done():
                sleeper.set_result(None)


class Session:
    """What one source has taken and not settled. Its end gives all of it back."""

    def __init__(self, memory: Memory, names: Iterable[str]) -> None:
        self.alive = True
        self._memory = memory
        self._queues = [memory.queue(name) for name in names]
        self._open: dict[int, tuple[Queue, Item]] = {}
        self._next = 0

    def take(self, most: int, most_bytes: int) -> tuple[list[Item], list[int]]:
        """Up to *most* messages, and bytes (one always), with their tokens."""
        items: list[Item] = []
        tokens: list[int] = []
        for queue in self._queues:
            while queue.waiting and len(items) < most:
                most_bytes -= len(queue.waiting[0].payload)
                if items and most_bytes < 0:
                    break
                item = queue.waiting.popleft()
                queue.unsettled += 1
                self._open[self._next] = (queue, item)
                items.append(item)
                tokens.append(self._next)
                self._next += 1
        return items, tokens

    def done(self, token: int) -> None:
        """Never send it again. Nothing if it is not open."""
        if entry := self._open.pop(token, None):
            entry[0].unsettled -= 1

    def reject(self, token: int, error: SignalError | None) -> None:
        """Refuse it, for good."""
        if entry := self._open.pop(token, None):
            entry[0].unsettled -= 1
            entry[0].rejected.append((entry[1], error))

    def give_back(self, tokens: Iterable[int]) -> None:
        """Put them where they were in their queues."""
        back: dict[str, tuple[Queue, list[Item]]] = {}
        for token in tokens:
            if entry := self._open.pop(token, None):
                queue, item = entry
                queue.unsettled -= 1
                back.setdefault(queue.name, (queue, []))[1].append(item)
        for queue, items in back.values():
            queue.put_back(items)
        self._memory.wake()

    def end(self) -> None:
        """Give everything back."""
        self.alive = False
        self.give_back(list(self._open))


MEMORY = Memory()
"""The broker of this process."""
