"""What a commit says beside its offset: which messages above it are done already.

It stands in the commit's metadata, as text: a version, the leader epoch of the newest message
read, a bitmap from the committed offset on, and a checksum over these and that offset. So what
others wrote there, or what belongs to another offset, is told from ours and is left alone.
"""

from __future__ import annotations

import re
import zlib
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Protocol

MOST_BYTES = 4096
"""What a broker takes as metadata, unless it is told otherwise."""

SPAN = 1 << 17
"""Offsets above the committed one that are looked at: twice what may be held back."""

RAW_BYTES = 3000
"""Longest bitmap written as it is, 24,000 offsets; a longer one is packed, or else cut."""

_MARK = "streamproc1:"
_SHAPE = re.compile(r"streamproc1:(-?\d{1,10}):([rz])([A-Za-z0-9+/]+=*):([0-9a-f]{8})")


class Position(Protocol):
    """Of a record: what it takes to know it again."""

    def offset(self) -> int: ...
    def key(self) -> bytes | None: ...
    def leader_epoch(self) -> int | None: ...


class Foreign(ValueError):
    """Metadata that is not ours, or damaged."""


class Finished:
    """Messages above a committed offset that were settled before, and need not come again.

    A message whose key has an unfinished message before it does come again: else that one
    would be the last word about its device, and was not. Without a key, all are one device's.
    What was written after the commit, by another leader, at offsets used once before, is new.
    """

    __slots__ = ("_repeated", "bits", "end", "epoch", "is_read", "position")

    def __init__(self, position: int, bits: bytes, epoch: int) -> None:
        self.position = position
        self.end = position + 8 * len(bits)
        self.is_read = False  # to its end: the messages that come now are all new
        self.bits = bytearray(bits)
        self.epoch = epoch
        self._repeated: set[bytes | None] = set()

    def __contains__(self, offset: int) -> bool:
        at = offset - self.position
        return 0 <= at < 8 * len(self.bits) and bool(self.bits[at >> 3] >> (at & 7) & 1)

    def wanted(self, messages: Sequence[Position]) -> list[bool]:
        """Which of *messages*, the next ones of the partition, are to be handed out.

        What is handed out is unfinished from now on.
        """
        wanted: list[bool] = []
        for message in messages:
            offset = message.offset()
            known = offset in self
            again = (
                not known
                or (message.leader_epoch() or 0) > self.epoch
                or message.key() in self._repeated
            )
            if again:
                self._repeated.add(message.key())
                if known:
                    at = offset - self.position
                    self.bits[at >> 3] &= ~(1 << (at & 7))
            wanted.append(again)
        self.is_read = messages[-1].offset() >= self.end - 1
        return wanted

    def merged(self, position: int, bits: bytes) -> bytes:
        """*bits* from *position* on, and those that are not read yet."""
        mine = int.from_bytes(self.bits, "little") >> (position - self.position)
        both = int.from_bytes(bits, "little") | mine
        return both.to_bytes((both.bit_length() + 7) // 8, "little")


def encode(position: int, bits: bytes, epoch: int) -> str:
    """*bits* as metadata of a commit of *position*; empty if there are none.

    What does not fit is left out at the far end: those messages come again.
    """
    if not bits:
        return ""
    kind, body = "r", bits
    if len(bits) > RAW_BYTES:
        packed = zlib.compress(bits, 1)
        kind, body = ("z", packed) if len(packed) <= RAW_BYTES else ("r", bits[:RAW_BYTES])
    text = f"{epoch}:{kind}{b64encode(body).decode()}"
    return f"{_MARK}{text}:{_checksum(position, text)}"


def decode(position: int, metadata: str | None) -> Finished | None:
    """What the metadata of a commit of *position* says. None if nothing. Raises Foreign."""
    if not metadata:
        return None
    found = _SHAPE.fullmatch(metadata[: 2 * MOST_BYTES])
    if found is None:
        raise Foreign("it is not ours")
    epoch, kind, body, checksum = found.groups()
    if _checksum(position, f"{epoch}:{kind}{body}") != checksum:
        raise Foreign("its checksum is wrong, or it belongs to another offset")
    try:
        bits = b64decode(body, validate=True)
        if kind == "z":
            bits = zlib.decompressobj().decompress(bits, SPAN // 8)
    except (ValueError, zlib.error) as error:
        raise Foreign(str(error)) from error
    return Finished(position, bits, int(epoch))


def _checksum(position: int, text: str) -> str:
    return f"{zlib.crc32(f'{position}:{text}'.encode()):08x}"
