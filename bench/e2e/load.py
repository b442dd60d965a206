"""What the devices of the bench have said: a seeded load of few loud things and many quiet ones.

A small share of the messages must not arrive (a device that speaks for another, a level that
the filter does not let through) and carries ``unwanted``: a broken check would be fast.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate

NAMESPACE = "org.bench"
FILTER = "and(gt(attributes/reading/level,10),lt(attributes/reading/level,1000))"
TOO_LOW, WANTED = (0, 10), (11, 99)  # levels
PAD = ',"pad":""}}'
BLOCK = 10_000  # messages whose chances are drawn together

Message = tuple[bytes, bytes, list[tuple[str, bytes]]]  # key, payload, headers


@dataclass
class Load:
    """*messages* of *things*, *size* bytes each; the same seed says the same."""

    messages: int = 200_000
    things: int = 1_000
    size: int = 256
    zipf: float = 1.0  # exponent of the things' popularity; 0: all alike
    unwanted: float = 0.02  # share: half of them intruders, half below the filter's level
    seed: int = 1
    intruders: int = field(default=0, init=False)
    filtered: int = field(default=0, init=False)

    @property
    def wanted(self) -> int:
        """How many must arrive; known when ``said`` has run through."""
        return self.messages - self.intruders - self.filtered

    def said(self) -> Iterator[Message]:
        """Every message, in order. A thing's sequence numbers have no gaps."""
        self.intruders = self.filtered = 0
        chance = random.Random(self.seed)
        weights = list(accumulate((rank + 1) ** -self.zipf for rank in range(self.things)))
        names = range(self.things)
        seqs = [0] * self.things
        for first in range(0, self.messages, BLOCK):
            count = min(BLOCK, self.messages - first)
            speakers = chance.choices(names, cum_weights=weights, k=count)
            for number, thing in enumerate(speakers, first):
                fate = chance.random()
                if fate >= self.unwanted:
                    level = chance.randint(*WANTED)
                    yield self._message(number, thing, thing, seqs[thing], level)
                    seqs[thing] += 1
                elif fate < self.unwanted / 2 and self.things > 1:
                    self.intruders += 1
                    other = (thing + chance.randrange(1, self.things)) % self.things
                    yield self._message(number, thing, other, -1, 50, unwanted=True)
                else:
                    self.filtered += 1
                    level = chance.randint(*TOO_LOW)
                    yield self._message(number, thing, thing, -1, level, unwanted=True)

    def _message(
        self, number: int, speaker: int, thing: int, seq: int, level: int, *, unwanted: bool = False
    ) -> Message:
        device = f"{NAMESPACE}:thing-{speaker}".encode()
        head = (
            f'{{"topic":"{NAMESPACE}/thing-{thing}/things/twin/commands/modify","headers":'
            f'{{"correlation-id":"m-{number}"}},"path":"/attributes/reading","value":{{"id":'
            f'"m-{number}","device":"thing-{thing}","seq":{seq},"level":{level}'
        )
        if unwanted:
            head += ',"unwanted":true'
        pad = "x" * max(0, self.size - len(head) - len(PAD))
        return device, f'{head},"pad":"{pad}"}}}}'.encode(), [("device_id", device)]
