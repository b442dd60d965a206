"""Reads Ditto policies out of the configuration, and says all that is wrong with them.

What cannot be honoured - imports, subjects that expire - is refused rather than ignored: a
policy must not mean more here than where it was written.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from streamproc.config.service import NamespacePolicy

PERMISSIONS: Final = ("READ", "WRITE", "EXECUTE")
RESOURCE_TYPES: Final = ("thing", "message", "policy")

_POLICY_KEYS: Final = ("entries", "policyId", "imports")
_ENTRY_KEYS: Final = ("subjects", "resources", "importable", "allowedImportAdditions")
_PLAIN = re.compile(r"[A-Za-z_][\w-]*\Z", re.ASCII)
_NAMESPACE = re.compile(r"[a-zA-Z]\w*(?:[.-][a-zA-Z]\w*)*\Z", re.ASCII)

Problem = tuple[str, str]
"""JSON path of the configuration, and a sentence."""


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
) -> tuple[dict[str, Policy], list[Problem]]:
    """The policies by id, and all problems found in them."""
    problems: list[Problem] = []
    found: dict[str, Policy] = {}
    for policy_id, text in policies.items():
        at = _below("$.policies", policy_id)
        found[policy_id] = tuple(_entries(policy_id, text, at, problems))
    return found, problems


def read_namespaces(
    namespaces: Sequence[NamespacePolicy], policies: Collection[str]
) -> tuple[list[tuple[str, str]], list[Problem]]:
    """(Namespace or pattern, policy id) in order, and all problems found."""
    problems: list[Problem] = []
    seen: set[str] = set()
    for i, row in enumerate(namespaces):
        at = f"$.namespaces[{i}]"
        name = row.namespace
        if name != "*" and not _NAMESPACE.match(name.removesuffix(".*")):
            problems.append(
                (
                    f"{at}.namespace",
                    f"{name!r} is no namespace, expected one such as 'org.acme', 'org.acme.*' "
                    "for all below it, or '*' for all others",
                )
            )
        elif name in seen:
            problems.append((f"{at}.namespace", f"{name!r} was given a policy before"))
        seen.add(name)
        if row.policy not in policies:
            problems.append(
                (f"{at}.policy", f"there is no policy {row.policy!r}{_near(row.policy, policies)}")
            )
    return [(row.namespace, row.policy) for row in namespaces], problems


def segments(path: str) -> Segments:
    """The keys that *path* names. One key has several spellings: ``a~`` is also ``a~0``."""
    if "~" in path:
        path = path.replace("~0", "~")
    return tuple(path.removesuffix("/").split("/")[1:])


def _entries(policy_id: str, policy: object, at: str, problems: list[Problem]) -> Iterator[Entry]:
    if not isinstance(policy, Mapping):
        problems.append((at, "a policy must be an object with 'entries'"))
        return
    _known_keys(policy, _POLICY_KEYS, at, problems)
    if policy.get("policyId", policy_id) != policy_id:
        problems.append(
            (f"{at}.policyId", f"it is {policy['policyId']!r}, expected {policy_id!r} or nothing")
        )
    if policy.get("imports"):
        problems.append((f"{at}.imports", "imports are not supported; copy the entries here"))
    entries = policy.get("entries")
    if not isinstance(entries, Mapping):
        problems.append((f"{at}.entries", "'entries' must be an object of entries by label"))
        return
    for label, entry in entries.items():
        below = _below(f"{at}.entries", label)
        if not isinstance(entry, Mapping):
            problems.append((below, "an entry must be an object with 'subjects' and 'resources'"))
            continue
        _known_keys(entry, _ENTRY_KEYS, below, problems)
        yield Entry(
            frozenset(_subjects(entry.get("subjects"), f"{below}.subjects", problems)),
            tuple(_resources(entry.get("resources"), f"{below}.resources", problems)),
        )


def _subjects(subjects: object, at: str, problems: list[Problem]) -> Iterator[str]:
    if not isinstance(subjects, Mapping):
        problems.append((at, "'subjects' must be an object of subjects by id"))
        return
    for subject, about in subjects.items():
        below = _below(at, subject)
        if "{{" in subject or not subject.strip():
            problems.append((below, f"the subject {subject!r} must be an id, not a template"))
        if not isinstance(about, Mapping):
            problems.append((below, "a subject must be an object, such as {type: device}"))
            continue
        problems.extend(
            (_below(below, key), f"{key!r} is not supported; leave the subject out instead")
            for key in about
            if key != "type"
        )
        yield subject


def _resources(resources: object, at: str, problems: list[Problem]) -> Iterator[Resource]:
    if not isinstance(resources, Mapping):
        problems.append((at, "'resources' must be an object such as {'thing:/': {grant: [READ]}}"))
        return
    for key, effect in resources.items():
        below = _below(at, key)
        kind, colon, path = key.partition(":")
        if not kind or not colon or not path.startswith("/") or "//" in path:
            problems.append((below, f"{key!r} is no resource, expected one such as 'thing:/'"))
            continue
        near = _near(kind, RESOURCE_TYPES)
        if kind not in RESOURCE_TYPES and near:
            problems.append((below, f"{kind!r} is no type of resource{near}"))
        if not isinstance(effect, Mapping):
            problems.append((below, "a resource must be an object with 'grant' and 'revoke'"))
            continue
        _known_keys(effect, ("grant", "revoke"), below, problems)
        yield Resource(
            kind,
            segments(path),
            frozenset(_permissions(effect.get("grant", []), f"{below}.grant", problems)),
            frozenset(_permissions(effect.get("revoke", []), f"{below}.revoke", problems)),
        )


def _permissions(permissions: object, at: str, problems: list[Problem]) -> Iterator[str]:
    if not isinstance(permissions, list | tuple):
        problems.append((at, f"expected a list of {', '.join(PERMISSIONS)}"))
        return
    for i, permission in enumerate(permissions):
        if permission in PERMISSIONS:
            yield permission
        else:
            problems.append(
                (f"{at}[{i}]", f"it is {permission!r}, expected one of {', '.join(PERMISSIONS)}")
            )


def _known_keys(
    found: Mapping[str, Any], known: tuple[str, ...], at: str, problems: list[Problem]
) -> None:
    # Ditto adds members such as _revision when it shows a policy; they say nothing here.
    problems.extend(
        (_below(at, key), f"unknown key {key!r}{_near(key, known)}")
        for key in found
        if key not in known and not key.startswith("_")
    )


def _near(found: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(found, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _below(at: str, key: object) -> str:
    text = str(key)
    return f"{at}.{text}" if _PLAIN.match(text) else f"{at}[{json.dumps(text)}]"
