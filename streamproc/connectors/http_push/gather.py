"""Which messages travel together: those that wait, by thing and by request.

A *chain* is what waits of one ordering key, oldest first. A *group* is what goes to one request
line with the same headers. While a batch has messages of a chain, no other batch may have: two
requests on two connections keep no order. Nothing here does I/O or knows the time.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Hashable, Iterable
from typing import NamedTuple

from streamproc.kernels.delivery import Delivery


class Group:
    """What may share a request."""

    __slots__ = ("alone", "chains", "count", "headers", "members", "name", "ready", "size", "timed")

    def __init__(self, name: Hashable, alone: bool) -> None:
        self.name = name
        self.alone = alone  # each message has a request of its own
        self.headers: dict[str, str] | None = None  # of its requests, once they are known
        self.chains: deque[_Chain] = deque()  # those that may go, longest here first
        self.count = 0  # messages that may go; of a chain never more than a batch holds
        self.size = 0  # their bytes
        self.members = 0  # all messages, also those that wait behind others
        self.ready = False  # in the queue of groups whose batch may be made
        self.timed = False  # in the heap of groups that wait for more


class Member(NamedTuple):
    """A message that waits."""

    delivery: Delivery
    payload: bytes  # as it stands in a batch
    chain: Hashable
    group: Group
    since: float


class _Chain:
    __slots__ = ("busy", "members", "name", "run", "run_size")

    def __init__(self, name: Hashable) -> None:
        self.name = name
        self.members: deque[Member] = deque()
        self.busy = False  # a batch that was taken has some of it
        self.run = 0  # members at the head that are of one group, as far as counted there
        self.run_size = 0


class Gather:
    """``put`` messages, ``take`` batches, say ``done`` or ``fail`` of each chain that was in one.

    ``max_bytes`` bounds a batch, where each message costs its length and one more; one that is
    larger goes alone. ``delay_s``: how long one that may go waits for others.
    """

    def __init__(self, *, max_messages: int, max_bytes: int, delay_s: float) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._delay_s = delay_s
        self._chains: dict[Hashable, _Chain] = {}
        self._groups: dict[Hashable, Group] = {}
        self._ready: deque[Group] = deque()
        self._timed: list[tuple[float, int, Group]] = []  # heap: when, tie-break
        self._count = 0

    def group(self, name: Hashable, *, alone: bool) -> Group:
        """The group called *name*, for ``put``, which must follow."""
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = Group(name, alone)
        return group

    def put(self, member: Member) -> None:
        """Let it wait, behind what waits of its chain."""
        chain = self._chains.get(member.chain)
        if chain is None:
            chain = self._chains[member.chain] = _Chain(member.chain)
        group = member.group
        group.members += 1
        waiting = len(chain.members)
        chain.members.append(member)
        if chain.busy:
            return
        if not waiting:
            self._join(chain)
        elif waiting == chain.run < self._max_messages and chain.members[0].group is group:
            self._count_in(chain, member)
        else:
            return
        self._schedule(group, member.since)

    def look(self, now: float) -> None:
        """Notice who has waited for others long enough."""
        while self._timed and self._timed[0][0] <= now:
            _, _, group = heapq.heappop(self._timed)
            group.timed = False
            self._schedule(group, now)

    @property
    def next_look(self) -> float | None:
        """When ``look`` may find something."""
        return self._timed[0][0] if self._timed else None

    def take(self, now: float) -> list[Member]:
        """The messages of one batch, or none. Their chains are busy from now on."""
        while self._ready:
            group = self._ready.popleft()
            group.ready = False
            if group.chains:
                batch = self._batch(group)
                self._schedule(group, now)
                return batch
        return []

    def done(self, names: Iterable[Hashable], now: float) -> None:
        """What follows in these chains may go."""
        for name in names:
            chain = self._chains[name]
            chain.busy = False
            if chain.members:
                self._join(chain)
                self._schedule(chain.members[0].group, now)
            else:
                del self._chains[name]

    def fail(self, names: Iterable[Hashable]) -> list[Member]:
        """Forget these busy chains. -> what waited there, of each in order"""
        out: list[Member] = []
        for name in names:
            out += self._chains.pop(name).members
        self._forget(out)
        return out

    def clear(self) -> list[Member]:
        """Everything that waits, of each chain in order. Busy chains stay busy."""
        out: list[Member] = []
        for chain in list(self._chains.values()):
            out += chain.members
            chain.members.clear()
            chain.run = chain.run_size = 0
            if not chain.busy:
                del self._chains[chain.name]
        for member in out:
            group = member.group
            group.chains.clear()
            group.count = group.size = 0
        self._forget(out)
        return out

    def _join(self, chain: _Chain) -> None:
        """Its head may go, with those behind it that are of the same group."""
        group = chain.members[0].group
        chain.run = chain.run_size = 0
        group.chains.append(chain)
        for member in chain.members:
            if member.group is not group or chain.run == self._max_messages:
                break
            self._count_in(chain, member)

    def _count_in(self, chain: _Chain, member: Member) -> None:
        cost = len(member.payload) + 1
        chain.run += 1
        chain.run_size += cost
        member.group.count += 1
        member.group.size += cost

    def _schedule(self, group: Group, now: float) -> None:
        """See to it that the group goes when it is full, or its oldest has waited enough."""
        if group.ready or not group.chains:
            return
        due = group.chains[0].members[0].since + self._delay_s
        full = group.count >= self._max_messages or group.size >= self._max_bytes
        if full or group.alone or due <= now:
            group.ready = True
            self._ready.append(group)
        elif not group.timed:
            group.timed = True
            self._count += 1
            heapq.heappush(self._timed, (due, self._count, group))

    def _batch(self, group: Group) -> list[Member]:
        batch: list[Member] = []
        most = 1 if group.alone else self._max_messages
        room = self._max_bytes
        while group.chains and len(batch) < most:
            chain = group.chains[0]
            if batch and len(chain.members[0].payload) >= room:
                break
            if chain.run > most - len(batch) and 2 * len(batch) >= most:
                break  # cut short, a loud thing would get less than half of what it can have
            group.chains.popleft()
            group.count -= chain.run
            group.size -= chain.run_size
            chain.busy = True
            while chain.run and len(batch) < most:
                cost = len(chain.members[0].payload) + 1
                if batch and cost > room:
                    break
                batch.append(chain.members.popleft())
                chain.run -= 1
                room -= cost
            chain.run = chain.run_size = 0
        self._forget(batch)
        return batch

    def _forget(self, members: Iterable[Member]) -> None:
        """They wait no longer."""
        for member in members:
            group = member.group
            group.members -= 1
            if not group.members:
                self._groups.pop(group.name, None)
