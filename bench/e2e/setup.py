"""The configuration under test: one source connection, one target connection."""

from __future__ import annotations

from typing import Any, Literal

from bench.e2e.load import FILTER, NAMESPACE

TargetKind = Literal["http", "kafka"]
SOURCE, TARGET = "bench-in", "bench-out"
TOPIC, OUT_TOPIC = "telemetry", "events"
KAFKA, RECEIVER = "$KAFKA", "$RECEIVER"  # stand for addresses, so that a hash can be compared


def config(
    *,
    target: TargetKind,
    workers: int,
    source_clients: int,
    target_clients: int,
    parallelism: int,
    spill: str = "auto",
    number: int = 0,
    kafka: str = KAFKA,
    receiver: str = RECEIVER,
) -> dict[str, Any]:
    """A service configuration, without what ``tests.e2e.service`` adds.

    *number*: of the repetition; each has a consumer group and a target topic of its own.
    """
    return {
        "workers": workers,
        "spill": {"mode": spill},
        **policies(),
        "connections": [
            {
                "id": SOURCE,
                "connectionType": "kafka",
                "uri": f"tcp://{kafka}",
                "clientCount": source_clients,
                "specificConfig": {
                    "bootstrapServers": kafka,
                    "groupId": f"bench-{number}",
                    "consumerOffsetReset": "earliest",
                },
                "sources": [source(TOPIC)],
            },
            _http(receiver, target_clients, parallelism)
            if target == "http"
            else _kafka(kafka, target_clients, f"{OUT_TOPIC}-{number}"),
        ],
    }


def policies() -> dict[str, Any]:
    """What devices and targets may do, and nothing else."""
    return {
        "policies": {
            "bench": {
                "entries": {
                    "devices": {
                        "subjects": {"bench:devices": {"type": "bench"}},
                        "resources": {"thing:/": {"grant": ["WRITE"], "revoke": []}},
                    },
                    "targets": {
                        "subjects": {"bench:targets": {"type": "bench"}},
                        "resources": {"thing:/": {"grant": ["READ"], "revoke": []}},
                    },
                }
            }
        },
        "namespaces": [{"namespace": NAMESPACE, "policy": "bench"}],
    }


def source(address: str) -> dict[str, Any]:
    return {
        "addresses": [address],
        "authorizationContext": ["bench:devices"],
        "enforcement": {"input": "{{ header:device_id }}", "filters": ["{{ thing:id }}"]},
        "headerMapping": {"x-device": "{{ header:device_id }}"},
    }


def target(address: str) -> dict[str, Any]:
    return {
        "address": address,
        "topics": [f"_/_/things/twin/events?namespaces={NAMESPACE}&filter={FILTER}"],
        "authorizationContext": ["bench:targets"],
        "headerMapping": {
            "content-type": "application/vnd.eclipse.ditto+json",
            "x-thing": "{{ thing:id }}",
            "x-device": "{{ header:x-device }}",
        },
    }


def _http(receiver: str, clients: int, parallelism: int) -> dict[str, Any]:
    return {
        "id": TARGET,
        "connectionType": "http-push",
        "uri": receiver,
        "clientCount": clients,
        "specificConfig": {"parallelism": parallelism},
        "targets": [target("POST:/things/{{ thing:name }}")],
    }


def _kafka(kafka: str, clients: int, topic: str) -> dict[str, Any]:
    return {
        "id": TARGET,
        "connectionType": "kafka",
        "uri": f"tcp://{kafka}",
        "clientCount": clients,
        "specificConfig": {"bootstrapServers": kafka},
        "targets": [target(f"{topic}/{{{{ thing:id }}}}")],
    }
