"""What librdkafka is told follows from the connection, and a consumer and producer take it."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer, Producer

from streamproc.config.connection import Connection, Source, Target
from streamproc.connectors.base import Identity, SourceSpec, TargetSpec
from streamproc.connectors.kafka import settings
from streamproc.connectors.kafka.config import KafkaOptions
from streamproc.errors import Misconfigured


def connection(uri: str = "tcp://localhost:9092", **more) -> Connection:
    return Connection(
        id="factory",
        connection_type="kafka",
        uri=uri,
        sources=[Source(addresses=["in"], authorization_context=["s"])],
        targets=[Target(address="out", topics=[], authorization_context=["s"])],
        **more,
    )


def consumer(uri: str = "tcp://localhost:9092", *, spec=None, options=None, **more):
    made = connection(uri, **more)
    return settings.consumer(
        SourceSpec(
            identity=Identity(connection_id=made.id, client_index=2),
            connection=made,
            options=KafkaOptions(**({"bootstrap_servers": "localhost:9092"} | (options or {}))),
            source=made.sources[0],
            **(spec or {}),
        )
    )


def producer(uri: str = "tcp://localhost:9092", **more):
    made = connection(uri, **more)
    return settings.producer(
        TargetSpec(
            identity=Identity(connection_id=made.id),
            connection=made,
            options=KafkaOptions(bootstrap_servers="localhost:9092"),
            receipts=None,
        ),
        10_000,
    )


@pytest.mark.parametrize(
    ("uri", "protocol"),
    [
        ("tcp://h:1", "PLAINTEXT"),
        ("ssl://h:1", "SSL"),
        ("tcp://u:p@h:1", "SASL_PLAINTEXT"),
        ("ssl://u:p@h:1", "SASL_SSL"),
        ("ssl://nobody@h:1", "SSL"),
    ],
)
def test_scheme_and_credentials_choose_the_protocol(uri, protocol):
    assert consumer(uri)["security.protocol"] == protocol
    assert producer(uri)["security.protocol"] == protocol


@pytest.mark.parametrize(
    ("name", "mechanism"),
    [("plain", "PLAIN"), ("scram-sha-256", "SCRAM-SHA-256"), ("scram-sha-512", "SCRAM-SHA-512")],
)
def test_credentials_are_decoded_once(name, mechanism):
    made = consumer("tcp://us%3Aer:p%40ss%2525@h:1", options={"sasl_mechanism": name})
    assert made["sasl.mechanisms"] == mechanism
    assert made["sasl.username"] == "us:er"
    assert made["sasl.password"] == "p@ss%25"


def test_no_credentials_no_sasl():
    assert not [key for key in consumer() if key.startswith("sasl")]


def test_servers_of_uri_and_options_are_merged_in_order_without_doubles():
    made = consumer("tcp://a:1", options={"bootstrap_servers": "b:2, a:1,c:3,"})
    assert made["bootstrap.servers"] == "a:1,b:2,c:3"
    assert consumer("tcp://[::1]:1")["bootstrap.servers"] == "[::1]:1,localhost:9092"


@pytest.mark.parametrize(
    ("template", "group"),
    [
        (None, "factory"),
        ("", "factory"),
        ("fixed", "fixed"),
        ("{{ connection:id }}", "factory"),
        ("a-{{connection:id}}-b", "a-factory-b"),
    ],
)
def test_group_id(template, group):
    assert consumer(options={"group_id": template})["group.id"] == group


def test_members_of_a_group_that_is_classic():
    made = consumer()
    assert made["partition.assignment.strategy"] == "cooperative-sticky"
    assert "group.instance.id" not in made
    assert "group.protocol" not in made


def test_the_brokers_decide_in_a_group_of_the_new_protocol():
    made = consumer(options={"group_protocol": "consumer"})
    assert made["group.protocol"] == "consumer"
    assert not made.keys() & {
        "partition.assignment.strategy",
        "session.timeout.ms",
        "heartbeat.interval.ms",
    }
    Consumer(made).close()


def test_static_members_have_names_of_their_own_that_stay():
    named = {"group_instance_id": "{{ connection:id }}-here"}
    one = consumer(options=named)
    assert one["group.instance.id"] == "factory-here-2-0-0"
    assert consumer(options=named)["group.instance.id"] == one["group.instance.id"]
    other = consumer(options=named, spec={"consumer_index": 1})
    assert other["group.instance.id"] == "factory-here-2-0-1"


def test_sources_of_a_connection_have_names_of_their_own():
    source = Source(addresses=["in"], authorization_context=["s"])
    twins = [source, Source(addresses=["in"], authorization_context=["s"])]
    made = Connection(id="c", connection_type="kafka", uri="tcp://h:1", sources=twins)
    options = KafkaOptions(bootstrap_servers="h:1", group_instance_id="i")
    names = {
        settings.consumer(
            SourceSpec(
                identity=Identity(connection_id="c"), connection=made, options=options, source=one
            )
        )["group.instance.id"]
        for one in twins
    }
    assert names == {"i-0-0-0", "i-0-1-0"}


def test_group_id_with_another_placeholder_is_misconfigured():
    with pytest.raises(Misconfigured, match="thing:id"):
        consumer(options={"group_id": "{{ thing:id }}"})


def test_a_bad_uri_is_misconfigured_and_its_password_not_repeated():
    with pytest.raises(Misconfigured) as caught:
        consumer("tcp://user:secret@host")
    assert "secret" not in str(caught.value)


def test_certificates_are_checked_unless_told_otherwise():
    assert "ssl.ca.pem" not in consumer("ssl://h:1")
    assert consumer("ssl://h:1", ca="PEM")["ssl.ca.pem"] == "PEM"
    assert "enable.ssl.certificate.verification" not in consumer("ssl://h:1")
    lax = consumer("ssl://h:1", validate_certificates=False)
    assert lax["enable.ssl.certificate.verification"] is False
    assert lax["ssl.endpoint.identification.algorithm"] == "none"


def test_client_certificates():
    given = {"type": "client-cert", "cert": "C", "key": "K"}
    made = consumer("ssl://h:1", credentials=given)
    assert (made["ssl.certificate.pem"], made["ssl.key.pem"]) == ("C", "K")
    assert "ssl.key.pem" not in consumer("tcp://h:1", credentials=given)


def test_clients_and_consumers_have_names_of_their_own():
    names = {
        consumer()["client.id"],
        consumer(spec={"consumer_index": 1})["client.id"],
        producer()["client.id"],
    }
    assert len(names) == 3


def test_only_what_is_settled_is_committed_and_the_producer_makes_no_doubles():
    assert consumer()["enable.auto.offset.store"] is False
    assert consumer()["enable.auto.commit"] is False
    assert producer()["enable.idempotence"] is True


def test_the_byte_budget_bounds_what_librdkafka_keeps():
    made = consumer(spec={"prefetch_bytes": 4 << 20})
    assert made["queued.max.messages.kbytes"] == 2048
    assert made["fetch.max.bytes"] == 2 << 20


@pytest.mark.parametrize("uri", ["tcp://localhost:1", "ssl://localhost:1", "tcp://u:p@localhost:1"])
def test_librdkafka_takes_the_settings(uri):
    Consumer(consumer(uri)).close()
    Consumer(consumer(uri, spec={"prefetch_bytes": 1, "prefetch": 1})).close()
    Producer(producer(uri)).flush(0)
