"""Safety (it never does what it must not) and liveness (it does what it must, in time).

The machine plays the processes; it keeps its own books of what was promised to whom, and
looks at the supervisor's actions only.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streamproc.config.service import Supervision
from streamproc.control import EXIT_CONFIG, EXIT_STOPPED
from streamproc.master.supervisor import (
    GRACE_S,
    LOOP_CRASHES,
    RESTART_GRACE_S,
    Action,
    Ask,
    Beat,
    Distrust,
    Event,
    Exited,
    Halt,
    Kill,
    Ready,
    Spawn,
    Stop,
    Supervisor,
    Terminate,
    Tick,
)

RULES = Supervision(
    silence_s=4.0,
    start_s=10.0,
    first_backoff_s=1.0,
    max_backoff_s=6.0,
    healthy_after_s=12.0,
    crash_limit=5,
    drain_s=8.0,
)
TICK_S = 0.5


@dataclass
class Process:
    """What the machine knows of one process, from actions and from what it made happen."""

    born: float
    heard: float
    ready: float | None = None
    told: float | None = None  # asked or terminated
    asked: bool = False
    kill_due: float | None = None
    killed: bool = False
    distrusted: bool = False


@dataclass
class Place:
    """One slot."""

    process: Process | None = None
    died: float = -1000.0
    wait: float = 0.0  # the longest it may be down
    least: float = 0.0  # the shortest
    row: int = 0  # crashes in a row
    barred: bool = False
    hold_until: float = 100 + RULES.start_s  # its clients wait for it


class Machine(RuleBasedStateMachine):
    @initialize(workers=st.integers(1, 3), jitter=st.lists(st.floats(0, 0.99), min_size=1))
    def begin(self, workers: int, jitter: list[float]) -> None:
        self.now = 100.0
        self.drawn = 0

        def draw() -> float:
            self.drawn += 1
            return jitter[self.drawn % len(jitter)]

        self.supervisor = Supervisor(workers, RULES, draw, self.now)
        self.places = [Place() for _ in range(workers)]
        self.stops = 0
        self.gave_up = False
        self.dirty = False
        self.halt: Halt | None = None
        self.feed(Tick())

    # What happens

    @rule(ticks=st.integers(1, 40))
    def time_passes(self, ticks: int) -> None:
        for _ in range(ticks):
            self.now += TICK_S
            self.feed(Tick())
            self.nothing_is_overdue()

    @rule(ticks=st.integers(1, 40), data=st.data())
    def time_passes_in_good_health(self, ticks: int, data: st.DataObject) -> None:
        dead = data.draw(st.sets(st.integers(0, len(self.places) - 1), max_size=1))
        for _ in range(ticks):
            self.now += TICK_S
            for number, place in enumerate(self.places):
                process = place.process
                if process is not None and number not in dead:
                    if process.ready is None:
                        self.make_ready(number, process)
                    process.heard = self.now
                    self.feed(Beat(number))
            self.feed(Tick())
            self.nothing_is_overdue()

    @rule(data=st.data())
    def becomes_ready(self, data: st.DataObject) -> None:
        for number, process in self.some(data, lambda p: p.ready is None):
            self.make_ready(number, process)

    def make_ready(self, number: int, process: Process) -> None:
        if process.told is None:
            process.ready = self.now
        process.heard = self.now
        self.feed(Ready(number))

    @rule(data=st.data())
    def beats(self, data: st.DataObject) -> None:
        for number, process in self.some(data, lambda _: True):
            process.heard = self.now
            self.feed(Beat(number))

    @rule(data=st.data(), code=st.sampled_from([1, -9, -11, 0, EXIT_CONFIG]))
    def dies(self, data: st.DataObject, code: int) -> None:
        for number, _ in self.some(data, lambda p: not p.killed):
            self.gone(number, code, 0)

    @rule(times=st.integers(1, RULES.crash_limit))
    def one_dies_again_and_again(self, times: int) -> None:
        while times and not self.stopping:
            if self.places[0].barred:
                return
            if self.places[0].process is None:
                self.now += TICK_S
                self.feed(Tick())
                self.nothing_is_overdue()
            elif self.places[0].process.killed:
                return
            else:
                self.gone(0, 1, 0)
                times -= 1

    @rule(data=st.data(), left=st.sampled_from([0, 0, 3]))
    def ends_as_told(self, data: st.DataObject, left: int) -> None:
        for number, process in self.some(data, lambda p: p.told is not None and not p.killed):
            self.gone(number, EXIT_STOPPED if process.asked else -15, left)

    @rule()
    def the_killed_are_gone(self) -> None:
        for number, place in enumerate(self.places):
            if place.process is not None and place.process.killed:
                self.gone(number, -9, 0)

    @rule(data=st.data())
    def breaks_the_protocol(self, data: st.DataObject) -> None:
        for number, process in self.some(data, lambda _: True):
            process.distrusted = True
            self.feed(Distrust(number, "sent rubbish"))
            assert process.told is not None, "a distrusted worker was let run"

    @precondition(lambda self: self.stops < 3)
    @rule(sure=st.sampled_from([False, False, False, True]))
    def is_told_to_stop(self, sure: bool) -> None:
        if not sure:
            return  # a story that stops early has little to tell
        self.stops += 1
        self.feed(Stop())
        for place in self.places:
            if place.process is not None:
                assert place.process.told is not None, "stopping, and this one was not told"
                assert self.stops < 2 or place.process.killed, "the second stop means now"

    # What the supervisor did about it

    def feed(self, event: Event) -> None:
        for action in self.supervisor.step(self.now, event):
            assert self.halt is None, f"{action} after the end"
            self.perform(action)

    def perform(self, action: Action) -> None:
        if isinstance(action, Halt):
            self.halt = action
            assert not any(place.process for place in self.places), "left a process behind"
            assert self.stopping, "ended on its own"
            assert action.clean == (not self.dirty and not self.gave_up)
            return
        place = self.places[action.slot]
        process = place.process
        if isinstance(action, Spawn):
            assert process is None, "two processes in one slot"
            assert not self.stopping, "started while stopping"
            assert not place.barred, "started though no restart helps"
            assert self.now >= place.died + place.least, "started without back-off"
            place.process = Process(born=self.now, heard=self.now)
            return
        assert process is not None, f"{action}, but there is none"
        if isinstance(action, Kill):
            assert not process.killed, "killed twice"
            assert process.kill_due is not None, "killed without a warning"
            assert self.stops > 1 or self.now >= process.kill_due, "killed too early"
            process.killed = True
            return
        assert process.told is None, "told twice"
        process.told = self.now
        if process.ready is not None:
            place.hold_until = self.now + RESTART_GRACE_S
        if isinstance(action, Ask):
            assert self.stopping
            assert process.ready is not None
            assert action.drain_s == RULES.drain_s
            process.asked = True
            process.kill_due = self.now + RULES.drain_s + GRACE_S
            return
        silent = process.ready is not None and self.now - process.heard > RULES.silence_s
        late = process.ready is None and self.now - process.born > RULES.start_s
        idle = process.ready is None and self.stopping
        assert silent or late or idle or process.distrusted, f"{action}, for nothing"
        process.kill_due = self.now + GRACE_S

    def gone(self, number: int, code: int, left: int) -> None:
        place = self.places[number]
        process = place.process
        assert process is not None
        place.process = None
        place.died = self.now
        if process.ready is not None and process.told is None:
            place.hold_until = self.now + RESTART_GRACE_S
        if self.stopping:
            if process.ready is not None and (process.killed or code != EXIT_STOPPED or left):
                self.dirty = True
        else:
            end = self.now if process.told is None else process.told
            healthy = process.ready is not None and end - process.ready >= RULES.healthy_after_s
            place.row = 1 if healthy else place.row + 1
            place.wait = 0.0 if place.row == 1 else min(2.0 ** (place.row - 2), 6.0)
            place.least = place.wait / 2
            place.barred = code == EXIT_CONFIG
            if place.row >= RULES.crash_limit and not place.barred:
                self.gave_up = True
            if all(other.barred for other in self.places):
                self.gave_up = True
        self.feed(Exited(number, code, left))

    # What must be true

    @property
    def stopping(self) -> bool:
        return bool(self.__dict__.get("stops")) or self.__dict__.get("gave_up", True)

    def nothing_is_overdue(self) -> None:
        """After a tick, every deadline that has passed was acted upon."""
        for place in self.places:
            process = place.process
            if process is None:
                if not self.stopping and not place.barred:
                    assert self.now < place.died + place.wait, "was not started again in time"
                continue
            if process.told is None:
                if process.ready is not None and self.now - process.ready >= RULES.healthy_after_s:
                    place.row = 0
                silent_s = self.now - process.heard
                assert process.ready is None or silent_s <= RULES.silence_s, "a hang not noticed"
                if process.ready is None:
                    assert self.now - process.born <= RULES.start_s, "a start not noticed to hang"
                assert not self.stopping, "stopping, and this one was not told"
            elif not process.killed:
                assert process.kill_due is not None
                assert self.now < process.kill_due, "lives on after its deadline"
        if self.stopping and not any(place.process for place in self.places):
            assert self.halt is not None, "nothing is left, and it does not end"

    @precondition(lambda self: not self.stopping)
    @invariant()
    def clients_are_placed_where_they_run_or_soon_will(self) -> None:
        here = set()
        for number, place in enumerate(self.places):
            ready = None if place.process is None else place.process.ready
            serves = ready is not None and place.process is not None and place.process.told is None
            if serves or (not place.barred and self.now < place.hold_until):
                here.add(number)
        sound = {number for number in here if self.places[number].row < LOOP_CRASHES}
        assert self.supervisor.eligible(self.now) == (sound or here)

    def some(self, data: st.DataObject, fits: object) -> list[tuple[int, Process]]:
        """One process that fits, or none."""
        assert callable(fits)
        found = [
            (number, place.process)
            for number, place in enumerate(self.places)
            if place.process is not None and fits(place.process)
        ]
        return [data.draw(st.sampled_from(found))] if found else []


TestSupervisor = Machine.TestCase
TestSupervisor.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


class Story:
    """The supervisor with a clock, for examples read from top to bottom."""

    def __init__(self, workers: int = 1, rules: Supervision = RULES) -> None:
        self.now = 0.0
        self.supervisor = Supervisor(workers, rules, lambda: 0.5, self.now)

    def after(self, seconds: float, event: Event) -> list[Action]:
        """Tick through *seconds*, with a beat of all that are ready, then *event*."""
        end = self.now + seconds
        actions: list[Action] = []
        while self.now + TICK_S < end:
            self.now += TICK_S
            for number, slot in enumerate(self.supervisor.slots):
                if slot.state == "ready":
                    actions += self.supervisor.step(self.now, Beat(number))
            actions += self.supervisor.step(self.now, Tick())
        self.now = end
        return actions + self.supervisor.step(self.now, event)


def test_the_first_restart_is_at_once_and_later_ones_wait_longer_and_longer() -> None:
    story = Story()
    assert story.after(0, Tick()) == [Spawn(0)]
    waits = []
    for _ in range(4):
        story.after(1, Ready(0))
        died = story.now
        actions = story.after(0, Exited(0, 1))
        while Spawn(0) not in actions:
            actions = story.after(TICK_S / 4, Tick())
        waits.append(story.now - died)
    assert waits == [0, 0.75, 1.5, 3.0]


def test_a_worker_that_lived_long_starts_with_a_clean_record() -> None:
    story = Story()
    story.after(0, Tick())
    for _ in range(3):
        story.after(0, Ready(0))
        story.after(0, Exited(0, 1))
        story.after(10, Tick())
    story.after(0, Ready(0))
    story.after(RULES.healthy_after_s, Tick())
    assert story.supervisor.slots[0].crashes == 0
    assert story.after(0, Exited(0, -9)) == [Spawn(0)]


def test_a_worker_that_never_gets_ready_is_ended_and_counts_as_a_crash() -> None:
    story = Story()
    story.after(0, Tick())
    assert story.after(RULES.start_s + 1, Tick()) == [Terminate(0, "not ready within 10 s")]
    assert story.after(GRACE_S, Tick()) == [Kill(0, "out of time")]
    assert story.after(1, Exited(0, -9)) == [Spawn(0)]
    assert story.supervisor.slots[0].crashes == 1


def test_too_many_crashes_of_one_worker_end_the_service_but_not_the_others_work() -> None:
    story = Story(workers=2)
    story.after(0, Tick())
    story.after(0, Ready(1))
    actions: list[Action] = []
    for _ in range(RULES.crash_limit):
        actions = story.after(6.5, Exited(0, 1))
    assert actions[-1] == Ask(1, RULES.drain_s)
    assert story.after(1, Exited(1, EXIT_STOPPED)) == [
        Halt("worker 0 died 5 times in a row", clean=False)
    ]


def test_one_that_cannot_start_is_left_out_and_the_rest_go_on() -> None:
    story = Story(workers=2)
    story.after(0, Tick())
    story.after(1, Ready(1))
    assert story.after(0, Exited(0, EXIT_CONFIG)) == []
    assert story.after(100, Tick()) == []
    assert story.supervisor.eligible(story.now) == {1}
    assert story.after(0, Exited(1, EXIT_CONFIG)) == [Halt("no worker can start", clean=False)]


def test_a_master_that_was_away_hears_its_workers_out_before_it_judges() -> None:
    story = Story()
    story.after(0, Tick())
    story.after(0, Ready(0))
    story.now += 1000
    assert story.supervisor.step(story.now, Tick()) == []
    assert story.supervisor.step(story.now + 0.1, Beat(0)) == []


def test_clients_wait_a_moment_for_a_worker_that_died_and_no_longer() -> None:
    story = Story(workers=2)
    story.after(0, Tick())
    for number in (0, 1):
        story.after(0, Ready(number))
    story.after(0, Exited(0, -9))
    assert story.supervisor.eligible(story.now + RESTART_GRACE_S - 0.01) == {0, 1}
    assert story.supervisor.eligible(story.now + RESTART_GRACE_S) == {1}
    story.after(RESTART_GRACE_S + 1, Ready(0))
    assert story.supervisor.eligible(story.now) == {0, 1}


def test_a_worker_that_keeps_dying_loses_its_clients_until_it_has_proved_itself() -> None:
    story = Story(workers=2)
    story.after(0, Tick())
    story.after(0, Ready(1))
    for _ in range(LOOP_CRASHES):
        story.after(2, Ready(0))
        story.after(0, Exited(0, -11))
    story.after(3, Ready(0))
    assert story.supervisor.eligible(story.now) == {1}
    story.after(RULES.healthy_after_s, Tick())
    assert story.supervisor.eligible(story.now) == {0, 1}


def test_where_all_keep_dying_clients_stay_with_what_there_is() -> None:
    story = Story()
    story.after(0, Tick())
    for _ in range(LOOP_CRASHES):
        story.after(0, Ready(0))
        story.after(4, Exited(0, -11))
    story.after(3, Ready(0))
    assert story.supervisor.eligible(story.now) == {0}


@pytest.mark.parametrize(
    ("code", "left", "clean"), [(EXIT_STOPPED, 0, True), (EXIT_STOPPED, 7, False), (1, 0, False)]
)
def test_a_stop_is_clean_when_all_drained(code: int, left: int, clean: bool) -> None:
    story = Story()
    story.after(0, Tick())
    story.after(0, Ready(0))
    assert story.after(0, Stop()) == [Ask(0, RULES.drain_s)]
    assert story.after(1, Exited(0, code, left)) == [Halt("stopped", clean=clean)]


def test_a_stop_before_anything_ran_is_clean_too() -> None:
    story = Story()
    assert story.supervisor.step(0.0, Stop()) == [Halt("stopped", clean=True)]
    story = Story()
    story.after(0, Tick())
    assert story.after(1, Stop()) == [Terminate(0, "stopping, and nothing to drain")]
    assert story.after(1, Exited(0, -15)) == [Halt("stopped", clean=True)]
