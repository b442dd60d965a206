"""docs/reference/connectors/<name>.md: what a connector takes, promises and cannot do."""

from __future__ import annotations

from streamproc.cli.pages.markdown import code, page, table
from streamproc.cli.pages.options import groups, option_table, summary
from streamproc.config.bindings import BINDINGS, Binding
from streamproc.config.support import CREDENTIALS
from streamproc.connectors import CONNECTORS, Row
from streamproc.connectors.base import Can

_PROMISES: tuple[tuple[Can, str, str], ...] = (
    (Can.SOURCE, "has sources", "has no sources"),
    (Can.TARGET, "has targets", "has no targets"),
    (
        Can.REDELIVER,
        "a message that is not settled comes again after a loss of the link or a restart",
        "a message that is not settled does not come again by itself",
    ),
    (
        Can.REJECT,
        "one message can be refused for good, alone",
        "a single message cannot be refused: it is passed over",
    ),
    (Can.HEADERS, "headers survive", "there are no headers"),
    (
        Can.PIPELINE,
        "keeps the order of what it writes through its own retries, so several messages of a "
        "thing may be on their way at once",
        "does not keep the order of several messages on their way, so there is one at a time "
        "for each thing",
    ),
    (
        Can.SHARE,
        "several clients of a connection share the work of its sources",
        "several clients of a connection do not share the work of its sources",
    ),
)
_OF_SOURCES = Can.REDELIVER | Can.REJECT | Can.SHARE
_OF_TARGETS = Can.PIPELINE


def connector(row: Row) -> str:
    """The page of one connector."""
    binding = BINDINGS[row.name]
    declared = row.options.__module__.replace(".", "/")
    return page(
        f"{declared}.py` and `streamproc/connectors/__init__.py",
        row.title,
        f"`connectionType: {row.name}`. {summary(row.options)}",
        _addresses(row, binding),
        f"## specificConfig\n\n{option_table(row.options)}",
        *_groups(row),
        _promises(row),
    )


def overview() -> str:
    """docs/reference/connectors.md: all of them, and the types there are none for."""
    sides = ((Can.SOURCE, "sources"), (Can.TARGET, "targets"))
    rows = [
        (
            f"[{row.title}](connectors/{row.name}.md)",
            code(row.name),
            ", ".join(word for can, word in sides if row.can & can),
        )
        for row in CONNECTORS.values()
    ]
    missing = ", ".join(code(name) for name in BINDINGS if name not in CONNECTORS)
    return page(
        "streamproc/connectors/__init__.py",
        "Connectors",
        table(("connector", "connectionType", "has"), rows),
        f"Connections of the types {missing} are checked by Ditto's rules and refused: this "
        "version has no connector for them.",
    )


def _groups(row: Row) -> list[str]:
    """The groups of options inside specificConfig."""
    inner = list(groups(row.options))[1:]
    return [f"### {group.__name__}\n\n{summary(group)}\n\n{option_table(group)}" for group in inner]


def _addresses(row: Row, binding: Binding) -> str:
    schemes = " or ".join(map(code, row.schemes)) or "none"
    rows = [("uri", f"scheme {schemes}" if row.schemes else "none")]
    if row.can & Can.SOURCE:
        rows.append(("address of a source", binding.source_form))
    if row.can & Can.TARGET:
        rows.append(("address of a target", f"{binding.target_form}; a template"))
    if binding.source_qos:
        rows.append(("qos of a source", ", ".join(map(str, binding.source_qos))))
    if row.schemes:
        kinds = sorted(CREDENTIALS.get(row.name, ()))
        more = f", or {', '.join(map(code, kinds))} in `credentials`" if kinds else ""
        user = "none" if row.name == "http-ingest" else f"user and password in the uri{more}"
        rows.append(("credentials", user))
    return "## Where and how\n\n" + table(("", ""), rows)


def _promises(row: Row) -> str:
    kept: list[str] = []
    missing: list[str] = []
    for can, promise, limit in _PROMISES:
        if row.can & can:
            kept.append(promise)
        elif (can & _OF_SOURCES and not row.can & Can.SOURCE) or (
            can & _OF_TARGETS and not row.can & Can.TARGET
        ):
            continue
        else:
            missing.append(limit)
    lines = [
        "## Promises",
        "",
        "Tests hold the connector to each of them.",
        "",
        *(f"- {_sentence(promise)}" for promise in kept),
    ]
    if missing:
        lines += ["", "## Limits", "", *(f"- {_sentence(limit)}" for limit in missing)]
    return "\n".join(lines)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
