"""Expressions in a connection: parsed as the worker will parse them, their mistakes located."""

from __future__ import annotations

from collections.abc import Iterator

from streamproc.config.problem import Finding, Path, quoted
from streamproc.errors import ExpressionError
from streamproc.lang import target_topic
from streamproc.lang import template as templates
from streamproc.lang.plan import Plan
from streamproc.lang.scopes import Scope

HOLE = "\ufffc"  # stands for what a placeholder will give; in no address of any broker


def template(
    text: str, scope: Scope, path: Path, connection_id: str
) -> tuple[Plan | None, list[Finding]]:
    """The plan of a template, or what is wrong with it."""
    try:
        return templates.parse(text, scope, connection_id=connection_id), []
    except ExpressionError as error:
        return None, [finding(error, text, path)]


def mistakes(text: str, scope: Scope, path: Path, connection_id: str) -> list[Finding]:
    """What is wrong with a template, when its plan does not matter."""
    return template(text, scope, path, connection_id)[1]


def shape(plan: Plan) -> str:
    """The fixed text of a template, with a HOLE for each placeholder."""
    return "".join(piece if isinstance(piece, str) else HOLE for piece in plan.pieces)


def condition(text: str, scope: Scope, path: Path, connection_id: str) -> Iterator[Finding]:
    """What is wrong with a pipeline of functions that decides yes or no."""
    try:
        templates.parse_condition(text, scope, connection_id=connection_id)
    except ExpressionError as error:
        yield finding(error, text, path)


def topic(text: str, path: Path) -> tuple[target_topic.TargetTopic | None, list[Finding]]:
    """The parsed topic of a target, or what is wrong with it, its filter included."""
    try:
        return target_topic.parse(text), []
    except ExpressionError as error:
        # Positions are those in the decoded filter or selector; the sentence says where.
        wrong = Finding(
            path=path,
            message="the topic does not parse",
            code=error.code,
            hint=error.hint,
            detail=f"{error} in {quoted(text)}",
        )
        return None, [wrong]


def finding(error: ExpressionError, text: str, path: Path) -> Finding:
    """A parser's error as a finding. Ditto's validator gives all of them its own code."""
    at = "" if error.position is None else f" at position {error.position}"
    return Finding(
        path=path,
        message=f"the expression does not parse{at}",
        hint=error.hint,
        detail=f"{error}{at} of {quoted(text)}",
    )
