"""The one table of metrics: what is counted, under which labels, and what must add up.

Two identities hold at any scrape of a service at rest, and within what is being counted at
that moment otherwise. They hold for each worker's block alone, so that a worker that dies can
be closed from its own numbers: who counts a message as received, or a delivery as due, also
counts what becomes of it.

    messages_received = sum over verdicts of messages_settled
                        + messages_returned + messages_in_flight
    deliveries_due    = deliveries_delivered + deliveries_parked + deliveries_spilled
                        + deliveries_returned + deliveries_in_flight

What was spilled has a life of its own, on the disk of the client's worker:

    deliveries_spilled = spill_drained (delivered, parked) + spill_depth

A dropped delivery (its address did not resolve, Ditto's rule) was never due. A rejected
message is settled too: rejected says why, settled what the source was told.

Labels are bounded: connection, client, source, target, worker, peer and causes from a fixed
list; never a topic, a thing or a message.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
OTHER = "other"  # the label value that takes what is beyond a metric's limit


@dataclass(frozen=True)
class Metric:
    """One metric. ``combine`` is how the gauges of several workers become one."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    combine: Literal["sum", "max"] = "sum"
    buckets: tuple[float, ...] = ()  # upper bounds, ascending, without infinity
    limit: int = 2000  # label sets per worker
    counted_by: Literal["worker", "master"] = "worker"

    @property
    def width(self) -> int:
        """Slots of one label set. A histogram has its buckets, infinity, and the sum."""
        return len(self.buckets) + 2 if self.kind == "histogram" else 1


_SOURCE = ("connection", "source")
_TARGET = ("connection", "target")
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

MESSAGES_RECEIVED = Metric(
    "streamproc_messages_received_total", "counter", "Messages read from a source.", _SOURCE
)
MESSAGE_BYTES_RECEIVED = Metric(
    "streamproc_message_bytes_received_total",
    "counter",
    "Payload bytes of the messages read from a source.",
    _SOURCE,
)
MESSAGES_ACCEPTED = Metric(
    "streamproc_messages_accepted_total",
    "counter",
    "Messages that passed enforcement, mapping and authorisation.",
    _SOURCE,
)
MESSAGES_REJECTED = Metric(
    "streamproc_messages_rejected_total",
    "counter",
    "Messages that could not be processed as they were, by error code.",
    (*_SOURCE, "cause"),
    limit=6000,
)
MESSAGES_SETTLED = Metric(
    "streamproc_messages_settled_total",
    "counter",
    "Messages whose source was told what became of them: accept, reject or redeliver.",
    (*_SOURCE, "verdict"),
    limit=6000,
)
MESSAGES_RETURNED = Metric(
    "streamproc_messages_returned_total",
    "counter",
    "Messages left unsettled by a lost link or a dead worker; the source still has them.",
    _SOURCE,
)
MESSAGES_IN_FLIGHT = Metric(
    "streamproc_messages_in_flight", "gauge", "Messages received and not settled.", _SOURCE
)
BYTES_IN_FLIGHT = Metric(
    "streamproc_bytes_in_flight", "gauge", "Payload bytes of messages not settled.", _SOURCE
)
OLDEST_UNSETTLED = Metric(
    "streamproc_oldest_unsettled_seconds",
    "gauge",
    "Age of the oldest message that is not settled.",
    _SOURCE,
    combine="max",
)
SOURCE_LAG = Metric(
    "streamproc_source_lag",
    "gauge",
    "Messages that the brokers have for a source and that are not settled (Kafka).",
    _SOURCE,
)
SOURCE_LAG_MOST = Metric(
    "streamproc_source_lag_most",
    "gauge",
    "The same, of the partition that is furthest behind.",
    _SOURCE,
    combine="max",
)
SOURCE_HELD_BACK = Metric(
    "streamproc_source_held_back",
    "gauge",
    "Settled messages beyond one that is not: the offset cannot be committed yet (Kafka).",
    _SOURCE,
)
SOURCE_REBALANCES = Metric(
    "streamproc_source_rebalances_total",
    "counter",
    "Times that partitions were given to a source or taken from it (Kafka).",
    _SOURCE,
)
MESSAGES_EXPIRED = Metric(
    "streamproc_messages_expired_total",
    "counter",
    "Messages whose creation-time + ttl had passed; settled, and never received.",
    _SOURCE,
)
SOURCE_NUMBERS = {
    "lag": SOURCE_LAG,
    "lag_most": SOURCE_LAG_MOST,
    "held_back": SOURCE_HELD_BACK,
    "rebalances": SOURCE_REBALANCES,
    "expired": MESSAGES_EXPIRED,
}
"""What a source may say of itself (``connectors.base.Numbered``), by the name it uses."""

SIGNALS_FILTERED = Metric(
    "streamproc_signals_filtered_total",
    "counter",
    "Signals of accepted messages that no target wanted.",
    _SOURCE,
)
DELIVERIES_DUE = Metric(
    "streamproc_deliveries_due_total",
    "counter",
    "Messages that a target must get.",
    _TARGET,
)
DELIVERIES_DELIVERED = Metric(
    "streamproc_deliveries_delivered_total",
    "counter",
    "Messages that a target has said it has.",
    _TARGET,
)
DELIVERIES_SPILLED = Metric(
    "streamproc_deliveries_spilled_total",
    "counter",
    "Messages brought to disk for a target that does not keep up.",
    _TARGET,
)
SPILL_DRAINED = Metric(
    "streamproc_spill_drained_total",
    "counter",
    "Messages from disk that were delivered, or parked.",
    ("connection", "outcome"),
)
SPILL_DEPTH = Metric(
    "streamproc_spill_depth", "gauge", "Messages on disk for a connection.", ("connection",)
)
SPILL_BYTES = Metric(
    "streamproc_spill_bytes", "gauge", "Bytes on disk for a connection.", ("connection",)
)
DELIVERIES_RETRIED = Metric(
    "streamproc_deliveries_retried_total",
    "counter",
    "Attempts that failed and were, or will be, made again, by error code.",
    (*_TARGET, "cause"),
    limit=6000,
)
DELIVERIES_PARKED = Metric(
    "streamproc_deliveries_parked_total",
    "counter",
    "Messages put away because a target will not take them, by error code.",
    (*_TARGET, "cause"),
    limit=6000,
)
DELIVERIES_DROPPED = Metric(
    "streamproc_deliveries_dropped_total",
    "counter",
    "Signals that were never due, since their address did not resolve.",
    (*_TARGET, "cause"),
    limit=6000,
)
DELIVERIES_RETURNED = Metric(
    "streamproc_deliveries_returned_total",
    "counter",
    "Deliveries given up by a dead worker or a closed client; their source sends them again.",
    _TARGET,
)
DELIVERIES_IN_FLIGHT = Metric(
    "streamproc_deliveries_in_flight",
    "gauge",
    "Deliveries that are due and have no receipt: waiting, written, or to be tried again.",
    _TARGET,
)
LANE_DEPTH = Metric(
    "streamproc_lane_depth", "gauge", "Deliveries waiting in lanes.", ("connection",)
)
ENDPOINT_STATE = Metric(
    "streamproc_endpoint_state",
    "gauge",
    "How an endpoint stands: 0 well, 1 recovering, 2 asked us to wait (Retry-After), "
    "3 breaker open, 4 stopped.",
    ("connection",),
    combine="max",
)
ENDPOINT_HOLDS = Metric(
    "streamproc_endpoint_holds_total",
    "counter",
    "Times that requests to an endpoint were held: retry_after, breaker or gone.",
    ("connection", "cause"),
    limit=6000,
)
ENDPOINT_LIMIT = Metric(
    "streamproc_endpoint_limit",
    "gauge",
    "Deliveries that may be in flight to an endpoint now.",
    ("connection",),
)
DELIVERY_SECONDS = Metric(
    "streamproc_delivery_seconds",
    "histogram",
    "Time from the write of a delivery to its receipt.",
    ("connection",),
    buckets=_SECONDS,
    limit=500,
)
DEAD_LETTERS = Metric(
    "streamproc_dead_letters_total",
    "counter",
    "Refused messages that went to the target in parking.connection (delivered), or to the store "
    "since it did not take them in time (stored).",
    ("outcome",),
)
PARKED_MESSAGES = Metric(
    "streamproc_parked_messages", "gauge", "Messages in the dead-letter store.", combine="max"
)
PARKED_BYTES = Metric(
    "streamproc_parked_bytes", "gauge", "Bytes of messages in the dead-letter store.", combine="max"
)
PARKED_OLDEST = Metric(
    "streamproc_parked_oldest_seconds",
    "gauge",
    "How long ago the oldest of them was parked.",
    combine="max",
)
PARKED_REPLAYED = Metric(
    "streamproc_parked_replayed_total",
    "counter",
    "Parked messages sent again: delivered, spilled (on disk for their target), or parked again.",
    ("connection", "outcome"),
)
PARKED_EXPIRED = Metric(
    "streamproc_parked_expired_total",
    "counter",
    "Parked messages dropped because of their age (limits.parkedAgeS).",
)
BUS_MESSAGES = Metric(
    "streamproc_bus_messages_total",
    "counter",
    "Messages that crossed to (direction=out) or from (in) another worker.",
    ("direction", "peer"),
)
BUS_WAITING = Metric(
    "streamproc_bus_waiting", "gauge", "Messages waiting for credit of another worker.", ("peer",)
)
EVENT_LOOP_LAG = Metric(
    "streamproc_event_loop_lag_seconds",
    "gauge",
    "How late the event loop ran its last timer.",
    ("worker",),
    combine="max",
)
METRICS_OVERFLOWED = Metric(
    "streamproc_metrics_overflowed_total",
    "counter",
    "Label sets beyond a metric's limit, which were counted under 'other'.",
    ("metric",),
)
CLIENT_UP = Metric(
    "streamproc_client_up",
    "gauge",
    "1 when every link of a client is open, or held for a while; 0 otherwise.",
    ("connection", "client"),
    counted_by="master",
)
CONSUMERS_EXPECTED = Metric(
    "streamproc_consumers_expected",
    "gauge",
    "Source consumers that a connection should have now; those that came to an end are not.",
    ("connection",),
    counted_by="master",
)
CONSUMERS_LIVE = Metric(
    "streamproc_consumers_live",
    "gauge",
    "Source consumers of a connection that are open.",
    ("connection",),
    counted_by="master",
)
WORKER_RESTARTS = Metric(
    "streamproc_worker_restarts_total",
    "counter",
    "Times a worker was started again.",
    ("worker",),
    counted_by="master",
)
WORKERS_UP = Metric(
    "streamproc_workers_up", "gauge", "Workers that are ready.", counted_by="master"
)
CONFIG_GENERATION = Metric(
    "streamproc_config_generation",
    "gauge",
    "How many configurations this service has taken, the first included.",
    counted_by="master",
)
BUILD_INFO = Metric(
    "streamproc_build_info",
    "gauge",
    "Always 1; the labels say what runs.",
    ("version", "python", "implementation"),
    counted_by="master",
)
PROCESS_CPU = Metric(
    "process_cpu_seconds_total",
    "counter",
    "User and system CPU time, all threads.",
    ("worker",),
    counted_by="master",
)
PROCESS_RSS = Metric(
    "process_resident_memory_bytes",
    "gauge",
    "Resident memory.",
    ("worker",),
    counted_by="master",
)
PROCESS_FDS = Metric(
    "process_open_fds", "gauge", "Open file descriptors.", ("worker",), counted_by="master"
)
PROCESS_THREADS = Metric(
    "process_threads", "gauge", "Operating system threads.", ("worker",), counted_by="master"
)
PROCESS_START = Metric(
    "process_start_time_seconds",
    "gauge",
    "Start of the process, seconds since the epoch.",
    ("worker",),
    counted_by="master",
)

METRICS: dict[str, Metric] = {
    value.name: value for value in list(globals().values()) if isinstance(value, Metric)
}
