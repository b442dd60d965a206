"""Each error of librdkafka says who must act."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from streamproc.connectors.kafka import faults
from streamproc.errors import DeliveryFailed, DeliveryRefused, Misconfigured, NotConnected

FIXED, COMPUTED = (lambda: True), (lambda: False)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError._AUTHENTICATION, Misconfigured),
        (KafkaError._SSL, Misconfigured),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, Misconfigured),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, Misconfigured),
        (KafkaError._TRANSPORT, NotConnected),
        (KafkaError._ALL_BROKERS_DOWN, NotConnected),
        (KafkaError._RESOLVE, NotConnected),
        (KafkaError._FATAL, NotConnected),
    ],
)
def test_errors_of_a_link(code, kind):
    error = faults.link_error(KafkaError(code))
    assert type(error) is kind
    assert KafkaError(code).name() in str(error)


@pytest.mark.parametrize(
    ("code", "says", "kind"),
    [
        (KafkaError._TRANSPORT, "SSL routines::certificate verify failed", Misconfigured),
        (KafkaError._TRANSPORT, "SSL routines::tlsv1 alert unknown ca: x", Misconfigured),
        (KafkaError._TRANSPORT, "SSL routines::unexpected eof", NotConnected),
        (KafkaError._FATAL, "Fatal error: Broker: Static consumer fenced by", Misconfigured),
    ],
)
def test_what_librdkafka_says_only_in_words(code, says, kind):
    assert type(faults.link_error(KafkaError(code, says))) is kind


@pytest.mark.parametrize(
    ("code", "fixed", "computed"),
    [
        (KafkaError.MSG_SIZE_TOO_LARGE, DeliveryRefused, DeliveryRefused),
        (KafkaError.INVALID_RECORD, DeliveryRefused, DeliveryRefused),
        (KafkaError._INVALID_ARG, DeliveryRefused, DeliveryRefused),
        (KafkaError._UNKNOWN_TOPIC, DeliveryFailed, DeliveryRefused),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, DeliveryFailed, DeliveryRefused),
        (KafkaError._UNKNOWN_PARTITION, DeliveryFailed, DeliveryRefused),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, DeliveryFailed, DeliveryRefused),
        (KafkaError._MSG_TIMED_OUT, NotConnected, NotConnected),
        (KafkaError._PURGE_QUEUE, NotConnected, NotConnected),
        (KafkaError._FATAL, NotConnected, NotConnected),
        (KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, NotConnected, NotConnected),
        (KafkaError.CLUSTER_AUTHORIZATION_FAILED, Misconfigured, Misconfigured),
    ],
)
def test_errors_of_a_delivery(code, fixed, computed):
    assert type(faults.delivery_error(KafkaError(code), FIXED)) is fixed
    assert type(faults.delivery_error(KafkaError(code), COMPUTED)) is computed
