"""Kafka's jars: where they are, and how they come from Maven Central.

They are kept in the project's cache by the pom's content, so a new version is a new folder
and a half-done download is never seen.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from tests.brokers.broker import BrokerMissing

POM = Path(__file__).with_name("kafka-pom.xml")
CACHE = Path(__file__).parents[2] / ".cache" / "kafka"
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
OLDEST_JAVA = 17
DEADLINE = 600  # seconds, for some 50 MB


def jars(pom: Path = POM) -> Path:
    """The folder of what *pom* asks for, whether it is there or not."""
    return CACHE / hashlib.sha256(pom.read_bytes()).hexdigest()[:12]


@cache
def java() -> str:
    """The command, or nothing if there is none that Kafka runs on."""
    command = shutil.which("java")
    if command is None:
        return ""
    answer = subprocess.run([command, "-version"], capture_output=True, text=True, check=False)
    version = re.search(r'version "(\d+)', answer.stderr)
    return command if version and int(version[1]) >= OLDEST_JAVA else ""


def missing() -> str:
    """What is missing and how to get it, or nothing."""
    if not java():
        return f"Java >= {OLDEST_JAVA} is missing: install openjdk-17-jre-headless"
    if not jars().is_dir():
        return "Kafka's jars are missing: `make brokers` fetches them (needs Maven: mvn)"
    return ""


def fetch(pom: Path = POM) -> None:
    """Download what is not there yet. Raises BrokerMissing."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jars(pom).is_dir():
            _download(pom)


def _download(pom: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerMissing("Kafka's jars are missing, and so is Maven: install maven")
    into = Path(tempfile.mkdtemp(dir=CACHE))
    command = [maven, "--batch-mode", "--quiet", "--file", str(pom), COPY]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={into}"]
    try:
        subprocess.run(command, check=True, timeout=DEADLINE, stdin=subprocess.DEVNULL)
        into.chmod(0o755)
        into.rename(jars(pom))
    except (subprocess.SubprocessError, OSError) as error:
        raise BrokerMissing("Maven could not fetch Kafka's jars; it says why above") from error
    finally:
        shutil.rmtree(into, ignore_errors=True)
