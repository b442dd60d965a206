"""What an error of librdkafka means to us: who must act on it."""

from __future__ import annotations

import re
from collections.abc import Callable

from confluent_kafka import KafkaError

from streamproc.errors import (
    DeliveryFailed,
    DeliveryRefused,
    Misconfigured,
    NotConnected,
    RunnerError,
)

# A person must act: credentials, certificates, permissions, topics, settings.
MISCONFIGURED = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError._SSL,
        KafkaError._INVALID_ARG,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.ILLEGAL_SASL_STATE,
        KafkaError.INVALID_GROUP_ID,
        KafkaError.INVALID_SESSION_TIMEOUT,
        KafkaError.INCONSISTENT_GROUP_PROTOCOL,
        KafkaError.FENCED_INSTANCE_ID,  # another installation has the same groupInstanceId
        KafkaError.UNSUPPORTED_ASSIGNOR,
        KafkaError._UNSUPPORTED_FEATURE,  # an old broker, and groupProtocol consumer
    }
)

# Conditions of a consumer that librdkafka mends by itself.
PASSING = frozenset(
    {
        KafkaError._PARTITION_EOF,
        KafkaError._TRANSPORT,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._WAIT_COORD,
        KafkaError._MAX_POLL_EXCEEDED,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.REBALANCE_IN_PROGRESS,
    }
)

# There is no such place, or not for us. It may come.
NO_PLACE = frozenset(
    {
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
    }
)

NO_TOPIC = frozenset({KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART})

# What the broker says of the producer rather than of a message. Passing conditions are not
# here: librdkafka tries again by itself, until the message times out.
LOST = frozenset(
    {
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.INVALID_PRODUCER_ID_MAPPING,
        KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
        KafkaError.UNKNOWN_PRODUCER_ID,
    }
)


def words(error: KafkaError) -> str:
    """What librdkafka says, with its name for it."""
    return f"{error.str()} ({error.name()})"


# A certificate that one of both sides does not take, which librdkafka calls transport at
# times; and a static member that another one of its name has shut out, which it calls fatal.
_IN_WORDS = re.compile(r"SSL routines:.*(certificate|unknown ca)|Static consumer fenced")


def link_error(error: KafkaError) -> RunnerError:
    """The link cannot be opened, or not be used any more."""
    if error.code() in MISCONFIGURED or _IN_WORDS.search(error.str()):
        return Misconfigured(words(error))
    return NotConnected(words(error))


def delivery_error(error: KafkaError, is_fixed: Callable[[], bool]) -> RunnerError:
    """One message was not taken.

    ``is_fixed``: whether its address stands in the configuration as it is. If that topic is
    missing the message waits for it. A missing topic of a computed address is refused, so
    that one bad name does not hold up all the others. NotConnected: the link is lost.
    """
    code = error.code()
    if code in NO_PLACE:
        return DeliveryFailed(words(error)) if is_fixed() else DeliveryRefused(words(error))
    if code in LOST or (code < 0 and code != KafkaError._INVALID_ARG):
        return link_error(error)
    return DeliveryRefused(words(error))
