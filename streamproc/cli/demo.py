"""``streamproc demo``: devices, service and receiver, live rates, and books that balance."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType

from streamproc import demo
from streamproc.config.duration import seconds
from streamproc.demo import books
from streamproc.demo.processes import DemoError, ReceiverProcess, ServiceProcess
from streamproc.demo.view import View

QUICKSTART = Path(demo.__file__).with_name("quickstart.yaml")
LONG_PATH = 50
"""A temporary folder with a longer name has no room for the paths of sockets in it."""

DRAIN_S = 90.0
"""Longest wait for the service to end; its own deadline for draining is shorter."""


def main(argv: list[str]) -> int:
    """-> 0 when the ledger balances, 1 when not, 2 when the demo could not run."""
    options = _parser().parse_args(argv)
    stop = threading.Event()
    previous = {
        number: signal.signal(number, _stopper(stop)) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        place = "/tmp" if len(tempfile.gettempdir()) > LONG_PATH else None  # noqa: S108 - made private
        with tempfile.TemporaryDirectory(prefix="streamproc-demo-", dir=place) as folder:
            return _run(options, Path(folder), stop)
    except DemoError as error:
        print(f"streamproc demo: {error}", file=sys.stderr)
        return 2
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _run(options: argparse.Namespace, folder: Path, stop: threading.Event) -> int:
    view = View(sys.stdout)
    config = options.config
    if config is None:
        # A copy, so that what the service writes beside its file is in our folder.
        config = Path(shutil.copy(QUICKSTART, folder))
    receiver = ReceiverProcess()
    try:
        service = ServiceProcess(config, options.workers, folder, receiver.port)
        try:
            _introduce(view, options, service, receiver)
            _watch(view, options.duration, service, stop)
            view.say("stopping: intake is closed, what is in flight is delivered")
            service.stop()
            code = service.ended(DRAIN_S)
            ledger = books.Ledger(books.service(service.readers), receiver.ledger())
            return _close_books(view, ledger, service, code)
        finally:
            service.kill()
    finally:
        receiver.close()


def _introduce(
    view: View, options: argparse.Namespace, service: ServiceProcess, receiver: ReceiverProcess
) -> None:
    view.say(f"configuration  {options.config or QUICKSTART}")
    view.say(f"service        {options.workers} workers; log: {service.log}")
    view.say(f"metrics        http://{service.management}/metrics")
    view.say(f"status         http://{service.management}/status")
    view.say(f"receiver       {receiver.uri}/ledger")
    view.say("Ctrl-C stops it and prints the ledger")


def _watch(
    view: View, duration_s: float | None, service: ServiceProcess, stop: threading.Event
) -> None:
    """Show rates until it is time to stop."""
    began = time.monotonic()
    ends = began + duration_s if duration_s is not None else float("inf")
    turn = 0
    while not stop.is_set() and (now := time.monotonic()) < ends:
        if not service.running:
            raise DemoError(f"the service ended by itself:\n{service.last_words()}")
        view.show(now, books.service(service.readers))
        turn += 1
        stop.wait(min(ends, began + turn * view.every_s) - time.monotonic())


def _close_books(
    view: View, ledger: books.Ledger, service: ServiceProcess, code: int | None
) -> int:
    view.say("")
    width = max(len(name) for name, _ in ledger.lines())
    for name, number in ledger.lines():
        view.say(f"{name:{width}}  {number}")
    problems = ledger.problems()
    if code is None:
        problems.append(f"the service did not end within {DRAIN_S:.0f} s")
    elif code:
        problems.append(f"the service ended with exit code {code}:\n{service.last_words()}")
    view.say("")
    for problem in problems:
        view.say(f"does not balance: {problem}")
    if not problems:
        view.say("balanced: everything due was delivered, in order")
    return 1 if problems else 0


def _stopper(stop: threading.Event) -> signal.Handlers:
    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt  # a second one: at once
        stop.set()

    return handle  # type: ignore[return-value]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="streamproc demo",
        description="Play devices through a whole service into a receiver, show how fast it "
        "goes, and at the end compare what was sent with what arrived.",
    )
    parser.add_argument(
        "--for",
        dest="duration",
        type=_duration,
        metavar="TIME",
        help="how long, such as 20s; default: until Ctrl-C",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"instead of {QUICKSTART.name}")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="default: 2")
    return parser


def _duration(text: str) -> float:
    found = seconds(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 20s or 2m")
    return found
