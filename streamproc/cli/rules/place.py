"""Where a connection runs, what comes in, what it is sent, and what it may reach."""

from __future__ import annotations

from collections.abc import Iterator

from streamproc.cli.rules.about import About, Origin, Row, worded


def placement(about: About) -> Iterator[Row]:
    """Which processes run it."""
    connection = about.connection
    state = f"{connection.connection_status}: " + (
        "it runs" if connection.connection_status == "open" else "it does not run"
    )
    yield about.field("connection_status", "state")._replace(value=state)
    yield about.field("client_count", "clients")
    workers: Origin = "service" if "workers" in about.raw else "default"
    spread = f"{about.service.workers} workers; each client lives in one of them"
    yield Row("spread over", spread, workers)
    if connection.targets and connection.client_count > 1:
        yield Row("a thing's messages go to", "one client, by hash of the thing's id", "default")
    yield about.of_service("supervision", "drain_s", "drained before it moves, up to", " s")


def inputs(about: About) -> Iterator[Row]:
    """What its sources read, as whom, and what they check."""
    for index, source in enumerate(about.connection.sources):
        name = f"source {index}"
        shown = about.shown["sources"][index]
        yield Row(f"{name} reads", worded(shown["addresses"]), "connection")
        count = source.consumer_count
        more: Origin = "default" if count == 1 else "connection"
        yield Row(f"{name} consumers", str(count), more)
        if source.header_mapping:
            yield Row(f"{name} sets headers", worded(sorted(source.header_mapping)), "connection")
        if source.payload_mapping:
            yield Row(f"{name} mappers", worded(source.payload_mapping), "connection")
        subjects = worded(source.authorization_context)
        yield Row(f"{name} acts as", subjects, "connection")
        if source.enforcement is None:
            yield Row(f"{name} enforcement", "none: a device may name any thing", "default")
        else:
            filters = " or ".join(source.enforcement.filters)
            rule = f"{source.enforcement.input} must be {filters}"
            yield Row(f"{name} enforcement", rule, "connection")


def subscriptions(about: About) -> Iterator[Row]:
    """What its targets are sent, and where that goes."""
    for index, target in enumerate(about.connection.targets):
        name = f"target {index}"
        shown = about.shown["targets"][index]
        yield Row(f"{name} address", worded(shown["address"]), "connection")
        for topic in target.topics:
            yield Row(f"{name} gets", topic, "connection")
        if target.header_mapping:
            yield Row(f"{name} sets headers", worded(sorted(target.header_mapping)), "connection")
        if target.payload_mapping:
            yield Row(f"{name} mappers", worded(target.payload_mapping), "connection")
        if (label := target.issued_acknowledgement_label) is not None:
            yield Row(f"{name} acknowledges", label, "connection")
        readers = worded(target.authorization_context)
        yield Row(f"{name} if these may read", readers, "connection")
    if about.connection.targets and about.connection.sources:
        yield Row("what its own sources bring", "is not sent to it", "default")


def outbound(about: About) -> Iterator[Row]:
    """What it may reach, and how it makes sure of that."""
    connection = about.connection
    if not connection.uri:
        return
    yield Row("goes to", worded(about.shown["uri"]), "connection")
    yield about.of_service("hosts", "allowed", "hosts allowed by name")
    yield about.of_service("hosts", "blocked", "hosts refused")
    yield about.of_service("hosts", "blocked_subnets", "networks refused")
    yield about.of_service("hosts", "blocked_regex", "host names refused, by pattern")
    hosts = about.service.hosts
    if hosts.blocked or hosts.blocked_subnets or hosts.blocked_regex:
        always = "loopback, private, link-local, multicast, wildcard addresses"
    else:
        always = "link-local addresses and metadata services of clouds"
    yield Row("refused besides, unless allowed", always, "default")
    if about.endpoint is not None:
        yield Row("checked", "at each connect, on the very address", "default")
        yield Row("redirects", "are not followed", "default")
        yield about.of_service("http_proxy", "host", "through the proxy")
    yield about.field("validate_certificates", "certificates are checked")
    if connection.ca is not None:
        yield Row("trusted certificates", "the connection's own (ca)", "connection")
    kind = (connection.credentials or {}).get("type", "none beside those in the uri")
    given: Origin = "default" if connection.credentials is None else "connection"
    yield Row("credentials", str(kind), given)


def rest(about: About) -> Iterator[Row]:
    """Options of the connection type that no other section is about."""
    yield from about.others()
