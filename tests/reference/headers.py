"""What ``streamproc.kernels.headers`` computes, slowly and obviously."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from streamproc.errors import SignalError
from streamproc.kernels.signal import Signal
from streamproc.lang.plan import Plan
from streamproc.protocol import headers as known
from tests.reference.sources import ascii_lower
from tests.reference.template import Template


class InboundMapping:
    def __init__(self, plans: Mapping[str, Plan]) -> None:
        self.templates = {name.lower(): Template(plan) for name, plan in plans.items()}
        self.ignored = tuple(name for name in plans if name.lower() in known.REFUSED)

    def apply(
        self,
        raw_headers: Sequence[Mapping[str, str]],
        signals: Sequence[Signal],
        now: datetime | None = None,
    ) -> list[SignalError | None]:
        return [
            self._apply(raw, signal, now) for raw, signal in zip(raw_headers, signals, strict=True)
        ]

    def _apply(self, raw: Any, signal: Signal, now: datetime | None) -> SignalError | None:
        mapped: dict[str, str] = {}
        for name, template in self.templates.items():
            if name in known.REFUSED or name in signal.headers:
                continue
            value = template.first([raw], [signal], now)[0]
            if isinstance(value, SignalError):
                return value
            if value is None:
                continue
            if template.constant is None and not is_clean(value):
                return SignalError("header.invalid", "")
            try:
                mapped[name] = known.normal(name, value)
            except SignalError as error:
                return error
        signal.headers = {**mapped, **signal.headers}
        return None


class OutboundMapping:
    def __init__(self, plans: Mapping[str, Plan]) -> None:
        last = {name.lower(): name for name in plans}
        self.templates = {name: Template(plans[name]) for name in last.values()}

    def apply(
        self,
        message_headers: Sequence[Mapping[str, str]],
        signals: Sequence[Signal],
        now: datetime | None = None,
    ) -> list[dict[str, str] | SignalError]:
        return [
            self._apply(dict(message), signal, now)
            for message, signal in zip(message_headers, signals, strict=True)
        ]

    def _apply(
        self, headers: dict[str, str], signal: Signal, now: datetime | None
    ) -> dict[str, str] | SignalError:
        own = dict(headers)
        if not all(is_clean(text) for pair in headers.items() for text in pair):
            return SignalError("header.invalid", "")
        for name, template in self.templates.items():
            value = template.first([signal.headers], [signal], now)[0]
            if isinstance(value, SignalError):
                return value
            if value is None:
                continue
            if not is_clean(value):
                return SignalError("header.invalid", "")
            if name not in own:
                for key in own:
                    if ascii_lower(key) == ascii_lower(name):
                        headers.pop(key, None)
            headers[name] = value
        return headers


def is_clean(text: str) -> bool:
    return not any(character in text for character in "\r\n\0")
