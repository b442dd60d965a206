"""RabbitMQ's PerfTest, fetched from Maven Central: the rate that its own client reaches."""

from __future__ import annotations

import asyncio
import re
import shutil
import statistics
import subprocess
from pathlib import Path

POM = Path(__file__).with_name("perf-test-pom.xml")
JARS = Path(__file__).parents[2] / ".cache" / "perf-test"
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
FETCH_S = 600
PREFETCH = 1000
ACK_EVERY = 500
OPEN_CONFIRMS = 2000
_RATE = re.compile(r"(sent|received): (\d+) msg/s")


def fetch() -> bool:
    """Whether it is there, after an attempt to get it."""
    maven = shutil.which("mvn")
    if not JARS.is_dir() and maven and shutil.which("java"):
        command = [maven, "--batch-mode", "--quiet", "--file", str(POM), COPY]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={JARS}"]
        subprocess.run(command, check=False, timeout=FETCH_S)
    return JARS.is_dir()


async def publish(uri: str, queue: str, size: int, headers: dict[str, str], seconds: int) -> float:
    """Messages a second that one producer gets confirmed."""
    properties = ",".join(f"{name}={value}" for name, value in headers.items())
    publisher = ["--producers", "1", "--consumers", "0", "--confirm", str(OPEN_CONFIRMS)]
    publisher += ["--size", str(size), "--flag", "persistent", "--message-properties", properties]
    return await _rate("sent", uri, queue, [*publisher, "--time", str(seconds)])


async def consume(uri: str, queue: str, seconds: int) -> float:
    """Messages a second that one consumer gets and acknowledges."""
    consumer = ["--producers", "0", "--consumers", "1", "--qos", str(PREFETCH)]
    consumer += ["--multi-ack-every", str(ACK_EVERY), "--time", str(seconds)]
    return await _rate("received", uri, queue, consumer)


async def _rate(what: str, uri: str, queue: str, how: list[str]) -> float:
    """The median of its seconds, but for the first, in which it warms up."""
    command = ["java", "-cp", f"{JARS}/*", "com.rabbitmq.perf.PerfTest", "--uri", uri.rstrip("/")]
    command += ["--predeclared", "--queue", queue, "--routing-key", queue, "--exchange", ""]
    process = await asyncio.create_subprocess_exec(
        *command, *how, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    said = (await process.communicate())[0].decode()
    rates = [int(rate) for kind, rate in _RATE.findall(said) if kind == what and int(rate)]
    if process.returncode or len(rates) < 2:
        raise RuntimeError(f"PerfTest gave no rates:\n{said[-2000:]}")
    return statistics.median(rates[1:])
