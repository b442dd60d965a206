"""What an address must look like, by transport. Each check answers what is wrong, or nothing.

Target addresses are templates: a check is given their fixed text, with a HOLE where a
placeholder will put its value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from streamproc.config.expressions import HOLE
from streamproc.errors import ConfigError

HTTP_VERBS = ("PUT", "PATCH", "POST", "GET", "DELETE")
HTTP_METHODS = (*HTTP_VERBS, "HEAD", "OPTIONS", "CONNECT", "TRACE")

_TOPIC = re.compile(r"[a-zA-Z0-9._-]+\Z")
_PARTITION = re.compile(r"[0-9]{1,10}\Z")
MAX_TOPIC = 249  # characters of a Kafka topic
MAX_MQTT_TOPIC_BYTES = 65_535


@dataclass(frozen=True)
class KafkaAddress:
    """A target address of Kafka, its placeholders resolved."""

    topic: str
    key: str | None = None
    partition: int | None = None

    @classmethod
    def parse(cls, text: str) -> KafkaAddress:
        """Take apart ``topic``, ``topic/key`` or ``topic#partition``; raises ConfigError.

        The slash is looked for first, so a key may hold anything. An empty key or partition
        counts as none.
        """
        topic, slash, key = text.partition("/")
        partition = ""
        if not slash:
            topic, _, partition = text.partition("#")
        if problem := kafka_topic(topic):
            raise ConfigError(problem)
        if partition and not _is_partition(partition):
            raise ConfigError("expected a number of a partition after '#'")
        return cls(topic, key or None, int(partition) if partition else None)


def not_empty(text: str) -> str:
    return "" if text else "expected an address"


def kafka_topic(text: str) -> str:
    """A topic by its name; patterns are not possible."""
    fixed = text.replace(HOLE, "")
    if not text or (fixed and not _TOPIC.match(fixed)):
        return "expected a topic of letters, digits, '.', '_' and '-'"
    if len(text) > MAX_TOPIC:
        return f"expected a topic of at most {MAX_TOPIC} characters"
    return "expected a topic other than '.' and '..'" if text in (".", "..") else ""


def kafka_target(text: str) -> str:
    """``topic``, ``topic/key`` or ``topic#partition``."""
    topic, slash, key = text.partition("/")
    if slash:
        return kafka_topic(topic) or ("" if key else "expected a key after '/'")
    topic, sign, partition = text.partition("#")
    if sign and HOLE not in partition and not _is_partition(partition):
        return "expected a number of a partition after '#'"
    return kafka_topic(topic)


def _is_partition(text: str) -> bool:
    return bool(_PARTITION.match(text)) and int(text) < 2**31


def http_target(text: str) -> str:
    """``VERB:/path``."""
    verb, colon, _ = text.partition(":")
    if colon and verb in HTTP_VERBS:
        return ""
    return f"expected VERB:/path with a verb of {', '.join(HTTP_VERBS)}"


def http_path(text: str) -> str:
    """The path that an HTTP server listens on."""
    if not text.startswith("/"):
        return "expected a path that begins with '/'"
    if re.search(r"[\s?#\x00-\x1f]", text):
        return "expected a path without blanks, query or fragment"
    return ""


def mqtt_filter(text: str) -> str:
    """A topic filter: ``+`` for one level, ``#`` for all the rest."""
    levels = text.split("/")
    if levels[0] == "$share" and len(levels) > 1:
        group, levels = levels[1], levels[2:]
        if not group or re.search(r"[+#]", group):
            return "expected $share/group/filter with a group without '+' and '#'"
        if not levels:
            return "expected a topic filter after $share/group/"
    if problem := _mqtt_text("/".join(levels)):
        return problem
    for index, level in enumerate(levels):
        if "#" in level and (level != "#" or index < len(levels) - 1):
            return "expected '#' as the whole last level of a topic filter"
        if "+" in level and level != "+":
            return "expected '+' as a whole level of a topic filter"
    return ""


def mqtt_topic(text: str) -> str:
    """A topic to publish to."""
    if re.search(r"[+#]", text):
        return "expected a topic without '+' and '#'"
    return _mqtt_text(text)


def _mqtt_text(text: str) -> str:
    if not text:
        return "expected a topic"
    if "\x00" in text or len(text.encode()) > MAX_MQTT_TOPIC_BYTES:
        return f"expected a topic of at most {MAX_MQTT_TOPIC_BYTES} bytes, without NUL"
    return ""


def amqp091_target(text: str) -> str:
    """``exchange/routingKey``, divided at the first slash."""
    exchange, slash, key = text.partition("/")
    if (slash and exchange and key) or (not slash and HOLE in text):
        return ""
    return "expected exchange/routingKey"


def hono_source(text: str) -> str:
    known = ("telemetry", "event", "command_response")
    return "" if text in known else f"expected one of {', '.join(known)}"


def hono_target(text: str) -> str:
    return "" if text == "command" else "expected 'command'"
