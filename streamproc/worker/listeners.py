"""Listening sockets that the master opened: they outlive this process."""

from __future__ import annotations

import os
import socket

NAME_BYTES = 512


class Listeners:
    """Takes descriptors from a Unix socket: one datagram each, ``host:port`` and one fd."""

    def __init__(self, channel: socket.socket) -> None:
        channel.setblocking(False)
        self._channel = channel
        self.descriptors: dict[str, int] = {}

    def receive(self, wanted: list[str]) -> None:
        """Take what has been sent, and close what is not *wanted* any more.

        The master sends them before the Assign that names them.
        """
        self._take()
        for name in self.descriptors.keys() - set(wanted):
            os.close(self.descriptors.pop(name))

    def _take(self) -> None:
        while True:
            try:
                name, descriptors, _, _ = socket.recv_fds(self._channel, NAME_BYTES, 1)
            except BlockingIOError:
                return
            except OSError:
                return
            if not name:
                return
            if descriptors:
                self.descriptors[name.decode()] = descriptors[0]
