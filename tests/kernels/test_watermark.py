"""The watermark kernel equals its reference, and never passes what is not done."""

from __future__ import annotations

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from streamproc.kernels import watermark as fast
from tests.reference import watermark as slow

BOTH = pytest.mark.parametrize("implementation", [slow, fast], ids=["reference", "kernel"])
MAX = (1 << 63) - 1

# Steps from one offset to the next: mostly dense, sometimes holes, once in a while backwards.
dense = st.just(1)
holes = st.sampled_from([1, 1, 1, 2, 3, 1000, 1 << 40])
wrong = st.sampled_from([1, 1, 1, 1, 0, -3])
runs = st.lists(st.one_of(dense, dense, holes, wrong), max_size=200)


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, int, list[tuple[str, list[int]]]]:
    """(first offset, limit, steps): a step adds offsets or says that some are done."""
    at = first = draw(st.sampled_from([0, 1, 7, 1 << 33]))
    known: list[int] = []
    steps: list[tuple[str, list[int]]] = []
    for _ in range(draw(st.integers(0, 12))):
        if draw(st.booleans()):
            added = []
            for step in draw(runs):
                at += step
                added.append(at - 1)
            known += added
            steps.append(("add", added))
        elif known:
            picked = draw(st.lists(st.sampled_from(known), max_size=300))
            if draw(st.booleans()):
                picked = sorted(set(picked)) if draw(st.booleans()) else known[: len(picked)]
            stray = draw(st.lists(st.integers(-2, max(at, 0) + 2), max_size=2))
            steps.append(("done", picked + stray))
    return first, draw(st.sampled_from([1 << 20, 300, 64, 5])), steps


def outcomes(implementation, history):
    """All that a caller can see, after every step."""
    first, limit, steps = history
    mark = implementation.Watermark(first, limit)
    seen = []
    for action, offsets in steps:
        try:
            answer = getattr(mark, action)(offsets)
        except (ValueError, OverflowError) as error:
            answer = type(error), str(error)
        seen.append(
            (
                *(answer, mark.position, mark.oldest, mark.open, mark.gap, mark.window),
                *(repr(mark), mark.snapshot(0), mark.snapshot(9), mark.snapshot(5000)),
            )
        )
    return seen


@given(history=histories())
def test_same_outcome(history):
    expected = outcomes(slow, history)
    for answer, *_ in expected:
        event("error" if isinstance(answer, tuple) else "still" if answer is None else "advanced")
    if any(state[4] for state in expected):
        event("a gap")
    assert outcomes(fast, history) == expected


@given(
    count=st.integers(1, 3000),
    chunks=st.lists(st.integers(1, 400), min_size=1, max_size=20),
    random=st.randoms(use_true_random=False),
)
def test_any_order_of_completion_ends_at_the_end_and_never_passes_an_open_one(
    count, chunks, random
):
    mark = fast.Watermark(0)
    mark.add(list(range(count)))
    todo, done = list(range(count)), set()
    random.shuffle(todo)
    while todo:
        chunk = [todo.pop() for _ in range(min(random.choice(chunks), len(todo)))]
        done.update(chunk)
        mark.done(chunk)
        assert mark.position == next((i for i in range(count) if i not in done), count)
    assert (mark.position, mark.open, mark.gap, mark.oldest) == (count, 0, 0, None)


@given(
    sizes=st.lists(st.integers(1, 120), min_size=3, max_size=40),
    holes_in=st.sampled_from([1, 7, 10_000]),
    eagerness=st.floats(0.2, 1.0),
    random=st.randoms(use_true_random=False),
)
def test_a_window_that_slides_and_grows_and_wraps_is_that_of_the_reference(
    sizes, holes_in, eagerness, random
):
    """Chunks come while others are done: slots are used again, the ring grows in mid-turn."""
    both, at, left = (slow.Watermark(0), fast.Watermark(0)), 0, []
    for size in sizes:
        chunk = []
        for _ in range(size):
            at += 1 if random.randrange(holes_in) else 3
            chunk.append(at)
        left += chunk
        done = [offset for offset in left if random.random() < eagerness]
        random.shuffle(done)
        left = sorted(set(left) - set(done))
        for mark in both:
            mark.add(chunk)
        answers = {mark.done(done) for mark in both}
        states = {(mark.position, mark.oldest, mark.open, mark.gap, mark.window) for mark in both}
        event("wrapped" if at > 200 and both[0].window < 64 else "in the first turn or large")
        assert len(answers) == len(states) == 1
        assert both[1].open == len(left)
        assert both[1].oldest == (left[0] if left else None)


@given(data=st.data())
def test_an_epoch_that_is_gone_changes_nothing_of_the_next(data):
    """Assign, hand out, finish some, revoke: the next epoch starts at what was committed."""
    mark, committed, finished = fast.Watermark(0), 0, set()
    for _ in range(data.draw(st.integers(1, 6))):
        handed = list(range(committed, committed + data.draw(st.integers(1, 50))))
        mark = fast.Watermark(committed)
        mark.add(handed)
        some = data.draw(st.lists(st.sampled_from(handed), unique=True))
        mark.done(some)
        finished.update(some)
        committed = mark.position
        assert all(offset in finished for offset in range(committed))


@BOTH
def test_holes_are_passed(implementation):
    mark = implementation.Watermark(5)
    mark.add([7, 8, 1000])
    assert mark.done([8]) is None
    assert (mark.oldest, mark.gap, mark.window) == (7, 1, 3)
    assert mark.done([7]) == 9
    assert mark.oldest == 1000
    assert mark.done([1000]) == 1001
    assert mark.oldest is None


@BOTH
def test_a_snapshot_says_which_offsets_above_the_watermark_are_done(implementation):
    mark = implementation.Watermark(10)
    assert mark.snapshot(100) == (10, b"")
    mark.add([10, 11, 13, 26])
    assert mark.snapshot(100) == (10, b"")
    mark.done([11, 26])
    assert mark.snapshot(100) == (10, bytes([0b10, 0, 0b1]))
    assert mark.snapshot(16) == (10, bytes([0b10]))
    assert mark.snapshot(1) == (10, b"")
    mark.done([10])
    assert mark.snapshot(100) == (12, bytes([0, 0b1000000]))
    mark.done([13])
    assert mark.snapshot(100) == (27, b"")


@BOTH
def test_settling_twice_or_what_was_never_handed_out_is_ignored(implementation):
    mark = implementation.Watermark(0)
    mark.add([0, 1, 3])
    assert mark.done([1, 1, 2, 99, -1]) is None
    assert (mark.open, mark.gap) == (2, 1)
    assert mark.done([0, 0]) == 2
    assert mark.done([0, 1]) is None
    assert mark.open == 1


@BOTH
def test_nothing_is_added_by_a_call_that_fails(implementation):
    mark = implementation.Watermark(0, limit=4)
    mark.add([0, 1])
    with pytest.raises(ValueError, match="offset 1 comes after 2"):
        mark.add([2, 1])
    with pytest.raises(OverflowError, match="2 offsets are kept and 3 more come; at most 4"):
        mark.add([2, 3, 4])
    assert mark.window == 2
    mark.add([2, 3])
    assert mark.done([0, 1, 2, 3]) == 4


@BOTH
def test_a_held_back_window_grows_to_its_limit_and_frees_itself(implementation):
    mark = implementation.Watermark(0, limit=5000)
    mark.add(list(range(5000)))
    assert mark.done(list(range(1, 5000))) is None
    assert (mark.oldest, mark.gap) == (0, 4999)
    with pytest.raises(OverflowError):
        mark.add([5000])
    assert mark.done([0]) == 5000
    mark.add([5000])
    assert mark.window == 1


def test_wrong_types_and_too_large_numbers_are_errors():
    mark = fast.Watermark(0)
    with pytest.raises(TypeError):
        mark.add(None)
    with pytest.raises(TypeError):
        mark.add(["1"])
    with pytest.raises(OverflowError):
        mark.add([MAX + 1])
    with pytest.raises(ValueError, match="limit"):
        fast.Watermark(0, 0)
    assert mark.window == 0
    mark.add([MAX - 1])
    assert mark.done([MAX - 1]) == MAX
