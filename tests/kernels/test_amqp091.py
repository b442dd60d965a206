"""Frames are read as pamqp writes them and written as pamqp reads them; no bytes do any harm."""

from __future__ import annotations

import random
import string
import struct
from datetime import UTC, datetime
from decimal import Decimal

import pamqp.encode
import pamqp.frame
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from streamproc.kernels import amqp091
from streamproc.kernels.amqp091 import Decoder
from streamproc.kernels.amqp091_fields import decode_table, decode_texts
from streamproc.kernels.amqp091_publish import Publisher
from streamproc.kernels.delivery import Delivery
from tests.reference import amqp091 as reference
from tests.reference.amqp091 import Message

FRAME_MAX = 4096
MOST_BODY = 20_000
NO_PROPERTIES = commands.Basic.Properties()

unicode = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
short = unicode.filter(lambda text: len(text.encode()) <= 255)
moments = st.integers(86_400, 2**32 - 1).map(lambda at: datetime.fromtimestamp(at, tz=UTC))
decimals = st.builds(
    lambda digits, scale: Decimal(digits).scaleb(-scale),
    st.integers(0, 2**31 - 1),
    st.integers(0, 20),
)
scalars = st.one_of(
    unicode,
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(width=32, allow_nan=False),
    st.binary(max_size=20).map(bytearray),
    moments,
    decimals,
    st.none(),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(short.filter(lambda key: len(key) <= 128), inner, max_size=4)
    ),
    max_leaves=8,
)
names = short.filter(lambda key: len(key) <= 128)
tables = st.dictionaries(names, values, max_size=6)
properties = st.builds(
    commands.Basic.Properties,
    content_type=st.none() | short,
    content_encoding=st.none() | short,
    headers=st.none() | tables,
    delivery_mode=st.none() | st.integers(1, 2),
    priority=st.none() | st.integers(0, 9),
    correlation_id=st.none() | short,
    reply_to=st.none() | short,
    expiration=st.none() | short,
    message_id=st.none() | short,
    timestamp=st.none() | moments,
    message_type=st.none() | short,
    user_id=st.none() | short,
    app_id=st.none() | short,
)
bodies = st.binary(max_size=50) | st.integers(0, 12_000).map(lambda size: b"x" * size)
messages = st.builds(
    Message, st.integers(1, 3), st.integers(1, 2**63 - 1), properties, bodies, st.none()
)


def rounded(table):
    """*table* as it comes back from pamqp: it has one kind of float, and of bytes."""
    data = pamqp.encode.field_table(table)
    return data, pamqp.decode.field_table(data)[1]


def pieces(data: bytes, seed: int) -> list[bytes]:
    """*data*, cut at random places."""
    chance = random.Random(seed)
    cuts = sorted(chance.choices(range(len(data) + 1), k=chance.randrange(0, 30)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def plain(events):
    """Events as values: deliveries taken apart."""
    found, spoiled = [], []
    for channel, method, content in events:
        if method == amqp091.DELIVER:
            found += zip(content.tags, content.payloads, content.headers, strict=True)
            spoiled += content.spoiled
        else:
            found.append((channel, method, content))
    return found + [("spoiled", *one) for one in spoiled]


# Tables.


@given(table=tables)
@settings(max_examples=200)
def test_tables_are_read_as_pamqp_reads_them(table):
    data, expected = rounded(table)
    found, taken = decode_table(data + b"more")
    assert taken == len(data)
    assert found == expected
    assert [type(value) for value in found.values()] == [
        bytes if isinstance(value, bytearray) else type(value) for value in expected.values()
    ]
    texts, taken = decode_texts(data + b"more")
    assert taken == len(data)
    assert texts == {name: reference.text(value) for name, value in expected.items()}


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        (b"t", b"\x01", True),
        (b"t", b"\x00", False),
        (b"b", b"\xff", -1),
        (b"B", b"\xff", 255),
        (b"s", b"\xff\xfe", -2),
        (b"u", b"\xff\xfe", 65_534),
        (b"I", b"\x80\x00\x00\x00", -(2**31)),
        (b"i", b"\x80\x00\x00\x00", 2**31),
        (b"l", b"\xff" * 8, -1),
        (b"L", b"\xff" * 8, -1),
        (b"f", struct.pack(">f", 1.5), 1.5),
        (b"d", struct.pack(">d", 0.1), 0.1),
        (b"D", b"\x02" + struct.pack(">i", -110), Decimal("-1.10")),
        (b"S", b"\x00\x00\x00\x02hi", "hi"),
        (b"S", b"\x00\x00\x00\x01\xff", "�"),
        (b"x", b"\x00\x00\x00\x02\xff\x00", b"\xff\x00"),
        (b"T", struct.pack(">Q", 86_400), datetime(1970, 1, 2, tzinfo=UTC)),
        (b"T", struct.pack(">Q", 86_400_000_000), datetime(1972, 9, 27, tzinfo=UTC)),
        (b"T", b"\xff" * 8, 2**64 - 1),
        (b"A", b"\x00\x00\x00\x02V\x00", [None, None]),
        (b"F", b"\x00\x00\x00\x03\x01kV", {"k": None}),
    ],
)
def test_each_type_of_a_field(kind, data, expected):
    fields = b"\x01h" + kind + data
    found, _ = decode_table(struct.pack(">L", len(fields)) + fields)
    assert found == {"h": expected}
    assert type(found["h"]) is type(expected)


def nested(depth: int) -> bytes:
    value = b"V"
    for _ in range(depth):
        value = b"A" + struct.pack(">L", len(value)) + value
    fields = b"\x01h" + value
    return struct.pack(">L", len(fields)) + fields


def test_nesting_has_a_limit():
    assert decode_table(nested(15))
    for depth in (16, 17, 20_000):
        with pytest.raises(ValueError, match="deep"):
            decode_table(nested(depth))
        with pytest.raises(ValueError, match="deep"):
            decode_texts(nested(depth))


@given(
    data=st.binary(max_size=60), table=tables, at=st.integers(0, 200), spoiled=st.binary(max_size=4)
)
@settings(max_examples=200)
def test_no_bytes_make_a_table_read_beyond_its_end(data, table, at, spoiled):
    good = pamqp.encode.field_table(table)
    for each in (data, good[:at], good[:at] + spoiled + good[at + len(spoiled) :]):
        for read in (decode_table, decode_texts):
            try:
                _, taken = read(each)
            except ValueError:
                event("refused")
            else:
                event("read")
                assert 4 <= taken <= len(each)


# What comes in.


@given(
    sent=st.lists(messages, max_size=4),
    room=st.integers(1_000, FRAME_MAX - 8),
    seed=st.integers(0, 2**32),
    returns=st.booleans(),
)
@settings(max_examples=30)
def test_messages_are_read_as_pamqp_writes_them(sent, room, seed, returns):
    """In pieces of any size; with heartbeats, confirmations and other methods between."""
    decoder = Decoder(1 << 20, MOST_BODY)
    data, expected = b"", []
    between = [
        (Heartbeat(), None),
        (commands.Basic.Ack(7, True), (amqp091.ACK, (7, True))),
        (commands.Basic.Nack(2**60, False, True), (amqp091.NACK, (2**60, False))),
        (commands.Queue.DeclareOk("q", 1, 2), (50 << 16 | 11, b"\x01q" + struct.pack(">LL", 1, 2))),
    ]
    for number, message in enumerate(sent):
        frame, event_ = between[number % 4]
        data += pamqp.frame.marshal(frame, 0 if event_ is None else 1)
        expected += [] if event_ is None else [(1, *event_)]
        if returns:
            message = message._replace(reply=(312, "NO_ROUTE", "ex", "key"))
        data += reference.frames(message, room)
        # pamqp's own view of the header: what it encodes is not always what it was given.
        header = pamqp.frame.unmarshal(
            pamqp.frame.marshal(ContentHeader(0, 0, message.properties), 1)
        )[2]
        if returns:
            arguments = struct.pack(">H", 312) + b"\x08NO_ROUTE\x02ex\x03key"
            content = (arguments, header.properties.message_id)
            expected.append((message.channel, amqp091.RETURN, content))
        else:
            texts = reference.texts(header, message.tag)
            expected.append((message.tag, message.body, texts))
    found = [one for piece in pieces(data, seed) for one in decoder.feed(piece)]
    assert plain(found) == expected


def delivered(*sent: Message) -> bytes:
    return b"".join(map(reference.frames, sent))


def test_messages_that_follow_each_other_come_in_one_batch():
    one = Message(1, 1, NO_PROPERTIES, b"a")
    data = delivered(one, one._replace(tag=2), one._replace(channel=2, tag=3), one._replace(tag=4))
    events = Decoder(FRAME_MAX, MOST_BODY).feed(data)
    assert [(channel, content.tags, content.size) for channel, _, content in events] == [
        (1, [1, 2], 2),
        (2, [3], 1),
        (1, [4], 1),
    ]


def test_of_a_body_that_is_too_long_one_byte_too_many_is_kept():
    decoder = Decoder(1 << 20, 100)
    for size in (99, 100, 101, 102, 50_000):
        message = Message(1, 1, NO_PROPERTIES, bytes(size))
        ((_, _, content),) = decoder.feed(reference.frames(message, 37))
        assert content.payloads == [bytes(min(size, 101))]


def test_headers_that_cannot_be_read_cost_their_message_alone():
    decoder = Decoder(FRAME_MAX, MOST_BODY)
    properties = commands.Basic.Properties(headers={"h": None})
    good = Message(1, 7, properties, b"body")
    bad = delivered(good).replace(b"\x01hV", b"\x01h?")
    ((_, _, content),) = decoder.feed(delivered(good) + bad + delivered(good._replace(tag=8)))
    assert content.tags == [7, 8]
    assert content.payloads == [b"body"] * 2
    assert content.spoiled == [(7, "a value of the unknown type 63")]


def frame(kind: int, channel: int, payload: bytes, end: bytes = b"\xce") -> bytes:
    return struct.pack(">BHL", kind, channel, len(payload)) + payload + end


DELIVER = delivered(Message(1, 1, NO_PROPERTIES, b"ab"))
METHOD, HEADER = (
    DELIVER[: DELIVER.index(b"\xce") + 1],
    frame(2, 1, struct.pack(">HHQH", 60, 0, 2, 0)),
)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"AMQP\x00\x00\x09\x01", "frame"),
        (b"\x15\x03\x03\x00\x02\x02\x28" + b"\xce" * 0x30000, "bytes, at most"),
        (frame(4, 0, b""), "type 4"),
        (frame(1, 0, b"\x00\x0a\x00\x0b", end=b"\x00"), "without its end"),
        (frame(1, 0, bytes(FRAME_MAX)), "at most 4096"),
        (frame(1, 4, b"\x00\x0a\x00\x0b"), "channel 4"),
        (frame(1, 0, b"\x00\x0a\x00"), "longer than"),
        (frame(1, 1, b"\x00\x3c\x00\x50\x00"), "longer than"),
        (HEADER, "header where none"),
        (METHOD + HEADER + HEADER, "header where none"),
        (METHOD + METHOD, "within a message"),
        (METHOD + frame(3, 1, b"a"), "body where none"),
        (METHOD + HEADER + frame(3, 1, b"abc"), "body where none"),
        (METHOD + HEADER + frame(3, 1, b""), "body where none"),
        (METHOD + HEADER + frame(3, 1, b"a") + METHOD, "within a message"),
        (METHOD + frame(2, 1, struct.pack(">HHQH", 61, 0, 2, 0)), "another class"),
        (METHOD + frame(2, 1, b"\x00\x3c"), "longer than"),
    ],
)
def test_what_is_no_amqp_is_refused(data, words):
    with pytest.raises(ValueError, match=words):
        Decoder(FRAME_MAX, MOST_BODY).feed(data)


def test_a_frame_in_single_bytes_is_put_together_without_looking_at_it_again():
    data = frame(1, 0, bytes(100_000))
    decoder = Decoder(131_072, MOST_BODY)
    found = [event_ for at in range(len(data)) for event_ in decoder.feed(data[at : at + 1])]
    assert found == [(0, 0, bytes(99_996))]


@given(
    sent=st.lists(messages, min_size=1, max_size=2),
    junk=st.binary(max_size=12),
    at=st.integers(0, 4000),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=50)
def test_spoiled_bytes_are_refused_or_read_the_same_in_any_pieces(sent, junk, at, seed):
    data = delivered(*sent)
    at %= len(data)
    data = data[:at] + junk + data[at + len(junk) :]

    def outcome(parts):
        decoder, found = Decoder(131_072, MOST_BODY), []
        try:
            for part in parts:
                found += decoder.feed(part)
        except ValueError as error:
            event("refused")
            return plain(found), str(error)
        return plain(found), ""

    whole, error = outcome([data])
    cut, error_of_cut = outcome(pieces(data, seed))
    assert error == error_of_cut
    # Of what is refused, the whole gives nothing; pieces give what came before.
    assert cut == whole or (error and not whole)


# What goes out.

ADDRESS = "ex/key"
PUBLISH = pamqp.frame.marshal(commands.Basic.Publish(0, "ex", "key", True), 1)
LEAD = "lead-"
texts = st.dictionaries(
    st.sampled_from(["content-type", "correlation-id", "x"]) | names, unicode, max_size=5
)


def made(headers: dict[str, str] | None = None, payload: bytes = b"x", address=ADDRESS) -> Delivery:
    return Delivery(0, "", address, headers or {}, payload)


@given(sent=st.lists(st.tuples(texts, bodies), max_size=6), frame_max=st.sampled_from([1024, 4096]))
@settings(max_examples=100)
def test_what_is_published_is_what_pamqp_reads(sent, frame_max):
    publisher = Publisher(1, frame_max, LEAD)
    deliveries = [made(headers, body) for headers, body in sent]
    count, data, problem = publisher.publish(deliveries, {ADDRESS: PUBLISH}, 1 << 30)
    assert (count, problem) == (len(sent), None)
    assert publisher.tag == publisher.open == count
    frames = list(reference.unmarshalled(data))
    assert {channel for channel, _ in frames} <= {1}
    for number, (headers, body) in enumerate(sent, 1):
        _, method = frames.pop(0)
        assert (method.exchange, method.routing_key, method.mandatory) == ("ex", "key", True)
        _, header = frames.pop(0)
        own = header.properties
        assert header.body_size == len(body)
        assert (own.headers or {}) == headers
        assert own.content_type == headers.get("content-type")
        assert own.correlation_id == headers.get("correlation-id")
        assert own.message_id == f"{LEAD}{number:012x}"
        assert own.delivery_mode == 2
        left = body
        while left:
            _, part = frames.pop(0)
            assert isinstance(part, ContentBody)
            assert 0 < len(part.value) <= frame_max - 8
            assert left.startswith(part.value)
            left = left[len(part.value) :]
    assert not frames


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"n" * 256: "v"}, "header name has 256 bytes, at most 255"),
        ({"ß" * 128: "v"}, "header name has 256 bytes"),
        ({"content-type": "c" * 256}, "content-type has 256 bytes"),
        ({"correlation-id": "c" * 256}, "correlation-id has 256 bytes"),
        ({"h": "\ud800"}, "surrogates"),
        ({"\ud800": "v"}, "surrogates"),
        ({"h": "v" * FRAME_MAX}, "at most 4096"),
        ({"h": 1}, ""),
    ],
)
def test_what_cannot_be_written_ends_the_write_and_has_no_number(headers, words):
    publisher = Publisher(1, FRAME_MAX, LEAD)
    deliveries = [made(), made(headers), made()]
    count, data, problem = publisher.publish(deliveries, {ADDRESS: PUBLISH}, 1 << 20)
    assert count == publisher.tag == 1
    assert words in str(problem)
    assert len(list(reference.unmarshalled(data))) == 3


def test_headers_fill_a_frame_to_its_last_byte():
    publisher = Publisher(1, FRAME_MAX, LEAD)
    own = len(PUBLISH) + len(publisher.publish([made({"h": ""})], {ADDRESS: PUBLISH}, 1)[1])
    frame_size = own - 2 * len(PUBLISH) - 9  # without the body
    fits = made({"h": "v" * (FRAME_MAX - frame_size)})
    assert publisher.publish([fits], {ADDRESS: PUBLISH}, 1)[0] == 1
    over = made({"h": "v" * (FRAME_MAX - frame_size + 1)})
    assert publisher.publish([over], {ADDRESS: PUBLISH}, 1)[0] == 0


def test_a_write_ends_at_its_limit_and_before_an_address_that_is_not_known():
    publisher = Publisher(1, FRAME_MAX, LEAD)
    sent = [made(payload=bytes(100)) for _ in range(10)]
    count, data, _ = publisher.publish(sent, {ADDRESS: PUBLISH}, 1)
    assert count == 1
    assert publisher.publish(sent, {ADDRESS: PUBLISH}, 2 * len(data) + 1)[0] == 3
    sent.insert(2, made(address="other/key"))
    assert publisher.publish(sent, {ADDRESS: PUBLISH}, 1 << 20)[::2] == (2, None)
    assert publisher.publish(sent[2:], {ADDRESS: PUBLISH}, 1 << 20) == (0, b"", None)
    many = [made() for _ in range(2000)]
    assert publisher.publish(many, {ADDRESS: PUBLISH}, 1 << 30)[0] == 512


steps = st.lists(
    st.integers(1, 700).map(lambda count: ("publish", count))
    | st.tuples(st.sampled_from(["one", "multiple"]), st.integers(-3, 3) | st.integers(0, 3000)),
    max_size=40,
)


@given(steps=steps, near=st.booleans())
@settings(max_examples=100)
def test_each_message_is_confirmed_once_in_any_order(steps, near):
    publisher, open_, last = Publisher(1, FRAME_MAX, LEAD), {}, 0
    for step, number in steps:
        if step == "publish":
            deliveries = [made() for _ in range(min(number, 512))]
            assert publisher.publish(deliveries, {ADDRESS: PUBLISH}, 1 << 30)[0] == len(deliveries)
            for delivery in deliveries:
                last += 1
                open_[last] = delivery
        else:
            oldest = next(iter(open_), 0)
            tag = max(0, number + oldest if near else number)
            multiple = step == "multiple"
            tags = [n for n in open_ if not tag or n <= tag] if multiple else [tag]
            expected = [open_.pop(n) for n in tags if n in open_]
            assert publisher.confirm(tag, multiple) == expected
        assert publisher.open == len(open_)
        assert publisher.oldest == next(iter(open_), 0)
        assert publisher.tag == last
    assert publisher.confirm(0, True) == list(open_.values())


def test_a_lead_is_ascii_and_short():
    for lead in ("ü", "x" * 244):
        with pytest.raises(ValueError):  # noqa: PT011 - of Python, or ours
            Publisher(1, FRAME_MAX, lead)
    assert set(LEAD) <= set(string.printable)
