"""A real Mosquitto: one listener, sessions and retained messages kept on disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from tests.brokers.broker import Broker
from tests.brokers.mqtt_client import MqttClient
from tests.brokers.ports import HOST
from tests.brokers.process import Process


class Mosquitto(Broker):
    """``uri`` is what clients connect to. *options* are more lines of its configuration."""

    name = "mosquitto"

    def __init__(self, options: Sequence[str] = ()) -> None:
        super().__init__()
        self.port = self._port()
        self.uri = f"mqtt://{HOST}:{self.port}"
        lines = [
            f"listener {self.port} {HOST}",
            "allow_anonymous true",
            "persistence true",
            f"persistence_location {self.directory}/",
            # Save after every change, so that kill -9 loses nothing that was confirmed.
            "autosave_on_changes true",
            "autosave_interval 1",
            "log_type error",
            "log_type warning",
            *(["user root"] if os.getuid() == 0 else []),  # else it could not read our directory
            *options,
        ]
        (self.directory / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    @staticmethod
    def missing() -> str:
        return "" if _command() else "Mosquitto is missing: install mosquitto"

    def client(self, client_id: str = "", *, clean: bool = True) -> MqttClient:
        """A connected client."""
        return MqttClient(self.port, client_id, clean=clean)

    def _launch(self) -> Process:
        command = [_command(), "-c", str(self.directory / "mosquitto.conf")]
        return Process(command, directory=self.directory, log=self.log)

    def _ready(self) -> bool:
        try:
            self.client().close()
        except OSError:
            return False
        return True


def _command() -> str:
    # Distributions put it where the path of a normal user does not reach.
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    return shutil.which("mosquitto", path=path) or ""
