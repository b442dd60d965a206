"""A run has files of its own, and the next clears away what a dead one left."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from streamproc.errors import ConfigError
from streamproc.master.runtime import Runtime
from streamproc.telemetry.metrics import LANE_DEPTH
from streamproc.telemetry.slots import Block


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("r") / "run"


def test_sockets_listen_and_blocks_can_be_taken(place: Path) -> None:
    runtime = Runtime(place, 2)
    for index in range(2):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            peer.connect(str(runtime.run_dir / f"bus-{index}.sock"))
        Block.open(runtime.metrics(index)).gauge(LANE_DEPTH, connection="c").set(index + 1)
    found = [value for reader in runtime.readers for value in reader.refresh()]
    assert found == [1, 2]
    for directory in (runtime.place, runtime.run_dir):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    runtime.close()
    assert list(place.iterdir()) == []


def test_a_temporary_place_is_private_and_gone_afterwards() -> None:
    runtime = Runtime(None, 1)
    assert stat.S_IMODE(runtime.place.stat().st_mode) == 0o700
    runtime.publish_management("127.0.0.1:1")
    assert (runtime.place / "management").read_text() == "127.0.0.1:1\n"
    runtime.close()
    assert not runtime.place.exists()


def test_the_next_run_removes_what_is_finished_and_leaves_what_is_not(place: Path) -> None:
    alive = Runtime(place, 1)
    dead = place / "run-dead"
    dead.mkdir()
    (dead / "lock").touch()
    foreign = place / "run-foreign"
    foreign.mkdir()
    second = Runtime(place, 1)
    assert alive.run_dir.exists()
    assert not dead.exists()
    assert foreign.exists(), "not made by us"
    second.close()
    alive.close()


def test_a_path_too_long_for_a_socket_is_said_and_leaves_nothing(place: Path) -> None:
    deep = place / ("x" * 90)
    with pytest.raises(ConfigError, match="name a shorter one with --runtime-dir"):
        Runtime(deep, 1)
    assert list(deep.iterdir()) == []


def test_a_disk_without_room_is_an_error_at_the_start(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a signal that ends workers whenever they count something for the first time."""
    real, made = os.posix_fallocate, []

    def fallocate(fd: int, offset: int, size: int) -> None:
        made.append(fd)
        if len(made) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(fd, offset, size)

    monkeypatch.setattr(os, "posix_fallocate", fallocate)
    with pytest.raises(ConfigError, match="No space left on device"):
        Runtime(place, 2)
    assert list(place.iterdir()) == []


def test_a_place_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot use the runtime directory"):
        Runtime(tmp_path / "file" / "run", 1)
