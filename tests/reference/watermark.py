"""What ``streamproc.kernels.watermark`` computes, slowly and obviously."""

from __future__ import annotations


class Watermark:
    def __init__(self, first: int, limit: int = 1 << 20) -> None:
        if limit < 1:
            raise ValueError(f"limit is at least 1, not {limit}")
        self.position = first
        self.limit = limit
        self._last = first - 1
        self._kept: dict[int, bool] = {}  # offset -> done; ascending

    @property
    def oldest(self) -> int | None:
        return next(iter(self._kept), None)

    @property
    def window(self) -> int:
        return len(self._kept)

    @property
    def open(self) -> int:
        return sum(not done for done in self._kept.values())

    @property
    def gap(self) -> int:
        return self.window - self.open

    def add(self, offsets: list[int]) -> None:
        if self.window + len(offsets) > self.limit:
            raise OverflowError(
                f"{self.window} offsets are kept and {len(offsets)} more come; at most {self.limit}"
            )
        last = self._last
        for offset in offsets:
            if offset <= last:
                raise ValueError(f"offset {offset} comes after {last}")
            last = offset
        self._last = last
        self._kept |= dict.fromkeys(offsets, False)

    def done(self, offsets: list[int]) -> int | None:
        before = self.window
        for offset in offsets:
            if offset in self._kept:
                self._kept[offset] = True
        for offset, done in list(self._kept.items()):
            if not done:
                break
            self.position = offset + 1
            del self._kept[offset]
        return self.position if self.window < before else None

    def snapshot(self, most: int) -> tuple[int, bytes]:
        done = [at - self.position for at, is_done in self._kept.items() if is_done]
        bits = sum(1 << at for at in done if at < most)
        return self.position, bits.to_bytes((bits.bit_length() + 7) // 8, "little")

    def __repr__(self) -> str:
        return f"<Watermark {self.position}, {self.open} open, {self.gap} held back>"
