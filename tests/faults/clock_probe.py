"""What a process under a moved clock sees: run by ``test_clock.py``, which see.

    python -m tests.faults.clock_probe PROBE

Fails with a traceback. Nothing here asks for times to be short: what must go on is given a
moment to be wrong in, what must end is given a minute.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import confluent_kafka
import pytest
import uvloop

from tests.faults.clock import moved

HOUR_S = 3600.0
MOMENT_S = 0.5
PATIENCE_S = 60.0
REALTIME_COARSE = 5  # time.h of Linux
TIMED_OUT = 110  # errno.h
C11_TIMED_OUT = 4  # threads.h of glibc
C11_TIMED = 1
CERTIFICATES = Path(__file__).parents[1] / "unit" / "connectors" / "http_push" / "certificates"

libc = ctypes.CDLL(None, use_errno=True)
libc.time.restype = ctypes.c_long


class Moment(ctypes.Structure):
    """``struct timespec``, and ``struct timeval``."""

    _fields_ = (("s", ctypes.c_long), ("part", ctypes.c_long))


def after(seconds: float, clock: int = time.CLOCK_REALTIME) -> Moment:
    return Moment(int(time.clock_gettime(clock) + seconds), 0)


def room() -> ctypes.Array[ctypes.c_long]:
    """For whatever pthreads keep; all zero is how they begin."""
    return (ctypes.c_long * 16)()


def jump(by_s: float) -> None:
    with moved() as clock:
        clock.jump(by_s)


# What reads the clock.


def _of(name: str, *arguments: object) -> float:
    moment = Moment()
    getattr(libc, name)(ctypes.byref(moment), *arguments)
    return float(moment.s)


READERS: dict[str, Callable[[], float]] = {
    "time.time": time.time,
    "datetime": lambda: datetime.now(UTC).timestamp(),
    "coarse": lambda: time.clock_gettime(REALTIME_COARSE),
    "time": lambda: float(libc.time(None)),
    "gettimeofday": lambda: _of("gettimeofday", None),
    "timespec_get": lambda: _of("timespec_get", 1),
}


def read() -> None:
    """All of the wall clock's readers move, and none of the others."""
    for by_s in (2 * HOUR_S, -4 * HOUR_S, 0.75, -HOUR_S / 7):
        since = time.monotonic()
        before = {name: reader() for name, reader in READERS.items()}
        jump(by_s)
        for name, reader in READERS.items():
            went_s = reader() - before[name]
            assert -1.1 < went_s - by_s < PATIENCE_S, (name, by_s, went_s)
        assert 0 <= time.monotonic() - since < PATIENCE_S


def child() -> None:
    jump(2 * HOUR_S)
    told = subprocess.run(
        [sys.executable, "-c", "import time; print(time.time())"],
        check=True,
        capture_output=True,
        timeout=PATIENCE_S,
    )
    assert abs(float(told.stdout) - time.time()) < PATIENCE_S


# What waits for a moment of it.


def _condition(name: str, *clock: int) -> Callable[[Moment], bool]:
    condition, mutex = room(), room()

    def wait(until: Moment) -> bool:
        libc.pthread_mutex_lock(mutex)
        try:
            while (said := getattr(libc, name)(condition, mutex, *clock, ctypes.byref(until))) == 0:
                pass  # nobody signals: it woke without a reason
        finally:
            libc.pthread_mutex_unlock(mutex)
        return said in (TIMED_OUT, C11_TIMED_OUT)

    return wait


def _mutex(name: str, *clock: int) -> Callable[[Moment], bool]:
    mutex = room()
    if name.startswith("mtx"):
        libc.mtx_init(mutex, C11_TIMED)
    libc.pthread_mutex_lock(mutex)  # by another thread than the one that waits

    def wait(until: Moment) -> bool:
        said = getattr(libc, name)(mutex, *clock, ctypes.byref(until))
        return said in (TIMED_OUT, C11_TIMED_OUT)

    return wait


def _semaphore(name: str, *clock: int) -> Callable[[Moment], bool]:
    semaphore = room()

    def wait(until: Moment) -> bool:
        failed = getattr(libc, name)(semaphore, *clock, ctypes.byref(until))
        return failed == -1 and ctypes.get_errno() == TIMED_OUT

    return wait


WAITERS: dict[str, Callable[[], Callable[[Moment], bool]]] = {
    "pthread_cond_timedwait": lambda: _condition("pthread_cond_timedwait"),
    "pthread_cond_clockwait": lambda: _condition("pthread_cond_clockwait", time.CLOCK_REALTIME),
    "cnd_timedwait": lambda: _condition("cnd_timedwait"),
    "pthread_mutex_timedlock": lambda: _mutex("pthread_mutex_timedlock"),
    "pthread_mutex_clocklock": lambda: _mutex("pthread_mutex_clocklock", time.CLOCK_REALTIME),
    "mtx_timedlock": lambda: _mutex("mtx_timedlock"),
    "sem_timedwait": lambda: _semaphore("sem_timedwait"),
    "sem_clockwait": lambda: _semaphore("sem_clockwait", time.CLOCK_REALTIME),
}


class Waiting:
    """*wait* in a thread of its own."""

    def __init__(self, wait: Callable[[Moment], bool], until: Moment) -> None:
        self._said: list[bool] = []
        self._thread = threading.Thread(target=lambda: self._said.append(wait(until)), daemon=True)
        self._thread.start()

    def goes_on(self, what: str) -> None:
        assert self._thread.is_alive(), f"{what} has ended"

    def ends(self, what: str) -> None:
        self._thread.join(PATIENCE_S)
        assert self._said, f"{what} goes on"
        assert self._said == [True], f"{what} did not time out"


def wait() -> None:
    """It lasts longer after a jump back, also after one forward to before its end; then ends."""
    until = after(2.0)
    waiting = {name: Waiting(make(), until) for name, make in WAITERS.items()}
    jump(-HOUR_S)
    time.sleep(2.0)
    for name, one in waiting.items():
        one.goes_on(name)
    jump(HOUR_S / 2)
    time.sleep(MOMENT_S)
    for name, one in waiting.items():
        one.goes_on(name)
    jump(HOUR_S / 2)
    for name, one in waiting.items():
        one.ends(name)
    for name, make in WAITERS.items():
        Waiting(make(), after(-HOUR_S)).ends(name)


def signals() -> None:
    """A condition variable that is signalled wakes, whatever the clock did meanwhile."""
    condition, mutex, done = room(), room(), ctypes.c_int(0)
    far = after(1000 * HOUR_S)

    def wait() -> None:
        libc.pthread_mutex_lock(mutex)
        while not done.value:
            libc.pthread_cond_timedwait(condition, mutex, ctypes.byref(far))
        libc.pthread_mutex_unlock(mutex)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    jump(-HOUR_S)
    thread.join(MOMENT_S)
    assert thread.is_alive()
    libc.pthread_mutex_lock(mutex)
    done.value = 1
    libc.pthread_cond_signal(condition)
    libc.pthread_mutex_unlock(mutex)
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def monotonic() -> None:
    """Condition variables of the monotonic clock, Python's locks and loops see no jump."""
    kind, condition, mutex = room(), room(), room()
    libc.pthread_condattr_init(kind)
    libc.pthread_condattr_setclock(kind, time.CLOCK_MONOTONIC)
    libc.pthread_cond_init(condition, kind)

    def wait(until: Moment) -> bool:
        libc.pthread_mutex_lock(mutex)
        while (said := libc.pthread_cond_timedwait(condition, mutex, ctypes.byref(until))) == 0:
            pass
        libc.pthread_mutex_unlock(mutex)
        return bool(said == TIMED_OUT)

    short = Waiting(wait, after(2.0, time.CLOCK_MONOTONIC))
    jump(-2 * HOUR_S)
    short.ends("the condition")
    assert not threading.Event().wait(MOMENT_S)
    long = Waiting(wait, after(HOUR_S, time.CLOCK_MONOTONIC))
    held = Waiting(lambda _: threading.Event().wait(HOUR_S), Moment())
    jump(4 * HOUR_S)
    time.sleep(MOMENT_S)
    long.goes_on("the condition")
    held.goes_on("Python's")
    uvloop.run(_loop())


async def _loop() -> None:
    loop = asyncio.get_running_loop()
    early = asyncio.Event()
    loop.call_later(HOUR_S, early.set)
    jump(4 * HOUR_S)
    await asyncio.sleep(MOMENT_S)
    assert not early.is_set()
    jump(-8 * HOUR_S)
    await asyncio.wait_for(asyncio.sleep(MOMENT_S), PATIENCE_S)


# Libraries.


def librdkafka() -> None:
    """It stamps records with the moved clock, and waits by it."""
    producer = confluent_kafka.Producer({"test.mock.num.brokers": 1, "linger.ms": 0})
    brokers = producer.list_topics(timeout=PATIENCE_S).brokers.values()
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": ",".join(map(str, brokers)).partition("/")[0], "group.id": "g"}
    )
    consumer.assign([confluent_kafka.TopicPartition("t", 0, 0)])
    for by_s in (0.0, 2 * HOUR_S, -4 * HOUR_S):
        jump(by_s)
        producer.produce("t", b"x", partition=0)
        assert producer.flush(PATIENCE_S) == 0
        message = consumer.poll(PATIENCE_S)
        assert message is not None
        assert message.error() is None, message.error()
        stamp = message.timestamp()[1] / 1000
        assert abs(stamp - time.time()) < PATIENCE_S, (by_s, stamp, time.time())
    _waits_longer(consumer)


def _waits_longer(consumer: confluent_kafka.Consumer) -> None:
    """A wait that is under way at a jump back: confluentinc/librdkafka#2145.

    When this fails librdkafka has mended it, and the guide should say so.
    """
    polls = [0]

    def poll() -> None:
        while True:
            consumer.poll(MOMENT_S)
            polls[0] += 1

    threading.Thread(target=poll, daemon=True).start()
    deadline = time.monotonic() + PATIENCE_S
    before = -1
    while before != polls[0]:  # a jump between two polls, or a signal, changes nothing
        assert time.monotonic() < deadline, "waits no longer go by the wall clock"
        jump(-HOUR_S)
        before = polls[0]
        time.sleep(4 * MOMENT_S)
    jump(1000 * HOUR_S)
    while before == polls[0]:
        assert time.monotonic() < deadline, "the wait has not ended"
        time.sleep(MOMENT_S)


def openssl() -> None:
    """A certificate is not valid yet, years ago."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(CERTIFICATES / "server.pem")
    client = ssl.create_default_context(cafile=str(CERTIFICATES / "ca.pem"))
    client.check_hostname = False
    _shake_hands(client, server)
    jump(-20 * 365 * 24 * HOUR_S)
    with pytest.raises(ssl.SSLCertVerificationError, match="not yet valid"):
        _shake_hands(client, server)


def _shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(back, there),
        server.wrap_bio(there, back, server_side=True),
    ]
    for _ in range(4):
        for end in list(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            ends.remove(end)
    assert not ends, "no handshake"


if __name__ == "__main__":
    globals()[sys.argv[1]]()
    sys.stdout.flush()
    os._exit(0)  # past threads that wait for hours
