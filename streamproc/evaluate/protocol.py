"""``topic-path``: shows what a topic path says."""

from __future__ import annotations

from typing import Any

from streamproc.errors import ExpressionError
from streamproc.protocol.topic import parse

# Criterion -> what its action is called in the answer.
_ACTION = {"search": "searchAction", "streaming": "streamingAction"}


def topic_path(case: dict[str, Any]) -> dict[str, str]:
    """The components of ``topic``; absent ones are left out."""
    text = case.get("topic")
    if not isinstance(text, str):
        raise ExpressionError("json.field.missing", "'topic' must be a string")
    topic = parse(text)
    answer = {
        "namespace": topic.namespace,
        "entityName": topic.name,
        "group": topic.group,
        "channel": topic.channel,
        "criterion": topic.criterion,
    }
    if topic.action is not None:
        answer[_ACTION.get(topic.criterion, "action")] = topic.action
    if topic.subject is not None:
        answer["subject"] = topic.subject
    return answer
