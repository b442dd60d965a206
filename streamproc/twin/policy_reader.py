"""Reads Ditto policies out of the configuration, and says all that is wrong with them.

What cannot be honoured - imports, subjects that expire - is refused rather than ignored: a
policy must not mean more here than where it was written.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from streamproc.config.problem import KEY_UNKNOWN, Finding, Path, did_you_mean, quoted
from streamproc.config.service import NamespacePolicy

PERMISSIONS: Final = ("READ", "WRITE", "EXECUTE")
RESOURCE_TYPES: Final = ("thing", "message", "policy")

_POLICY_KEYS: Final = ("entries", "policyId", "imports")
_ENTRY_KEYS: Final = ("subjects", "resources", "importable", "allowedImportAdditions")
_NAMESPACE = re.compile(r"[a-zA-Z]\w*(?:[.-][a-zA-Z]\w*)*\Z", re.ASCII)


Segments = tuple[str, ...]
"""Keys on the way from the root of an entity to a part of it."""


class Resource(NamedTuple):
    """One line of an entry: what its subjects may and may not do where."""

    type: str
    segments: Segments
    grant: frozenset[str]
    revoke: frozenset[str]


class Entry(NamedTuple):
    """One entry of a policy."""

    subjects: frozenset[str]
    resources: tuple[Resource, ...]


Policy = tuple[Entry, ...]


def read_policies(
    policies: Mapping[str, Mapping[str, Any]],
) -> tuple[dict[str, Policy], list[Finding]]:
    """The policies by id, and all that is wrong with them."""
    found: list[Finding] = []
    read = {
        policy_id: tuple(_entries(policy_id, policy, ("policies", policy_id), found))
        for policy_id, policy in policies.items()
    }
    return read, found


def check_namespaces(
    namespaces: Sequence[NamespacePolicy], policies: Collection[str]
) -> Iterator[Finding]:
    """All that is wrong with the rows that give namespaces their policies."""
    seen: set[str] = set()
    for i, row in enumerate(namespaces):
        at: Path = ("namespaces", i)
        name = row.namespace
        if name != "*" and not _NAMESPACE.match(name.removesuffix(".*")):
            message = "expected a namespace such as org.acme, org.acme.* for all below it, or *"
            yield _finding((*at, "namespace"), message, name)
        elif name in seen:
            yield _finding((*at, "namespace"), "a namespace has one policy, this is its second")
        seen.add(name)
        if row.policy not in policies:
            hint = did_you_mean(row.policy, policies)
            yield _finding((*at, "policy"), "expected the id of a policy", row.policy, hint)


def segments(path: str) -> Segments:
    """The keys that *path* names. One key has several spellings: ``a~`` is also ``a~0``."""
    if "~" in path:
        path = path.replace("~0", "~")
    return tuple(path.removesuffix("/").split("/")[1:])


def _entries(policy_id: str, policy: object, at: Path, found: list[Finding]) -> Iterator[Entry]:
    if not isinstance(policy, Mapping):
        found.append(_finding(at, "expected an object with 'entries'", policy))
        return
    found.extend(_unknown_keys(policy, _POLICY_KEYS, at))
    if policy.get("policyId", policy_id) != policy_id:
        message = f"expected {policy_id!r}, the key of the policy, or nothing"
        found.append(_finding((*at, "policyId"), message, policy["policyId"]))
    if policy.get("imports"):
        message = "imports are not supported, copy the entries here"
        found.append(_finding((*at, "imports"), message))
    entries = policy.get("entries")
    at = (*at, "entries")
    if not isinstance(entries, Mapping):
        found.append(_finding(at, "expected an object of entries by label", entries))
        return
    for label, entry in entries.items():
        below = (*at, label)
        if not isinstance(entry, Mapping):
            message = "expected an object with 'subjects' and 'resources'"
            found.append(_finding(below, message, entry))
            continue
        found.extend(_unknown_keys(entry, _ENTRY_KEYS, below))
        yield Entry(
            frozenset(_subjects(entry.get("subjects"), (*below, "subjects"), found)),
            tuple(_resources(entry.get("resources"), (*below, "resources"), found)),
        )


def _subjects(subjects: object, at: Path, found: list[Finding]) -> Iterator[str]:
    if not isinstance(subjects, Mapping):
        found.append(_finding(at, "expected an object of subjects by id", subjects))
        return
    for subject, about in subjects.items():
        below = (*at, subject)
        if "{{" in subject or not subject.strip():
            found.append(_finding(below, "a subject must be an id, not a template", subject))
        if not isinstance(about, Mapping):
            found.append(_finding(below, "expected an object such as {type: device}", about))
            continue
        message = "not supported for subjects here: it would be ignored"
        found.extend(_finding((*below, key), message) for key in about if key != "type")
        yield subject


def _resources(resources: object, at: Path, found: list[Finding]) -> Iterator[Resource]:
    if not isinstance(resources, Mapping):
        message = "expected an object such as {'thing:/': {grant: [READ]}}"
        found.append(_finding(at, message, resources))
        return
    for key, effect in resources.items():
        below = (*at, key)
        kind, _, path = key.partition(":")
        if not kind or not path.startswith("/") or "//" in path:
            found.append(_finding(below, "expected a resource such as thing:/attributes", key))
            continue
        hint = did_you_mean(kind, RESOURCE_TYPES)
        if kind not in RESOURCE_TYPES and hint:
            found.append(_finding(below, "unknown type of resource", kind, hint))
        if not isinstance(effect, Mapping):
            found.append(_finding(below, "expected an object with 'grant' and 'revoke'", effect))
            continue
        found.extend(_unknown_keys(effect, ("grant", "revoke"), below))
        yield Resource(
            kind,
            segments(path),
            frozenset(_permissions(effect.get("grant", []), (*below, "grant"), found)),
            frozenset(_permissions(effect.get("revoke", []), (*below, "revoke"), found)),
        )


def _permissions(permissions: object, at: Path, found: list[Finding]) -> Iterator[str]:
    if not isinstance(permissions, list | tuple):
        found.append(_finding(at, f"expected a list of {', '.join(PERMISSIONS)}", permissions))
        return
    for i, permission in enumerate(permissions):
        if permission in PERMISSIONS:
            yield permission
        else:
            message = f"expected one of {', '.join(PERMISSIONS)}"
            hint = did_you_mean(permission, PERMISSIONS)
            found.append(_finding((*at, i), message, permission, hint))


def _unknown_keys(found: Mapping[str, Any], known: tuple[str, ...], at: Path) -> Iterator[Finding]:
    for key in found:
        # Ditto adds members such as _revision when it shows a policy; they say nothing here.
        if key not in known and not key.startswith("_"):
            hint = did_you_mean(key, known)
            yield Finding(path=(*at, key), message="unknown key", code=KEY_UNKNOWN, hint=hint)


_NOT_GIVEN: Final = object()


def _finding(path: Path, message: str, value: object = _NOT_GIVEN, hint: str = "") -> Finding:
    found = "" if value is _NOT_GIVEN else quoted(value)
    return Finding(path=path, message=message, found=found, hint=hint)
