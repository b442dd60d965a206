"""The other worker: ``python -m bench.bus.peer FOLDER``. Hosts the client until stdin closes."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop

from bench.bus.side import Side

INDEX = 1


async def serve(folder: Path) -> None:
    """Say ``ready`` and take what comes."""
    side = Side(INDEX, folder)
    side.host()
    await side.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    await reader.read()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1])))
