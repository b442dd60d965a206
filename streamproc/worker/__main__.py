"""``python -m streamproc.worker``: started by the master, not by hand."""

from __future__ import annotations

import argparse
import signal
import socket
import sys
from pathlib import Path

import uvloop

from streamproc.config.service import Log
from streamproc.control import EXIT_CONFIG
from streamproc.telemetry import events as tell
from streamproc.telemetry.slots import Block
from streamproc.worker.collector import collect_regularly, collect_seldom
from streamproc.worker.listeners import Listeners
from streamproc.worker.process import Worker


def main() -> int:
    parser = argparse.ArgumentParser(description="A worker process of streamproc.")
    parser.add_argument("--index", type=int, required=True)
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--fds-fd", type=int, required=True)
    parser.add_argument("--bus-fd", type=int, required=True)
    parser.add_argument("--bus-dir", type=Path, required=True)
    parser.add_argument("--metrics", type=Path, required=True)
    options = parser.parse_args()
    # A terminal's Ctrl-C reaches the whole process group; the master tells us what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        control = socket.socket(fileno=options.control_fd)
        bus = socket.socket(fileno=options.bus_fd)
        listeners = Listeners(socket.socket(fileno=options.fds_fd))
        block = Block.open(options.metrics)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"streamproc.worker: {error}; it is started by the master\n")
        return EXIT_CONFIG

    tell.configure(Log(), f"worker {options.index}")
    collect_seldom()

    async def run() -> int:
        collect_regularly()
        worker = Worker(options.index, options.bus_dir, block, listeners)
        return await worker.run(control, bus)

    return uvloop.run(run())


if __name__ == "__main__":
    sys.exit(main())
