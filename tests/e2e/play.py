"""What the devices of an end-to-end test say, and what must come of it.

Some messages claim another device's thing (enforcement must refuse them), some have a level
that the target's filter does not let through. Both carry ``unwanted``, so that a collector
that sees one knows that it should not have.
"""

from __future__ import annotations

import json
import os
import random
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

NAMESPACE = "org.e2e"
FULL = os.environ.get("STREAMPROC_FULL") == "1"
MESSAGES = 100_000 if FULL else 6_000
THINGS = 1_000 if FULL else 200
FILTER = "gt(attributes/reading/level,10)"


class Said(NamedTuple):
    """One message: who says it, and what."""

    device: str
    body: bytes


@dataclass
class Play:
    """*count* messages of *things* things; the same seed says the same."""

    count: int = MESSAGES
    things: int = THINGS
    seed: int = 7
    zipf: float = 0.0  # of how often a thing speaks; 0: all alike

    def __post_init__(self) -> None:
        chance = random.Random(self.seed)
        weights = list(accumulate((n + 1) ** -self.zipf for n in range(self.things)))
        seqs = [0] * self.things
        self.said: list[Said] = []
        self.wanted = 0
        self.intruders = 0
        self.filtered = 0
        for number in range(self.count):
            if self.zipf:
                (thing,) = chance.choices(range(self.things), cum_weights=weights)
            else:
                thing = chance.randrange(self.things)
            fate = chance.random()
            if fate < 0.05:
                self.intruders += 1
                other = (thing + 1 + chance.randrange(self.things - 1)) % self.things
                self._say(thing, other, number, -1, 50, unwanted=True)
            elif fate < 0.25:
                self.filtered += 1
                self._say(thing, thing, number, -1, chance.randrange(11), unwanted=True)
            else:
                self.wanted += 1
                self._say(thing, thing, number, seqs[thing], 11 + chance.randrange(80))
                seqs[thing] += 1

    def _say(
        self, device: int, thing: int, number: int, seq: int, level: int, *, unwanted: bool = False
    ) -> None:
        value: dict[str, Any] = {
            "id": f"m-{number}",
            "device": f"{NAMESPACE}:thing-{thing}",
            "seq": seq,
            "level": level,
            "pad": "x" * 60,
        }
        if unwanted:
            value["unwanted"] = True
        body = {
            "topic": f"{NAMESPACE}/thing-{thing}/things/twin/commands/modify",
            "headers": {"correlation-id": f"c-{number}"},
            "path": "/attributes/reading",
            "value": value,
        }
        self.said.append(Said(f"{NAMESPACE}:thing-{device}", json.dumps(body).encode()))


class Arrivals:
    """What a collector has seen, held against the play."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.last: dict[str, int] = {}
        self.duplicated = 0
        self.out_of_order = 0
        self.unwanted = 0

    def note(self, body: bytes) -> None:
        value = json.loads(body)["value"]
        if value["id"] in self.ids:
            self.duplicated += 1
            return
        self.ids.add(value["id"])
        self.unwanted += "unwanted" in value
        if value["seq"] <= self.last.get(value["device"], -1):
            self.out_of_order += 1
        else:
            self.last[value["device"]] = value["seq"]

    def figures(self) -> dict[str, int]:
        return {
            "unique": len(self.ids),
            "duplicated": self.duplicated,
            "out_of_order": self.out_of_order,
            "forbidden": self.unwanted,
        }
