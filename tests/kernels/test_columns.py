"""The loops of the data path give what the same loops in Python would."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.errors import SignalError
from streamproc.kernels import columns
from streamproc.kernels.signal import Signal
from streamproc.lang import target_topic
from streamproc.protocol import topic

PATHS = (
    "org.acme/one/things/twin/events/modified",
    "org.acme/two/things/twin/commands/modify",
    "org.acme/one/things/live/messages/hello",
    "org.acme/p/policies/announcements/subjectDeletion",
    "_/_/connections/announcements/opened",
)
BAD = SignalError("internal", "no")

outcomes = st.lists(st.sampled_from([None, 1, "text", BAD, ()]), max_size=12)
signals = st.lists(
    st.builds(
        Signal,
        st.builds(topic.parse, st.sampled_from(PATHS)),
        st.just("/"),
        st.dictionaries(st.sampled_from(["correlation-id", "x"]), st.text(max_size=3)),
    ),
    max_size=12,
)


@given(outcomes)
def test_positions(found: list[Any]) -> None:
    assert columns.errors(found) == [i for i, one in enumerate(found) if one is BAD]
    assert columns.present(found) == [i for i, one in enumerate(found) if one is not None]


@st.composite
def chosen(draw: st.DrawFn) -> tuple[list[Any], list[int]]:
    """A column and some of its positions."""
    column = draw(outcomes)
    flags = draw(st.lists(st.booleans(), min_size=len(column), max_size=len(column)))
    return column, [i for i, flag in enumerate(flags) if flag]


@given(chosen(), st.data())
def test_what_is_at_positions(found: tuple[list[Any], list[int]], data: st.DataObject) -> None:
    column, positions = found
    assert columns.pick(column, positions) == [column[i] for i in positions]
    assert columns.missing(column, positions) == [i for i in positions if column[i] is None]
    verdicts = data.draw(st.lists(st.booleans(), min_size=len(positions), max_size=len(positions)))
    expected = [i for i, yes in zip(positions, verdicts, strict=True) if yes]
    assert columns.where(positions, verdicts) == expected
    flags = bytearray(len(column))
    columns.flag(flags, positions)
    assert [i for i, flag in enumerate(flags) if flag] == positions
    filled = list(column)
    columns.place(filled, positions, [f"new {i}" for i in positions])
    for i, one in enumerate(column):
        assert filled[i] == (f"new {i}" if i in positions else one)


def test_a_whole_column_is_not_copied() -> None:
    column, positions = ["a", "b"], [0, 1]
    assert columns.pick(column, positions) is column
    assert columns.where(positions, [True, True]) is positions


@pytest.mark.parametrize("at", [-1, 2, 1 << 40])
def test_positions_outside_are_refused(at: int) -> None:
    two = [Signal(topic.parse(PATHS[0])), Signal(topic.parse(PATHS[0]))]
    for loop in (
        lambda: columns.pick(["a", "b"], [at]),
        lambda: columns.missing(["a", "b"], [at]),
        lambda: columns.place(["a", "b"], [at], ["c"]),
        lambda: columns.flag(bytearray(2), [at]),
        lambda: columns.within(two, [at], frozenset()),
    ):
        with pytest.raises(IndexError):
            loop()


@given(st.lists(st.tuples(st.sampled_from(["a", None, BAD]), st.sampled_from([{}, BAD]))))
def test_what_has_no_address_or_no_headers_is_unusable(pairs: list[tuple[Any, Any]]) -> None:
    addresses, headers = [one for one, _ in pairs], [one for _, one in pairs]
    expected = [i for i, (a, h) in enumerate(pairs) if not isinstance(a, str) or h is BAD]
    assert columns.unusable(addresses, headers) == expected


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="length"):
        columns.unusable(["a"], [])
    with pytest.raises(ValueError, match="length"):
        columns.where([0], [])
    with pytest.raises(ValueError, match="length"):
        columns.place(["a"], [0], [])


@given(signals)
def test_columns_of_signals(batch: list[Signal]) -> None:
    assert columns.own_headers(batch) == [signal.headers for signal in batch]
    keys = [signal.entity_id or (signal.topic and signal.topic.full) for signal in batch]
    assert columns.ordering_keys(batch) == keys
    for signal, found in zip(batch, columns.transport_headers(batch), strict=True):
        assert found.pop("content-type") == columns.ENVELOPE_TYPE
        own = signal.headers
        assert found == {name: own[name] for name in own if name == "correlation-id"}


@given(signals, st.sampled_from([(), ("org.acme",), ("_",), ("x", "org.acme")]))
def test_positions_of_namespaces(batch: list[Signal], names: tuple[str, ...]) -> None:
    wanted = frozenset(names)
    odd = list(range(1, len(batch), 2))
    expected = [i for i in odd if (about := batch[i].topic) and about.namespace in wanted]
    assert columns.within(batch, odd, wanted) == expected


@given(signals, st.sampled_from([(), ("a:1",), ("a:1", "b:2")]), st.integers(0, 1 << 50))
def test_who_says_it_and_which_answer_belongs_to_it(
    batch: list[Signal], who: tuple[str, ...], count: int
) -> None:
    before = [dict(signal.headers) for signal in batch]
    columns.act_for(batch, who)
    last = columns.mark(batch, "prefix-", count)
    assert last == count + sum("correlation-id" not in headers for headers in before)
    given_ids = iter(range(count + 1, last + 1))
    for signal, headers in zip(batch, before, strict=True):
        assert signal.subjects == who
        if "correlation-id" not in headers:
            headers["correlation-id"] = f"prefix-{next(given_ids):012x}"
        if who:
            headers["ditto-originator"] = who[0]
        assert signal.headers == headers


@given(signals)
def test_signals_are_grouped_by_what_target_topics_subscribe_to(batch: list[Signal]) -> None:
    groups = columns.by_kind(batch)
    assert sorted(i for group in groups.values() for i in group) == list(range(len(batch)))
    for spelled, group in groups.items():
        assert group == sorted(group)
        kind = target_topic.TOPICS.get(spelled)
        for i in group:
            about = batch[i].topic
            assert about is not None
            shape = (about.group, about.channel, about.criterion)
            assert kind is None or shape == (kind.group, kind.channel, kind.criterion)
            assert kind is not None or shape == ("things", "twin", "commands")


@pytest.mark.parametrize("spelled", target_topic.TOPICS)
def test_each_target_topic_is_the_kind_of_some_topic(spelled: str) -> None:
    kind = target_topic.TOPICS[spelled]
    tail = {"events": "/modified", "commands": "/modify"}.get(kind.criterion, "/x")
    path = spelled.replace("_/_/", "org.acme/one/", 1) + tail
    assert topic.parse(path).kind == spelled


def test_what_is_no_signal_is_refused() -> None:
    loops = (columns.by_kind, columns.own_headers, columns.transport_headers)
    for loop in (*loops, columns.ordering_keys):
        with pytest.raises(TypeError):
            loop([None])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        columns.mark([None], "x", 0)  # type: ignore[list-item]
    with pytest.raises(TypeError):
        columns.act_for([None], ())  # type: ignore[list-item]
    with pytest.raises(TypeError):
        columns.within([None], [0], frozenset())  # type: ignore[list-item]
