"""A real RabbitMQ: its own node, with its own epmd, as root or not.

The distribution's wrapper script insists on the rabbitmq user and on one node a machine, so
this runs the server script behind it, and gives it every path by environment.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.brokers.broker import Broker, BrokerFailed, eventually
from tests.brokers.ports import HOST, accepts
from tests.brokers.process import Process
from tests.brokers.rabbitmq_client import RabbitMQClient, answers

# The distribution keeps its own scripts here; elsewhere they are on the path.
SCRIPTS = "/usr/lib/rabbitmq/bin"
DEFAULTS: Mapping[str, object] = {
    "disk_free_limit.absolute": "50MB",
    "log.console": "true",
    "log.console.level": "warning",
    "log.file": "false",
    "vm_memory_high_watermark.absolute": "1GB",
}


class RabbitMQ(Broker, RabbitMQClient):
    """``uri`` is what clients connect to. *config* overrides rabbitmq.conf."""

    name = "rabbitmq"

    def __init__(
        self, config: Mapping[str, object] | None = None, plugins: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.port = self._port()
        self.uri = f"amqp://guest:guest@{HOST}:{self.port}/"
        self._epmd_port = self._port()
        self._epmd: Process | None = None
        settings = {"listeners.tcp.1": f"{HOST}:{self.port}", **DEFAULTS, **(config or {})}
        self._env = self._environment(self._port())
        self._write("rabbitmq.conf", "".join(f"{k} = {v}\n" for k, v in settings.items()))
        self._write("enabled_plugins", f"[{','.join(plugins)}].\n")
        self._write("advanced.config", "[{kernel, [{inet_dist_use_interface, {127,0,0,1}}]}].\n")
        self._write("env.conf", "")

    @staticmethod
    def missing() -> str:
        if _script("rabbitmq-server") and _epmd():
            return ""
        return "RabbitMQ is missing: install rabbitmq-server"

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl and return what it prints. Takes seconds: prefer AMQP."""
        command = [_script("rabbitmqctl"), "--quiet", *arguments]
        return subprocess.run(
            command, env=os.environ | self._env, capture_output=True, text=True, check=True
        ).stdout

    def drop_connections(self) -> None:
        """Have the broker close every client's connection."""
        self.ctl("close_all_connections", "tests")

    def unsettled(self, queue: str) -> int:
        """How many messages consumers hold without having settled them."""
        listed = self.ctl("list_queues", "name", "messages_unacknowledged", "--no-table-headers")
        return int(dict(line.rsplit("\t", 1) for line in listed.splitlines()).get(queue, "0"))

    def close(self) -> None:
        super().close()
        if self._epmd:
            self._epmd.kill()

    def _environment(self, distribution_port: int) -> dict[str, str]:
        here = str(self.directory)
        return {
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(self._epmd_port),
            "HOME": here,  # the cookie
            "LANG": "C.UTF-8",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{here}/advanced.config",
            "RABBITMQ_CONFIG_FILE": f"{here}/rabbitmq.conf",
            "RABBITMQ_CONF_ENV_FILE": f"{here}/env.conf",
            "RABBITMQ_DIST_PORT": str(distribution_port),
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{here}/enabled_plugins",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{here}/generated",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_LOG_BASE": here,
            "RABBITMQ_MNESIA_BASE": f"{here}/mnesia",
            "RABBITMQ_NODENAME": f"streamproc-{self.port}@localhost",
            "RABBITMQ_PID_FILE": f"{here}/pid",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none",
            "RUNNING_UNDER_SYSTEMD": "1",  # the script becomes the server, rather than its parent
        }

    def _write(self, name: str, text: str) -> None:
        Path(self.directory, name).write_text(text)

    def _launch(self) -> Process:
        if self._epmd is None or not self._epmd.alive:
            self._epmd = self._process_of(_epmd(), "-port", str(self._epmd_port))
            if not eventually(lambda: accepts(self._epmd_port)):
                raise BrokerFailed("epmd, which RabbitMQ needs, does not listen")
        return self._process_of(_script("rabbitmq-server"))

    def _process_of(self, *command: str) -> Process:
        return Process(command, directory=self.directory, log=self.log, env=self._env)

    def _ready(self) -> bool:
        return accepts(self.port) and answers(self.uri)


def _script(name: str) -> str:
    return shutil.which(name, path=SCRIPTS) or shutil.which(name) or ""


def _epmd() -> str:
    beside = sorted(Path("/usr/lib/erlang").glob("erts-*/bin"))
    return shutil.which("epmd") or shutil.which("epmd", path=":".join(map(str, beside))) or ""
