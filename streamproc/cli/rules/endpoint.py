"""How deliveries leave: order, what answers mean, retries, breaker, concurrency."""

from __future__ import annotations

from collections.abc import Iterator

from streamproc.cli.rules.about import About, Row
from streamproc.config.statuses import LAST, Meaning, meanings
from streamproc.connectors import CONNECTORS
from streamproc.connectors.base import Can, Ways


def order(about: About) -> Iterator[Row]:
    """How messages of one thing stand to each other."""
    if not about.connection.targets:
        return
    if isinstance(about.options, Ways):
        ordered, pipelined = about.options.ordered, about.options.pipelined
        about.told.add("ordering")
        given = "connection" if "ordering" in about.connection.specific_config else "default"
    else:
        ordered = True
        pipelined = Can.PIPELINE in CONNECTORS[about.connection.connection_type].can
        given = "default"
    if not ordered:
        value = "none: each message leaves as soon as it can"
    elif pipelined:
        value = "by thing; several of a thing may be on their way, the target keeps their order"
    else:
        value = "by thing: one on its way, those behind it wait; other things go beside it"
    yield Row("messages", value, "connection" if given == "connection" else "default")
    if hasattr(about.options, "batch"):
        yield about.of_connection("batch", "batching")


def answers(about: About) -> Iterator[Row]:
    """What the statuses of an endpoint mean, all of them resolved."""
    options = about.endpoint
    if options is None:
        return
    table = meanings(options.statuses)

    def of(meaning: Meaning, option: str, rule: str) -> Row:
        row = about.of_connection(option, rule)
        return row._replace(value=_ranges([s for s, m in table.items() if m == meaning]))

    yield of("success", "success_status", "delivered after")
    yield of("retry", "retry_status", "tried again after")
    yield of("permanent", "permanent_status", "parked at once after")
    yield of("stop", "stop_status", "nothing more is sent after")
    doubt = about.of_connection("retry_in_doubt", "no answer, broken connection")
    value = "tried again; the endpoint may get it twice"
    if not options.retry_in_doubt:
        value = "tried again if idempotent (not POST, PATCH without idempotency-key), else parked"
    yield doubt._replace(value=value)
    yield Row("connection refused, not resolved", "link opened again; all waits", "default")
    if hasattr(options, "idle_timeout"):
        yield about.of_connection("idle_timeout", "deadline of one request")


def retry(about: About) -> Iterator[Row]:
    """When, how often and for how long a delivery is tried."""
    if not about.connection.targets:
        return
    yield about.of_both("retry", "first_delay_s", "back-off, first: a random time up to", " s")
    yield about.of_both("retry", "max_delay_s", "back-off, doubled each time up to", " s")
    yield about.of_both("retry", "max_attempts", "attempts before parking", " attempts")
    yield about.of_both("retry", "max_age_s", "deadline per message before parking", " s")
    if about.endpoint is None:
        return
    yield about.of_both("retry", "max_retry_after_s", "Retry-After kept, up to", " s")
    yield Row("Retry-After holds", "all requests of the client", "default")
    yield about.of_both("retry", "budget_ratio", "failed retries allowed per delivery taken")
    yield about.of_both("retry", "budget_per_s", "failed retries allowed beside these", " a second")
    yield Row("kept connection closed unread", "sent once more, not counted", "default")


def breaker(about: About) -> Iterator[Row]:
    """When an endpoint is left alone."""
    if about.endpoint is None:
        return
    yield about.of_both("breaker", "mode", "breaker")
    yield about.of_both("breaker", "failure_ratio", "opens when this share fails")
    yield about.of_both("breaker", "min_requests", "of at least", " deliveries")
    yield about.of_both("breaker", "window_s", "within", " s")
    yield about.of_both("breaker", "first_open_s", "first wait, halved at most by chance", " s")
    yield about.of_both("breaker", "max_open_s", "waits double up to", " s")
    yield about.of_both("breaker", "probes", "probes that must succeed")


def concurrency(about: About) -> Iterator[Row]:
    """How much goes at once, and how fast."""
    options = about.endpoint
    if options is None:
        return
    if hasattr(options, "parallelism"):
        yield about.of_connection("parallelism", "requests at once, per client")
    yield about.of_connection("adaptive", "adaptive concurrency below that")
    rate = about.of_connection("max_rate", "rate limit", " messages a second")
    clients = about.connection.client_count
    if options.max_rate is not None and clients > 1:
        rate = rate._replace(value=f"{rate.value}, {options.max_rate / clients:g} a client")
    yield rate
    slow = "one request, then twice as many with each round"
    yield Row("after a stop, a hold, a loss", slow, "default")


def _ranges(statuses: list[int]) -> str:
    """``200-299, 409``."""
    found: list[str] = []
    index = 0
    while index < len(statuses):
        first = last = statuses[index]
        while last < LAST and index + 1 < len(statuses) and statuses[index + 1] == last + 1:
            index += 1
            last = statuses[index]
        found.append(str(first) if first == last else f"{first}-{last}")
        index += 1
    return ", ".join(found) or "none"
