"""Topic paths: what they say, what is said of bad ones, and that they cost bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from streamproc.errors import SignalError
from streamproc.kernels.signal import Topic
from streamproc.protocol import topic


def parts(found: Topic) -> tuple[str | None, ...]:
    return (
        found.namespace,
        found.name,
        found.group,
        found.channel,
        found.criterion,
        found.action,
        found.subject,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b/c/things/twin/commands/modify", ("a.b", "c", "things", "twin", "commands", "modify")),
        ("/c/things/live/events/created", ("", "c", "things", "live", "events", "created")),
        ("a/c/policies/commands/create", ("a", "c", "policies", "none", "commands", "create")),
        ("a/c/things/twin/search/next", ("a", "c", "things", "twin", "search", "next")),
        (
            "a/c/things/twin/streaming/subscribeForPersistedEvents",
            ("a", "c", "things", "twin", "streaming", "subscribeForPersistedEvents"),
        ),
        ("a/c/things/twin/errors", ("a", "c", "things", "twin", "errors", None)),
        ("a/c/things/twin/acks/", ("a", "c", "things", "twin", "acks", None)),
    ],
)
def test_components(text: str, expected: tuple[str | None, ...]) -> None:
    assert parts(topic.parse(text))[:6] == expected
    assert topic.parse(text).subject is None


@pytest.mark.parametrize(
    ("rest", "subject"),
    [
        ("messages/ask", "ask"),
        ("messages/a/b", "a/b"),
        ("messages/a/b/", "a/b"),
        ("messages/a//b", "a//b"),
        ("messages//b", "/b"),
        ("messages/a//", "a//"),
        ("messages/", None),
        ("messages", None),
        ("messages/x~0y", "x~0y"),
        ("acks/my:label", "my:label"),
        ("announcements/x", "x"),
    ],
)
def test_the_rest_of_a_topic_is_its_subject(rest: str, subject: str | None) -> None:
    assert topic.parse(f"a/b/things/live/{rest}").subject == subject


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("a/b/things/twin/commands/modify/more/x", "a/b/things/twin/commands/modify"),
        ("a/b/things/twin/commands/modify/", "a/b/things/twin/commands/modify"),
        ("a/b/things/twin/errors/x", "a/b/things/twin/errors"),
        ("a/b/things/twin/acks/", "a/b/things/twin/acks"),
        ("a/b/policies/commands/delete/x", "a/b/policies/commands/delete"),
    ],
)
def test_full_leaves_out_what_means_nothing(text: str, canonical: str) -> None:
    assert topic.parse(text).full == canonical
    assert topic.parse(text) == topic.parse(canonical)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "an entity name"),
        ("a", "an entity name"),
        ("a/b", "a group"),
        ("a//things/twin/commands/modify", "a group"),
        ("a/b/invalid/twin/commands/modify", "the group is 'invalid'"),
        ("a/b/things", "a channel"),
        ("a/b/things/TWIN/commands/modify", "the channel is 'TWIN'"),
        ("a/b/things/none/commands/modify", "the channel is 'none'"),
        ("a/b/things//commands/modify", "the channel is '/commands/modify'"),
        ("a/b/things/twin", "a criterion"),
        ("a/b/things/twin/command/modify", "the criterion is 'command'"),
        ("a/b/policies/twin/commands/modify", "the criterion is 'twin'"),
        ("a/b/things/twin/commands", "an action"),
        ("a/b/things/twin/commands/", "an action"),
        ("a/b/things/twin/events/changed", "the action is 'changed'"),
        ("a/b/things/twin/search/modify", "the action is 'modify'"),
        ("a/b/things/twin/streaming/subscribe", "the action is 'subscribe'"),
    ],
)
def test_errors_name_the_segment_and_what_was_expected(text: str, named: str) -> None:
    for _ in range(2):
        with pytest.raises(SignalError) as caught:
            topic.parse(text)
        assert caught.value.code == "protocoladapter:unknown.topicpath"
        assert caught.value.status == 400
        assert named in str(caught.value.details["description"])


def test_an_error_repeats_only_a_piece_of_a_long_topic() -> None:
    with pytest.raises(SignalError) as caught:
        topic.parse("a/b/" + "x" * 100_000)
    assert len(str(caught.value)) < 1000


names = st.text(max_size=4) | st.sampled_from(["_", "org.acme", "a b", "ä", "b~0c"])
words = st.sampled_from(
    [
        *("things", "policies", "connections", "twin", "live", "none", "commands", "events"),
        *("messages", "acks", "search", "streaming", "errors", "announcements", "modify", "next"),
    ]
)


@given(segments=st.lists(st.one_of(words, words, names), max_size=9))
@settings(max_examples=1000, deadline=None)
def test_any_text_is_a_topic_or_an_error(segments: list[str]) -> None:
    text = "/".join(segments)
    try:
        found = topic.parse(text)
    except SignalError as error:
        event(error.code)
        return
    event(found.criterion)
    assert parts(topic.parse(found.full)) == parts(found)
    assert text.startswith(found.full)


@st.composite
def spelled(draw: st.DrawFn) -> str:
    """A topic that is whole."""
    segment = st.text(min_size=1, max_size=5).filter(lambda text: "/" not in text)
    group = draw(st.sampled_from(topic.GROUPS))
    criterion = draw(st.sampled_from(sorted(topic.CRITERIA)))
    found = [draw(segment), draw(segment), group]
    if group == "things":
        found.append(draw(st.sampled_from(topic.CHANNELS)))
    found.append(criterion)
    actions = topic.CRITERIA[criterion]
    if actions:
        found.append(draw(st.sampled_from(actions)))
    elif actions is None:
        found += draw(st.lists(segment, max_size=3))
    return "/".join(found)


@given(text=spelled())
@settings(max_examples=500, deadline=None)
def test_a_whole_topic_prints_as_it_was_written(text: str) -> None:
    found = topic.parse(text)
    assert found.full == text
    pieces = [*parts(found)]
    if found.channel == topic.NO_CHANNEL:
        del pieces[3]
    assert "/".join(piece for piece in pieces if piece is not None) == text


def test_equal_topics_are_shared() -> None:
    text = "org.acme/shared/things/twin/commands/modify"
    assert topic.parse(text) is topic.parse(("x" + text)[1:])
    assert topic.cached(text) is topic.parse(text)


def test_a_hundred_thousand_things_and_long_subjects_take_bounded_memory() -> None:
    for i in range(40_000):
        topic.parse(f"org.acme/many-{i}/things/twin/commands/modify")
    assert len(topic._cache) <= topic.CACHED_TOPICS
    long = "org.acme/long/things/live/messages/" + "x" * topic.CACHED_LENGTH
    assert topic.parse(long).subject == "x" * topic.CACHED_LENGTH
    assert topic.cached(long) is None
