"""Compiles targets, once, to what the data path asks of them; and who wants which signal.

``Routes`` is the subscription index: signals are grouped by kind, and only targets that
subscribed to the kind are looked at, each with one kernel call per batch.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from streamproc.config.connection import Connection
from streamproc.config.connection import Target as TargetConfig
from streamproc.kernels import columns
from streamproc.kernels.delivery import Delivery
from streamproc.kernels.headers import OutboundMapping
from streamproc.kernels.rql import Filter
from streamproc.kernels.signal import Signal
from streamproc.kernels.template import Template
from streamproc.lang import target_topic, template
from streamproc.lang.scopes import Scope
from streamproc.twin.policy import READ, Policies


@dataclass(frozen=True)
class Subscription:
    """One topic entry of a target."""

    namespaces: frozenset[str]  # empty: all
    filter: Filter | None

    def passes(self, signals: list[Signal], positions: list[int]) -> list[int]:
        """Those of *positions* in *signals* that this entry lets through."""
        if self.namespaces:
            positions = columns.within(signals, positions, self.namespaces)
        if self.filter is None or not positions:
            return positions
        verdicts = self.filter.matches(columns.pick(signals, positions))
        return columns.where(positions, verdicts)


class Route:
    """One target of one connection."""

    def __init__(self, connection: Connection, index: int, target: TargetConfig) -> None:
        self.connection_id = connection.id
        self.index = index
        self.client_count = connection.client_count
        self._clients = [f"{connection.id}#{i}" for i in range(connection.client_count)]
        self._subjects = tuple(target.authorization_context)
        self.label = _label(connection, target)  # of the acknowledgement it issues, or None
        self.subscriptions: dict[str, list[Subscription]] = {}
        for text in target.topics:
            topic = target_topic.parse(text)
            subscription = Subscription(
                frozenset(topic.namespaces),
                None if topic.plan is None else Filter(topic.plan),
            )
            self.subscriptions.setdefault(topic.topic, []).append(subscription)
        self.address = Template(
            template.parse(target.address, Scope.SIGNAL, connection_id=connection.id)
        )
        self.headers = OutboundMapping(
            {
                name: template.parse(value, Scope.SIGNAL, connection_id=connection.id)
                for name, value in target.header_mapping.items()
            }
        )

    def select(
        self, topic: str, signals: list[Signal], positions: list[int], policies: Policies
    ) -> list[int]:
        """Those of *positions* that this target is to get: subscribed, and may READ."""
        chosen: list[int] = []
        for subscription in self.subscriptions[topic]:
            passed = subscription.passes(signals, positions)
            if not chosen:
                chosen = passed
            elif passed:
                chosen = sorted({*chosen, *passed})
        if not chosen:
            return chosen
        allowed = policies.allowed(columns.pick(signals, chosen), self._subjects, READ)
        return columns.where(chosen, allowed)

    def by_client(self, deliveries: list[Delivery]) -> Iterable[tuple[str, list[Delivery]]]:
        """*deliveries* by the client they go to: all of an ordering key to the same one."""
        if self.client_count == 1:
            return ((self._clients[0], deliveries),)
        shares: dict[str, list[Delivery]] = {}
        for delivery in deliveries:
            client = self._clients[zlib.crc32(delivery.key.encode()) % self.client_count]
            shares.setdefault(client, []).append(delivery)
        return shares.items()


class Routes:
    """Every target of every open connection, by the topic it subscribed to."""

    def __init__(self, connections: Iterable[Connection]) -> None:
        self._by_topic: dict[str, list[Route]] = {}
        issued: set[str] = set()
        self._wanting: dict[tuple[str, str], list[Route]] = {}  # as far as asked
        for connection in connections:
            for index, target in enumerate(connection.targets):
                route = Route(connection, index, target)
                if route.label is not None:
                    issued.add(route.label)
                for topic in route.subscriptions:
                    self._by_topic.setdefault(topic, []).append(route)
        self.issued = frozenset(issued)  # labels

    def subscribed(self, kind: str, origin: str) -> list[Route]:
        """Targets that may want signals of that kind of topic, but none of the connection
        *origin*: a connection never receives what it caused itself (spec: Ditto 3.3).
        """
        routes = self._wanting.get((kind, origin))
        if routes is None:
            routes = [r for r in self._by_topic.get(kind, ()) if r.connection_id != origin]
            self._wanting[kind, origin] = routes
        return routes


def _label(connection: Connection, target: TargetConfig) -> str | None:
    text = target.issued_acknowledgement_label
    if text is None:
        return None
    plan = template.parse(text, Scope.ACK_LABEL, connection_id=connection.id)
    return plan.constant


def shares_sources(connection: Connection, connections: Iterable[Connection]) -> bool:
    """Whether another connection subscribes to what *connection* does: a source that feeds one
    of them feeds the other too.
    """
    topics = _topics(connection)
    return any(
        other.id != connection.id and not topics.isdisjoint(_topics(other)) for other in connections
    )


def _topics(connection: Connection) -> set[str]:
    return {text.partition("?")[0] for target in connection.targets for text in target.topics}
