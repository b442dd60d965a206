"""Runs the receiver as a process: prints its address when it listens, ends on SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import ssl
import sys
from pathlib import Path

import orjson
import uvloop

from streamproc.receiver.ledger import Ledger
from streamproc.receiver.server import Receiver

BACKLOG = 4096
POINTER = "JSON pointer into a body"


def main(argv: list[str] | None = None) -> int:
    """Serve until told to stop."""
    options = _parser().parse_args(argv)
    return uvloop.run(_serve(options))


async def _serve(options: argparse.Namespace) -> int:
    ledger = Ledger(name=options.id, key=options.key, seq=options.seq, forbidden=options.forbidden)
    receiver = Receiver(ledger)
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    watching = await _watch_stdin(over) if options.until_eof else None
    context = None
    if options.certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options.certificate)
    server = await loop.create_server(
        receiver.connection, options.host, options.port, backlog=BACKLOG, ssl=context
    )
    port = server.sockets[0].getsockname()[1]
    scheme = "https" if context else "http"
    sys.stdout.write(f"receiver listens on {scheme}://{options.host}:{port}\n")
    sys.stdout.flush()
    await over.wait()
    server.close()
    if watching is not None:
        watching.cancel()
    if options.report is not None:
        _write(options.report, orjson.dumps(receiver.figures(), option=orjson.OPT_INDENT_2))
    return 0


def _write(path: Path, content: bytes) -> None:
    """Whoever waits for the file never sees half of it."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.write_bytes(content)
    part.replace(path)


async def _watch_stdin(over: asyncio.Event) -> asyncio.Task[None]:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def wait() -> None:
        while await reader.read(1024):
            pass
        over.set()

    return loop.create_task(wait())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m streamproc.receiver",
        description="Takes HTTP pushes and keeps a ledger: GET /ledger shows it, POST /reset "
        "clears it, POST /behaviour makes it answer late or badly. Groups are the first "
        "segments of the paths.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port; 0 takes a free one")
    parser.add_argument("--id", default="/value/id", help=f"{POINTER}: what tells messages apart")
    parser.add_argument("--key", default="/value/device", help=f"{POINTER}: what keeps order")
    parser.add_argument("--seq", default="/value/seq", help=f"{POINTER}: number within the key")
    parser.add_argument("--forbidden", default="", help=f"{POINTER}: what must not be there")
    parser.add_argument("--report", type=Path, help="file for the ledger at the end")
    parser.add_argument("--certificate", type=Path, help="PEM with key and certificate: TLS")
    parser.add_argument("--until-eof", action="store_true", help="end when stdin closes, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
