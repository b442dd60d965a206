"""CPU by stage: stands between the parts of the data path and counts what each call took.

A stage's time is its own: what it spends in another stage is that one's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import thread_time_ns
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from streamproc.twin import stateless
from streamproc.worker import flow, routes

REST = "flow itself"
# Functions and classes by the names under which the data path calls them.
FUNCTIONS = ((flow, "encode"), (flow, "deliveries"))
CLASSES = (
    (routes, "Filter", "filter"),
    (routes, "Template", "address"),
    (routes, "OutboundMapping", "target headers"),
)


LOOKS = 2_000


def clock_ns() -> float:
    """CPU that one look at the clock costs."""
    begun = thread_time_ns()
    for _ in range(LOOKS):
        thread_time_ns()
    return (thread_time_ns() - begun) / LOOKS


class Watch:
    """Counts nanoseconds by stage, from ``reset`` on."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, int] = defaultdict(int)
        self._inner = 0  # of the stages that the running one has called

    def reset(self) -> None:
        self.spent.clear()
        self._inner = 0

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """*function*, counted under *stage*."""

        def run(*args: Any) -> Any:
            before, self._inner = self._inner, 0
            begun = thread_time_ns()
            try:
                return function(*args)
            finally:
                took = thread_time_ns() - begun
                self.spent[stage] += took - self._inner
                self._inner = before + took

        return run

    def around(self, part: object, name: str = "") -> Any:
        """Stands in *part*'s place: each of its methods is a stage."""
        return _Between(self, part, name or type(part).__name__.lower())

    @contextmanager
    def inside(self) -> Iterator[None]:
        """While a road is built and runs: between the modules, too."""
        with ExitStack() as stack:
            for module, name in FUNCTIONS:
                timed = self.timed(name, getattr(module, name))
                stack.enter_context(patch.object(module, name, timed))
            twin = SimpleNamespace(to_events=self.timed("to events", stateless.to_events))
            stack.enter_context(patch.object(flow, "stateless", twin))
            for module, name, stage in CLASSES:
                make = self._maker(getattr(module, name), stage)
                stack.enter_context(patch.object(module, name, make))
            yield

    def _maker(self, kind: Any, stage: str) -> Callable[..., Any]:
        return lambda *args: self.around(kind(*args), stage)


class _Between:
    """Passes everything on. Methods are bound once, as the data path binds nothing anew."""

    def __init__(self, watch: Watch, part: object, name: str) -> None:
        self.__part = part
        self.__watch = watch
        self.__name = name

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(self.__part, attribute)
        if not callable(found):
            return found
        stage = f"{self.__name}.{attribute}"
        if attribute == "allowed":  # (signals, subjects, permission)
            timed = {
                permission: self.__watch.timed(f"{self.__name} {permission}", found)
                for permission in ("READ", "WRITE")
            }
            bound: Callable[..., Any] = lambda *args: timed[args[2]](*args)  # noqa: E731
        else:
            bound = self.__watch.timed(stage, found)
        self.__dict__[attribute] = bound
        return bound
