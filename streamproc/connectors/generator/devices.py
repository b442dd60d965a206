"""What the devices say: Ditto-protocol modify commands, from a seed.

Each value carries ``id`` (unique within a run), ``device`` (who speaks) and ``seq`` (the
device's count, from 0, without gaps), so that whoever receives them can tell what was lost,
doubled or reordered. An intruder's message claims another device's thing and counts for
nobody.
"""

from __future__ import annotations

import random
from itertools import accumulate

from streamproc.connectors.generator.config import GeneratorOptions

CONTENT_TYPE = "application/vnd.eclipse.ditto+json"
TEMPERATURES = 4096
PAD = ',"pad":""'


class Devices:
    """Part *part* of *parts* of the devices: no two parts speak for the same thing.

    The same options and part say the same, however it is asked for: each kind of chance has
    a generator of its own.
    """

    def __init__(self, options: GeneratorOptions, *, part: int, parts: int) -> None:
        self._options = options
        self._part = part
        count = options.devices
        self._mine = list(range(part, count, parts))
        self._names = [f"device-{number}" for number in range(count)]
        self._ids = [f"{options.namespace}:{name}" for name in self._names]
        self._seqs = [0] * count
        self._next = 0
        weights = [1.0 / (rank + 1) ** options.zipf for rank in range(len(self._mine))]
        self._weights = list(accumulate(weights))
        self._who = self._chance("who")
        self._whom = self._chance("whom")
        self._intrusion = self._chance("intrusion")
        numbers = self._chance("temperature")
        self._temperatures = [f"{numbers.gauss(20.0, 5.0):.1f}" for _ in range(TEMPERATURES)]

    @property
    def silent(self) -> bool:
        """Whether this part has no device: there are more parts than devices."""
        return not self._mine

    def speak(self, count: int, most_bytes: int) -> tuple[list[bytes], list[dict[str, str]]]:
        """The next *count* messages, or fewer when *most_bytes* are reached; one at least."""
        payloads: list[bytes] = []
        headers: list[dict[str, str]] = []
        who = self._who
        for _ in range(count):
            speaker = who.choices(self._mine, cum_weights=self._weights)[0]
            payload = self._say(speaker)
            payloads.append(payload)
            headers.append({"content-type": CONTENT_TYPE, "device_id": self._ids[speaker]})
            most_bytes -= len(payload)
            if most_bytes <= 0:
                break
        return payloads, headers

    def _say(self, speaker: int) -> bytes:
        intruders = self._options.intruders
        thing, seq, extra = speaker, self._seqs[speaker], ""
        if intruders and self._intrusion.random() < intruders and len(self._names) > 1:
            thing = self._victim(speaker)
            seq, extra = -1, ',"intruder":true'
        else:
            self._seqs[speaker] = seq + 1
        number = self._next
        self._next += 1
        temperature = self._temperatures[number % TEMPERATURES]
        path = "/attributes/reading" if number % 2 else "/features/meter/properties"
        name = f"{self._part}-{number}"
        head = (
            f'{{"topic":"{self._options.namespace}/{self._names[thing]}/things/twin/commands/modify"'
            f',"headers":{{"correlation-id":"{name}"}},"path":"{path}","value":{{"id":"{name}"'
            f',"device":"{self._ids[speaker]}","seq":{seq},"temperature":{temperature}{extra}'
        )
        missing = self._options.payload_bytes - len(head) - len("}}")
        if missing > 0:
            head += f',"pad":"{"x" * max(0, missing - len(PAD))}"'
        return f"{head}}}}}".encode()

    def _victim(self, speaker: int) -> int:
        other = self._whom.randrange(len(self._names) - 1)
        return other + 1 if other >= speaker else other

    def _chance(self, what: str) -> random.Random:
        return random.Random(f"{self._options.seed}/{self._part}/{what}")  # noqa: S311 - a play
