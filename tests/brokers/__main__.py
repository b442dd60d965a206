"""``python -m tests.brokers``: get what Kafka needs, then say which brokers tests will use."""

from __future__ import annotations

import sys

from tests.brokers import available, jars
from tests.brokers.broker import BrokerMissing


def main() -> int:
    """1 if a broker is missing that must not be."""
    try:
        jars.fetch()
    except BrokerMissing as error:
        sys.stdout.write(f"{error}\n")
    for line in available.lines():
        sys.stdout.write(f"broker {line}\n")
    missing = any(broker.missing() for broker in available.BROKERS)
    return 1 if missing and available.required() else 0


if __name__ == "__main__":
    sys.exit(main())
