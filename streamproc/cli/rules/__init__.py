"""What ``streamproc explain`` shows: a table of sections, each a function that tells its rows.

To show more rules, write a function from ``About`` to rows and add it here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from streamproc.cli.rules.about import About, Row
from streamproc.cli.rules.endpoint import answers, breaker, concurrency, order, retry
from streamproc.cli.rules.place import inputs, outbound, placement, rest, subscriptions
from streamproc.cli.rules.storage import parking, settlement, spill, windows

SECTIONS: dict[str, Callable[[About], Iterator[Row]]] = {
    "placement": placement,
    "source": inputs,
    "settlement": settlement,
    "subscription": subscriptions,
    "order": order,
    "answer": answers,
    "retry": retry,
    "breaker": breaker,
    "concurrency": concurrency,
    "spill": spill,
    "parking": parking,
    "window": windows,
    "outbound": outbound,
    "option": rest,
}
